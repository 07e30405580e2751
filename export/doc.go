// Package export turns a calibrated, trained student graph into a file for a
// downstream runtime, and proves the file before it takes its name.
//
// One quantised graph has five forms (docs/formats.md). The form packed stores
// true 4-, 3- and 2-bit weights in operators of the domain ai.qvitc, each defined
// by a model-local function in standard ONNX, so that any runtime which inlines
// functions executes it; the others are qdq, qcdq8, nbits and qonnx:
//
//	built, err := export.Build(student, export.Target{Format: export.FormatQDQ})
//	fmt.Println(built.Needs.ORT, built.Notes)              // 1.20 [qdq has no 3-bit type here: ...]
//	result, err := export.Write(ctx, "deit.int4.onnx", built.Graph, export.Options{
//		Write: built.Write, Format: built.Format,
//		Student: student, Samples: samples,                    // what the file must reproduce
//	})
//
// Source is the way back: it makes the student's graph of a file in any of these
// forms, whoever wrote it, so that Build writes it in another.
//
// Write encodes to a temporary file, reads that file back with onnxio, compares
// codes and scales, runs it and the student on the samples, compares, asks an
// installed ONNX Runtime too where there is one, and only then renames it.
package export
