package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// lane is one step of a loop over elements: a whole vector, or the masked tail.
type lane struct {
	machine
	tail bool
	idx  reg.Register // byte index shared by all slices; nil where not used
	disp int
	mask reg.Register // of the tail: a K register, or the address of a vector mask
}

// at is the memory of this step in the slice that begins at base.
func (l lane) at(base reg.Register) Mem {
	a := Mem{Base: base, Disp: l.disp}
	if l.idx != nil {
		a.Index, a.Scale = l.idx, 1
	}
	return a
}

// load reads this step's elements; lanes beyond the tail are 0.
func (l lane) load(base reg.Register) reg.VecVirtual {
	v := l.vec()
	switch {
	case !l.tail:
		VMOVUPS(l.at(base), v)
	case l.wide():
		VMOVUPS_Z(l.at(base), l.mask, v)
	default:
		VMASKMOVPS(l.at(base), l.maskVector(), v)
	}
	return v
}

// store writes this step's elements.
func (l lane) store(v reg.Register, base reg.Register) {
	switch {
	case !l.tail:
		VMOVUPS(v, l.at(base))
	case l.wide():
		VMOVUPS(v, l.mask, l.at(base))
	default:
		VMASKMOVPS(v, l.maskVector(), l.at(base))
	}
}

// maskVector loads the tail mask of the 8-lane machine. It is not kept in a
// register between uses: there are too few.
func (l lane) maskVector() reg.VecVirtual {
	y := YMM()
	VMOVUPS(Mem{Base: l.mask}, y)
	return y
}

// tailMask makes the mask of the first n lanes (0 <= n < lanes); n is kept.
func (m machine) tailMask(n reg.GPVirtual) reg.Register {
	if m.wide() {
		ones, q := GP64(), K()
		MOVQ(I32(-1), ones)
		BZHIQ(n, ones, ones)
		KMOVW(ones.As32(), q)
		return q
	}
	c := GP64()
	MOVQ(n, c)
	return maskAddress(c)
}

// each runs body over n elements: whole vectors, then the tail. n is overwritten.
func (m machine) each(n reg.GPVirtual, body func(lane)) {
	idx := GP64()
	XORQ(idx, idx)
	loop, tail, done := label("loop"), label("tail"), label("done")
	SUBQ(Imm(uint64(m.lanes)), n)
	JLT(LabelRef(tail))
	Label(loop)
	body(lane{machine: m, idx: idx})
	ADDQ(Imm(uint64(m.bytes())), idx)
	SUBQ(Imm(uint64(m.lanes)), n)
	JGE(LabelRef(loop))
	Label(tail)
	ADDQ(Imm(uint64(m.lanes)), n)
	JZ(LabelRef(done))
	body(lane{machine: m, tail: true, idx: idx, mask: m.tailMask(n)})
	Label(done)
}

// base loads the address of a slice argument.
func base(slice string) reg.GPVirtual {
	r := GP64()
	Load(Param(slice).Base(), r)
	return r
}

// length loads the length of a slice argument.
func length(slice string) reg.GPVirtual {
	r := GP64()
	Load(Param(slice).Len(), r)
	return r
}

// param is an argument where it lies, for what a register is not worth it.
func param(name string) Mem {
	p, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	return p.Addr
}

// rowAt is row i of a block whose rows lie ld apart: bases are every third.
func rowAt(bases []reg.GPPhysical, ld reg.Register, i int) Mem {
	s := Mem{Base: bases[i/3]}
	if i%3 > 0 {
		s.Index, s.Scale = ld, uint8(i%3)
	}
	return s
}

// scalar broadcasts a float32 argument.
func (m machine) scalar(name string) reg.VecVirtual {
	v := m.vec()
	VBROADCASTSS(param(name), v)
	return v
}

// constant is a float32 argument for a loop: broadcast once where registers are
// plenty, else at each use.
func (m machine) constant(name string) func() reg.VecVirtual {
	if !m.wide() {
		return func() reg.VecVirtual { return m.scalar(name) }
	}
	v := m.scalar(name)
	return func() reg.VecVirtual { return v }
}

// get copies a constant to a register.
func (m machine) get(c Mem) reg.VecVirtual {
	v := m.vec()
	if m.wide() {
		VBROADCASTSS(c, v)
	} else {
		VMOVUPS(c, v)
	}
	return v
}

// constants is the form of an instruction whose first operand is a constant in memory.
// The linker places constants at multiples of 32 bytes: a vector of 64 would be read
// across two cache lines, so the wide machine reads one lane and spreads it.
func (m machine) constants(whole, spread func(...Op)) func(...Op) {
	if m.wide() {
		return spread
	}
	return whole
}

// round rounds half to even.
func (m machine) round(src, dst reg.Register) {
	if m.wide() {
		VRNDSCALEPS(Imm(8), src, dst)
	} else {
		VROUNDPS(Imm(8), src, dst)
	}
}

// Predicates of VCMPPS (ordered, quiet).
const (
	cmpLT = 0x11
	cmpLE = 0x12
)

// compare returns the mask of lanes where a OP b.
func (m machine) compare(op uint64, a reg.Register, b Op) reg.Register {
	if m.wide() {
		q := K()
		if c, ok := b.(Mem); ok {
			VCMPPS_BCST(Imm(op), c, a, q)
		} else {
			VCMPPS(Imm(op), b, a, q)
		}
		return q
	}
	y := YMM()
	VCMPPS(Imm(op), b, a, y)
	return y
}

// choose returns yes where the mask is set, else no.
func (m machine) choose(mask reg.Register, yes, no reg.Register) reg.VecVirtual {
	v := m.vec()
	if m.wide() {
		VBLENDMPS(yes, no, mask, v)
	} else {
		VBLENDVPS(mask, yes, no, v)
	}
	return v
}

// horner evaluates Σ c[i]·x^i.
func (m machine) horner(x reg.Register, c ...Mem) reg.VecVirtual {
	p := m.get(c[len(c)-1])
	for i := len(c) - 2; i >= 0; i-- {
		m.constants(VFMADD213PS, VFMADD213PS_BCST)(c[i], x, p)
	}
	return p
}
