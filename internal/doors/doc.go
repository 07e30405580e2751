// Package doors holds the table of which room may import which, and the test
// that enforces it. The graph of the pipeline moves to the right, once: no room
// calls a room to its left.
//
//	ir <- ops <- onnxio, passes, runtime <- quantize, distill, export <- cmd/qvitc
//
// docs/architecture.md says what each room is for.
package doors

// Allowed lists, for every room, the rooms of this module that its files
// (tests aside) may import. Small tools under internal/ other than the kernel
// are open to all. A "*" opens every room.
var Allowed = map[string][]string{
	".":               {"ir", "onnxio", "passes", "runtime", "dataset"},
	"ir":              {},
	"ops":             {"ir"},
	"internal/kernel": {},
	"blas":            {"internal/kernel"},
	"onnxio":          {"ir", "ops", "onnxio/onnxpb"},
	"onnxio/onnxpb":   {},
	"passes":          {"ir", "ops"},
	"runtime":         {"ir", "ops", "internal/kernel"},
	"runtime/onnxgo":  {"ir", "ops", "onnxio", "runtime"},
	"quantize":        {"ir", "runtime"},
	"dataset":         {},
	"distill":         {"ir", "runtime", "dataset"},
	"export":          {"ir", "passes", "onnxio", "runtime", "doctor"},
	"doctor":          {"ir", "onnxio", "onnxio/onnxpb", "internal/kernel"},
	"ortops":          {"ir", "ops", "onnxio", "runtime"},
	"examples/go":     {"ir", "onnxio", "runtime"},
	"examples/onnxgo": {"onnxio", "runtime/onnxgo"},
	"report":          {"ir", "ops", "runtime"},
	"zoo":             {"ir", "ops"},
	"serve":           {"ir", "runtime", "dataset"},
	"bench":           {},
	"bench/gemm":      {"bench", "blas", "internal/kernel"},
	"cmd/qvitc":       {"*"},
}
