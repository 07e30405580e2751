// What ops.c and the Go side share.
#ifndef QVITC_ORTOPS_H
#define QVITC_ORTOPS_H

#include <stddef.h>
#include <stdint.h>

#define QVITC_MAX_INPUTS 6
#define QVITC_MAX_RANK 8

// A tensor of ONNX Runtime; data is NULL where only shape or nothing is known.
typedef struct {
	void *data;
	int32_t elem;
	int32_t rank;
	int64_t dims[QVITC_MAX_RANK];
} qvitc_tensor;

#endif
