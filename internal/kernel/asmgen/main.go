// Command asmgen writes the assembly of package kernel. It is a module of its own
// so that users of qvitc never download its dependencies. Run it through
//
//	go generate ./internal/kernel
//
// Each run writes one part for one instruction set. Every kernel is described
// once, in terms of the lanes of a machine (see machine.go), and emitted for
// AVX-512 (16 lanes) and for AVX2+FMA (8 lanes).
package main

import (
	"flag"
	"log"

	. "github.com/mmcloughlin/avo/build"
)

func main() {
	isa := flag.String("isa", "avx512", "avx512 or avx2")
	part := flag.String("part", "gemm", "gemm, map, rows, quant, codes, int8, tile, epilogue, rowquant, operand, gemm16, logits, or of avx512 only heads, windows and near")
	flag.Parse()
	var m machine
	switch *isa {
	case "avx512":
		m = machine{name: "AVX512", lanes: 16}
	case "avx2":
		m = machine{name: "AVX2", lanes: 8}
	default:
		log.Fatalf("unknown -isa %q", *isa)
	}
	parts := map[string]func(machine){
		"gemm": gemmPart, "map": mapPart, "rows": rowsPart, "quant": quantPart, "codes": codesPart, "int8": int8Part, "tile": tilePart,
		"epilogue": epiloguePart, "rowquant": rowQuantPart, "operand": operandPart, "gemm16": gemm16Part, "logits": logitsPart, "heads": headsPart, "windows": windowsPart, "near": nearPart,
	}
	emit, ok := parts[*part]
	if !ok {
		log.Fatalf("unknown -part %q", *part)
	}
	ConstraintExpr("amd64,!noasm")
	emit(m)
	Generate()
}
