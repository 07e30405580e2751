//go:build ortops

// The tables that the C API of ONNX Runtime asks for: one OrtCustomOp for each
// operator and width, and the entry point RegisterCustomOps.
#include "onnxruntime_c_api.h"
#include "ops.h"
#include "_cgo_export.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The oldest version of the API that has what is needed (1.16), and the one that
// lets operators use the session's own threads.
#define API_VERSION 16
#define API_PARALLEL 17

static const OrtApi *api;
static int parallel; // api has KernelContext_ParallelFor

typedef struct {
	OrtCustomOp table; // first: ONNX Runtime hands this address back
	char name[24];
	int linear;      // QLinear or QMatMul
	int first, second; // widths in the order of the name
} Op;

static const char *op_name(const OrtCustomOp *op) { return ((const Op *)op)->name; }
static const char *op_provider(const OrtCustomOp *op) { return NULL; }

static size_t op_inputs(const OrtCustomOp *op) { return 6; }
static size_t op_outputs(const OrtCustomOp *op) { return 1; }

static ONNXTensorElementDataType op_input_type(const OrtCustomOp *table, size_t i) {
	const Op *op = (const Op *)table;
	if (op->linear) {
		if (i == 1) return op->first == 8 ? ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8 : ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8;
		return i == 4 ? ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8 : ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
	}
	return i == 2 || i == 5 ? ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8 : ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
}

static ONNXTensorElementDataType op_output_type(const OrtCustomOp *op, size_t i) { return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT; }
static OrtCustomOpInputOutputCharacteristic op_required(const OrtCustomOp *op, size_t i) { return INPUT_OUTPUT_REQUIRED; }
static OrtMemType op_memory(const OrtCustomOp *op, size_t i) { return OrtMemTypeDefault; }
static int op_minus(const OrtCustomOp *op) { return 1; }

static OrtStatus *failed(const char *what) { return api->CreateStatus(ORT_FAIL, what); }

#define TRY(call)                      \
	do {                               \
		OrtStatus *status_ = (call);   \
		if (status_) return status_;   \
	} while (0)

// read fills t from a tensor of ONNX Runtime.
static OrtStatus *read(const OrtValue *v, qvitc_tensor *t) {
	OrtTensorTypeAndShapeInfo *info;
	TRY(api->GetTensorTypeAndShape(v, &info));
	size_t rank = 0;
	ONNXTensorElementDataType elem = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
	OrtStatus *status = api->GetDimensionsCount(info, &rank);
	if (!status) status = api->GetTensorElementType(info, &elem);
	if (!status && rank > QVITC_MAX_RANK) status = failed("qvitc: an input has too many dimensions");
	if (!status) status = api->GetDimensions(info, t->dims, rank);
	api->ReleaseTensorTypeAndShapeInfo(info);
	if (status) return status;
	t->rank = (int32_t)rank;
	t->elem = (int32_t)elem;
	return api->GetTensorMutableData((OrtValue *)v, &t->data);
}

// refused turns an error text of the Go side into a status.
static OrtStatus *refused(char *text) {
	OrtStatus *status = failed(text);
	free(text);
	return status;
}

static OrtStatus *op_create(const OrtCustomOp *table, const OrtApi *ignored, const OrtKernelInfo *info, void **kernel) {
	const Op *op = (const Op *)table;
	qvitc_tensor in[QVITC_MAX_INPUTS];
	memset(in, 0, sizeof in);
	for (size_t i = 0; i < QVITC_MAX_INPUTS; i++) {
		int constant = 0;
		const OrtValue *v = NULL;
		TRY(api->KernelInfoGetConstantInput_tensor(info, i, &constant, &v));
		if (constant) TRY(read(v, &in[i]));
	}
	uintptr_t handle = 0;
	char *error = qvitcCreate((char *)op->name, in, &handle);
	if (error) return refused(error);
	*kernel = (void *)handle;
	return NULL;
}

static void op_destroy(void *kernel) { qvitcDestroy((uintptr_t)kernel); }

// job is one call of an operator, whose parts may run at once.
typedef struct {
	uintptr_t handle;
	qvitc_tensor *in;
	qvitc_tensor out;
	char *error; // the first
} job;

static void run_part(void *data, size_t i) {
	job *j = (job *)data;
	char *error = qvitcPart(j->handle, j->in, &j->out, (int32_t)i);
	char *none = NULL;
	if (error && !__atomic_compare_exchange_n(&j->error, &none, error, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) free(error);
}

static OrtStatus *op_compute(void *kernel, OrtKernelContext *context) {
	qvitc_tensor in[QVITC_MAX_INPUTS];
	memset(in, 0, sizeof in);
	for (size_t i = 0; i < QVITC_MAX_INPUTS; i++) {
		const OrtValue *v = NULL;
		TRY(api->KernelContext_GetInput(context, i, &v));
		if (v) TRY(read(v, &in[i]));
	}
	job j = {(uintptr_t)kernel, in, {0}, NULL};
	int32_t parts = 1;
	char *error = qvitcPlan(j.handle, in, &j.out, &parts);
	if (error) return refused(error);
	OrtValue *y = NULL;
	TRY(api->KernelContext_GetOutput(context, 0, j.out.dims, (size_t)j.out.rank, &y));
	TRY(api->GetTensorMutableData(y, &j.out.data));
	if (parts > 1 && parallel)
		TRY(api->KernelContext_ParallelFor(context, run_part, (size_t)parts, 0, &j));
	else
		for (int32_t i = 0; i < parts; i++) run_part(&j, (size_t)i);
	return j.error ? refused(j.error) : NULL;
}

// The operator Model: a whole graph, its inputs the image and then all constants.

static const char *whole_name(const OrtCustomOp *op) { return "Model"; }
static size_t whole_inputs(const OrtCustomOp *op) { return 1; }
static ONNXTensorElementDataType whole_input_type(const OrtCustomOp *op, size_t i) { return ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED; }
static OrtCustomOpInputOutputCharacteristic whole_variadic(const OrtCustomOp *op, size_t i) { return INPUT_OUTPUT_VARIADIC; }
static int whole_mixed(const OrtCustomOp *op) { return 0; }

static OrtStatus *whole_create(const OrtCustomOp *table, const OrtApi *ignored, const OrtKernelInfo *info, void **kernel) {
	size_t count = 0, size = 0;
	TRY(api->KernelInfo_GetInputCount(info, &count));
	if (count < 1) return failed("qvitc: Model has no inputs");
	OrtStatus *status = api->KernelInfoGetAttribute_string(info, "graph", NULL, &size);
	if (status && api->GetErrorCode(status) != ORT_INVALID_ARGUMENT) return status;
	if (status) api->ReleaseStatus(status);
	char *graph = malloc(size ? size : 1);
	qvitc_tensor *in = calloc(count, sizeof *in);
	if (!graph || !in) status = failed("qvitc: no memory");
	else status = api->KernelInfoGetAttribute_string(info, "graph", graph, &size);
	for (size_t i = 1; !status && i < count; i++) {
		int constant = 0;
		const OrtValue *v = NULL;
		status = api->KernelInfoGetConstantInput_tensor(info, i, &constant, &v);
		if (!status && constant) status = read(v, &in[i]);
	}
	uintptr_t handle = 0;
	char *error = status ? NULL : qvitcWhole(graph, size ? size - 1 : 0, in + 1, count - 1, &handle);
	free(graph);
	free(in);
	if (status) return status;
	if (error) return refused(error);
	*kernel = (void *)handle;
	return NULL;
}

static OrtStatus *whole_compute(void *kernel, OrtKernelContext *context) {
	qvitc_tensor in, out;
	memset(&in, 0, sizeof in);
	memset(&out, 0, sizeof out);
	const OrtValue *v = NULL;
	TRY(api->KernelContext_GetInput(context, 0, &v));
	TRY(read(v, &in));
	uintptr_t result = 0;
	char *error = qvitcAnswer((uintptr_t)kernel, &in, &out, &result);
	if (error) return refused(error);
	OrtValue *y = NULL;
	OrtStatus *status = api->KernelContext_GetOutput(context, 0, out.dims, (size_t)out.rank, &y);
	if (!status) status = api->GetTensorMutableData(y, &out.data);
	if (status) out.data = NULL;
	qvitcTake(result, &out);
	return status;
}

static const int widths[] = {2, 3, 4, 8};
static Op ops[2 * 16];
static Op model;

static void fill(Op *op, int linear, int first, int second) {
	memset(op, 0, sizeof *op);
	op->linear = linear;
	op->first = first;
	op->second = second;
	snprintf(op->name, sizeof op->name, linear ? "QLinearW%dA%d" : "QMatMulA%dB%d", first, second);
	OrtCustomOp *t = &op->table;
	t->version = API_VERSION;
	t->GetName = op_name;
	t->GetExecutionProviderType = op_provider;
	t->GetInputType = op_input_type;
	t->GetInputTypeCount = op_inputs;
	t->GetOutputType = op_output_type;
	t->GetOutputTypeCount = op_outputs;
	t->GetInputCharacteristic = op_required;
	t->GetOutputCharacteristic = op_required;
	t->GetInputMemoryType = op_memory;
	t->GetVariadicInputMinArity = op_minus;
	t->GetVariadicInputHomogeneity = op_minus;
	t->GetVariadicOutputMinArity = op_minus;
	t->GetVariadicOutputHomogeneity = op_minus;
	t->CreateKernelV2 = op_create;
	t->KernelComputeV2 = op_compute;
	t->KernelDestroy = op_destroy;
}

// RegisterCustomOps is the entry point that ONNX Runtime looks for.
#ifdef _WIN32
__declspec(dllexport)
#else
__attribute__((visibility("default")))
#endif
OrtStatus *ORT_API_CALL RegisterCustomOps(OrtSessionOptions *options, const OrtApiBase *base) {
	parallel = strncmp(base->GetVersionString(), "1.16.", 5) != 0;
	api = base->GetApi(parallel ? API_PARALLEL : API_VERSION);
	if (!api) return NULL; // older than 1.16: no status can be made without an API
	OrtCustomOpDomain *domain = NULL;
	TRY(api->CreateCustomOpDomain("ai.qvitc", &domain));
	size_t n = 0;
	for (int linear = 0; linear < 2; linear++)
		for (int i = 0; i < 4; i++)
			for (int j = 0; j < 4; j++) {
				Op *op = &ops[n++];
				if (!op->name[0]) fill(op, linear, widths[i], widths[j]);
				TRY(api->CustomOpDomain_Add(domain, &op->table));
			}
	if (!model.name[0]) {
		fill(&model, 1, 8, 8);
		model.table.GetName = whole_name;
		model.table.GetInputTypeCount = whole_inputs;
		model.table.GetInputType = whole_input_type;
		model.table.GetInputCharacteristic = whole_variadic;
		model.table.GetVariadicInputHomogeneity = whole_mixed;
		model.table.CreateKernelV2 = whole_create;
		model.table.KernelComputeV2 = whole_compute;
	}
	TRY(api->CustomOpDomain_Add(domain, &model.table));
	return api->AddCustomOpDomain(options, domain); // the domain lives as long as the process
}
