// Package export turns a calibrated, trained student graph into a file for a
// downstream runtime, and proves the file before it takes its name.
//
// The target packed stores true 4-, 3- and 2-bit weights in operators of the
// domain ai.qvitc, each defined by a model-local function in standard ONNX, so
// that any runtime which inlines functions executes it (docs/formats.md):
//
//	packed, err := export.Packed(student)                      // the student keeps its FakeQuants
//	result, err := export.Write("deit.w4a4.onnx", packed, export.Options{
//		Student: student, Samples: samples,                    // what the file must reproduce
//	})
//	fmt.Println(result.Bytes, result.MaxDiff)
//
// Write encodes to a temporary file, reads that file back with onnxio, runs it
// and the student on the samples, compares, and only then renames it.
package export
