package main

import (
	"fmt"
	"strings"
)

// emitter collects the assembly and the declarations.
type emitter struct {
	text, stubs strings.Builder
	labels      int
}

// arg is one argument of a function: all take eight bytes of its frame.
type arg struct{ name, kind string }

// function begins a function and loads its arguments but floats into R0, R1, ...
func (e *emitter) function(name, doc string, args []arg) {
	var list []string
	for _, a := range args {
		list = append(list, a.name+" "+a.kind)
	}
	signature := fmt.Sprintf("func %sNEON(%s)", name, strings.Join(list, ", "))
	fmt.Fprintf(&e.stubs, "\n// %sNEON %s\n//\n//go:noescape\n%s\n", name, doc, signature)
	size := 8 * len(args)
	if args[len(args)-1].kind == "float32" {
		size -= 4
	}
	fmt.Fprintf(&e.text, "\n// %s\nTEXT ·%sNEON(SB), NOSPLIT, $0-%d\n", signature, name, size)
	for i, a := range args {
		if a.kind != "float32" {
			e.ins("MOVD %s+%d(FP), R%d", a.name, 8*i, i)
		}
	}
}

// ins writes one instruction.
func (e *emitter) ins(format string, a ...any) { fmt.Fprintf(&e.text, "\t"+format+"\n", a...) }

// label is a fresh jump target; place puts it here.
func (e *emitter) label(stem string) string {
	e.labels++
	return fmt.Sprint(stem, e.labels)
}

func (e *emitter) place(label string) { fmt.Fprintf(&e.text, "%s:\n", label) }

// word writes an instruction that Go's assembler does not know.
func (e *emitter) word(code uint32, format string, a ...any) {
	e.ins("WORD $0x%08x // %s", code, fmt.Sprintf(format, a...))
}

// Operation codes (Arm Architecture Reference Manual, C7.2) of the forms by element of
// 128-bit vectors.
const (
	fmla   = 0x4f801000 // FMLA Vd.4S, Vn.4S, Vm.S[i]
	fmul   = 0x4f809000 // FMUL Vd.4S, Vn.4S, Vm.S[i]
	sdot   = 0x4f80e000 // SDOT Vd.4S, Vn.16B, Vm.4B[i]
	smlal  = 0x0f402000 // SMLAL Vd.4S, Vn.4H, Vm.H[i]
	smlal2 = 0x4f402000 // SMLAL2 Vd.4S, Vn.8H, Vm.H[i]
)

// byElement writes op of vector n and element i of vector m (of 16 bits: m at most 15).
func (e *emitter) byElement(op uint32, d, n, m, i int) {
	code := op | uint32(d) | uint32(n)<<5 | uint32(m)<<16
	name, from, element := "", "4s", "s"
	switch op {
	case fmla:
		name = "fmla"
	case fmul:
		name = "fmul"
	case sdot:
		name, from, element = "sdot", "16b", "4b"
	case smlal:
		name, from, element = "smlal", "4h", "h"
	case smlal2:
		name, from, element = "smlal2", "8h", "h"
	}
	if element == "h" { // H:L:M
		code |= uint32(i)&1<<20 | uint32(i)>>1&1<<21 | uint32(i)>>2<<11
	} else { // H:L
		code |= uint32(i)&1<<21 | uint32(i)>>1<<11
	}
	e.word(code, "%s v%d.4s, v%d.%s, v%d.%s[%d]", name, d, n, from, m, element, i)
}

// Operations on the four floats, or integers, of vectors.
const (
	fadd   = 0x4e20d400
	fsub   = 0x4ea0d400
	fmulV  = 0x6e20dc00
	fdiv   = 0x6e20fc00
	fmax   = 0x4e20f400
	fmin   = 0x4ea0f400
	frintn = 0x4e218800
	fcvtns = 0x4e21a800
	scvtf  = 0x4e21d800
	fcvtl  = 0x0e617800 // of the first two, to float64
	fcvtl2 = 0x4e617800 // of the last two
	faddD  = 0x4e60d400 // of float64
	fmaxv  = 0x6e30f800 // of all four
	sshr1  = 0x4f3f0400 // by one
	fmaxnm = 0x4e20c400 // of a number and NaN the number
	fminnm = 0x4ea0c400
	fcvtzs = 0x4ea1b800
	fcmle0 = 0x6ea0d800 // ones where at most 0
	fcmge  = 0x6e20e400
	mla    = 0x4ea09400
)

// three writes d = n op m.
func (e *emitter) three(op uint32, d, n, m int) {
	name := map[uint32]string{fadd: "fadd", fsub: "fsub", fmulV: "fmul", fdiv: "fdiv", fmax: "fmax", fmin: "fmin", faddD: "fadd", fcmge: "fcmge", mla: "mla", fmaxnm: "fmaxnm", fminnm: "fminnm"}[op]
	kind := "4s"
	if op == faddD {
		kind = "2d"
	}
	e.word(op|uint32(d)|uint32(n)<<5|uint32(m)<<16, "%s v%d.%[5]s, v%[3]d.%[5]s, v%[4]d.%[5]s", name, d, n, m, kind)
}

// two writes d = op n.
func (e *emitter) two(op uint32, d, n int) {
	form := map[uint32]string{
		frintn: "frintn v%d.4s, v%d.4s", fcvtns: "fcvtns v%d.4s, v%d.4s", scvtf: "scvtf v%d.4s, v%d.4s", fcvtl: "fcvtl v%d.2d, v%d.2s",
		fcvtl2: "fcvtl2 v%d.2d, v%d.4s", fmaxv: "fmaxv s%d, v%d.4s", sshr1: "sshr v%d.4s, v%d.4s, #1",
		fcvtzs: "fcvtzs v%d.4s, v%d.4s", fcmle0: "fcmle v%d.4s, v%d.4s, #0.0",
	}[op]
	e.word(op|uint32(d)|uint32(n)<<5, form, d, n)
}
