package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// machine is one instruction set, seen as vectors of float32 lanes.
type machine struct {
	name  string // suffix of the emitted functions
	lanes int    // float32 elements in a vector
}

func (m machine) wide() bool { return m.lanes == 16 }

// bytes is the size of a vector.
func (m machine) bytes() int { return 4 * m.lanes }

// vec is a fresh virtual vector register.
func (m machine) vec() reg.VecVirtual {
	switch m.lanes {
	case 16:
		return ZMM()
	case 8:
		return YMM()
	}
	return XMM()
}

// v is the physical vector register i.
func (m machine) v(i int) reg.VecPhysical {
	z := []reg.VecPhysical{reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7, reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15,
		reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23, reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31}
	if m.wide() {
		return z[i]
	}
	return z[i].AsY().(reg.VecPhysical)
}

// fn begins the function name+set.
func (m machine) fn(name, signature, doc string) {
	TEXT(name+m.name, NOSPLIT, "func"+signature)
	Pragma("noescape")
	Doc(name + m.name + " " + doc)
}

// end leaves the function.
func end() {
	VZEROUPPER()
	RET()
}

var labels int

// label is a fresh jump target.
func label(stem string) string {
	labels++
	return fmt.Sprintf("%s%d", stem, labels)
}

var constants = map[string]Mem{}

// c32 is a vector-sized constant in memory whose lanes all hold the bits b.
func c32(name string, b uint32) Mem {
	if k, ok := constants[name]; ok {
		return k
	}
	k := GLOBL(name, NOPTR|RODATA)
	for i := range 8 {
		DATA(8*i, U64(uint64(b)<<32|uint64(b)))
	}
	constants[name] = k
	return k
}

// f32 is c32 for a float32 value.
func f32(name string, v float64) Mem { return c32(name, math.Float32bits(float32(v))) }

// masks is the table that tail masks of the 8-lane machine are loaded from:
// eight lanes of ones, then eight of zeros.
func masks() Mem {
	const name = "tailMasks"
	if k, ok := constants[name]; ok {
		return k
	}
	k := GLOBL(name, NOPTR|RODATA)
	for i := range 16 {
		v := uint32(0)
		if i < 8 {
			v = math.MaxUint32
		}
		DATA(4*i, U32(v))
	}
	constants[name] = k
	return k
}

// maskAddress is the address of the mask of the first n lanes of eight (0 <= n <=
// 8); n is overwritten.
func maskAddress(n reg.GPVirtual) reg.GPVirtual {
	t := GP64()
	LEAQ(masks().Offset(32), t)
	SHLQ(Imm(2), n)
	SUBQ(n, t)
	return t
}

// mask8 loads that mask into y; n is overwritten.
func mask8(n reg.GPVirtual, y reg.Register) { VMOVUPS(Mem{Base: maskAddress(n)}, y) }
