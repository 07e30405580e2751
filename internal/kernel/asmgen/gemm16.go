package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// top16 is the greatest magnitude of a gradient in 16 bits, kernel's of this name.
const top16 = 32767 - 510

// gemm16Part emits what the product of 16-bit integers by codes needs beside its
// tile.
func gemm16Part(m machine) {
	if m.wide() {
		tile(m, "tileWords", dotProduct{rows: 6, vectors: 4, strided: true,
			step: func(b, a, acc, _ reg.Register) { VPDPWSSD(b, a, acc) }})
		wordSums(m)
		rowTerms(m)
		colTerms(m)
		quantizeRows16(m)
	} else {
		widenLess("widenLessU8", func(s, d Op) { VPMOVZXBW(s, d) })
		widenLess("widenLessS8", func(s, d Op) { VPMOVSXBW(s, d) })
	}
	packPairs(m, "packPairsU8", func(s, d Op) { VPMOVZXBW(s, d) })
	packPairs(m, "packPairsS8", func(s, d Op) { VPMOVSXBW(s, d) })
	packWords(m)
	scaleTile(m)
	scaleTileCols(m)
	maxAbs(m)
	maxAbsCols(m)
	quantize16(m)
}

// words16 broadcasts a 16-bit argument.
func (m machine) words16(name string) reg.VecVirtual {
	x, v, b := XMM(), m.vec(), GP32()
	Load(Param(name), b.As16())
	VMOVD(b, x)
	VPBROADCASTW(x, v)
	return v
}

// widenLess converts blocks of sixteen codes, less an offset, to 16 bits.
func widenLess(name string, convert func(s, d Op)) {
	m := machine{name: "AVX2", lanes: 8}
	m.fn(name, "(dst *int16, src *uint8, blocks int, offset int16)", "converts blocks of sixteen codes, less offset; blocks is positive.")
	d, s, n := integer("dst"), integer("src"), integer("blocks")
	off := m.words16("offset")
	loop := label("loop")
	Label(loop)
	y := YMM()
	convert(Mem{Base: s}, y)
	VPSUBW(off, y, y)
	VMOVDQU(y, Mem{Base: d})
	ADDQ(Imm(16), s)
	ADDQ(Imm(32), d)
	DECQ(n)
	JNZ(LabelRef(loop))
	end()
}

// packPairs writes 16 columns of a panel in which the 16-bit codes of two inputs lie
// together.
func packPairs(m machine, name string, convert func(s, d Op)) {
	m.fn(name, "(dst *int16, stride int, src *uint8, ld int, steps int, offset int16)",
		"writes the codes, less offset, of 16 columns; a step is two rows, which become 64 bytes, stride bytes after those before; steps is positive.")
	dst, stride, src, ld, steps := integer("dst"), integer("stride"), integer("src"), integer("ld"), integer("steps")
	off := m.words16("offset")
	loop := label("loop")
	Label(loop)
	a, b := XMM(), XMM()
	VMOVDQU(Mem{Base: src}, a)
	VMOVDQU(Mem{Base: src, Index: ld, Scale: 1}, b)
	low, high := YMM(), XMM()
	VPUNPCKLBW(b, a, low.AsX())
	VPUNPCKHBW(b, a, high)
	if m.wide() {
		z := ZMM()
		VINSERTI128(Imm(1), high, low, low)
		convert(low, z)
		VPSUBW(off, z, z)
		VMOVDQU16(z, Mem{Base: dst})
	} else {
		for i, x := range []reg.Register{low.AsX(), high} {
			y := YMM()
			convert(x, y)
			VPSUBW(off, y, y)
			VMOVDQU(y, Mem{Base: dst, Disp: 32 * i})
		}
	}
	LEAQ(Mem{Base: src, Index: ld, Scale: 2}, src)
	ADDQ(stride, dst)
	DECQ(steps)
	JNZ(LabelRef(loop))
	end()
}

// scaleTile writes the float32 products of a tile and its rows' scales.
func scaleTile(m machine) {
	doc := "."
	if !m.wide() {
		doc = ", a multiple of 8."
	}
	m.fn("scaleTile", "(c *float32, ldc int, tile *int32, ldt int, scale *float32, rows, cols, add int)",
		"writes, or where add is not 0 adds, scale[i]·tile[i,j] to c; ldc and ldt are in bytes, rows and cols are positive, cols at most 64"+doc)
	c, ldc, t, ldt, scale := integer("c"), integer("ldc"), integer("tile"), integer("ldt"), integer("scale")
	count, n, add := integer("rows"), integer("cols"), integer("add")
	r := m.row(n)
	variants([]reg.GPVirtual{add}, func(set []bool) {
		next := label("rows")
		Label(next)
		k := m.vec()
		VBROADCASTSS(Mem{Base: scale}, k)
		r.each(func(l lane) {
			v := l.load(t)
			VCVTDQ2PS(v, v)
			VMULPS(k, v, v)
			if set[0] {
				VADDPS(l.load(c), v, v)
			}
			l.store(v, c)
		})
		ADDQ(ldc, c)
		ADDQ(ldt, t)
		ADDQ(Imm(4), scale)
		DECQ(count)
		JNZ(LabelRef(next))
	})
}

// scaleTileCols writes the float32 products of a tile and its columns' scales.
func scaleTileCols(m machine) {
	doc := "."
	if !m.wide() {
		doc = ", a multiple of 8."
	}
	m.fn("scaleTileCols", "(c *float32, ldc int, tile *int32, ldt int, scale *float32, rows, cols, add int)",
		"writes, or where add is not 0 adds, scale[j]·tile[i,j] to c; ldc and ldt are in bytes, rows and cols are positive, cols at most 64"+doc)
	c, ldc, t, ldt, scale := integer("c"), integer("ldc"), integer("tile"), integer("ldt"), integer("scale")
	count, n, add := integer("rows"), integer("cols"), integer("add")
	r := m.row(n)
	variants([]reg.GPVirtual{add}, func(set []bool) {
		next := label("rows")
		Label(next)
		r.each(func(l lane) {
			v := l.load(t)
			VCVTDQ2PS(v, v)
			VMULPS(l.load(scale), v, v)
			if set[0] {
				VADDPS(l.load(c), v, v)
			}
			l.store(v, c)
		})
		ADDQ(ldc, c)
		ADDQ(ldt, t)
		DECQ(count)
		JNZ(LabelRef(next))
	})
}

// packWords rounds columns of floats to 16 bits and lays two inputs of a column
// together, as packPairs does with codes.
func packWords(m machine) {
	m.fn("packWords", "(dst *int32, stride int, x *float32, ld int, inv *float32, cols, steps int)",
		"writes round(x·inv) of cols columns as 16-bit integers; a step is two rows of x, ld bytes apart, which become cols words, stride bytes after those before; cols and steps are positive.")
	dst, stride, x, ld, inv, n := integer("dst"), integer("stride"), integer("x"), integer("ld"), integer("inv"), integer("cols")
	top, bottom, low := m.get(f32("top16", top16)), m.get(f32("bottom16", -top16)), m.get(c32("lowWord", 0xffff))
	m.columns(n, func(ls []lane) {
		var k []reg.VecVirtual
		for _, l := range ls {
			k = append(k, l.load(inv))
		}
		s, d, count := GP64(), GP64(), integer("steps")
		MOVQ(x, s)
		MOVQ(dst, d)
		loop := label("down")
		Label(loop)
		second, later := GP64(), GP64()
		LEAQ(Mem{Base: s, Index: ld, Scale: 1}, second)
		LEAQ(Mem{Base: s, Index: ld, Scale: 8}, later) // rows are too far apart for the processor to foresee
		for i, l := range ls {
			PREFETCHT0(l.at(later))
			var pair [2]reg.VecVirtual
			for h, from := range []reg.GPVirtual{s, second} {
				v := l.load(from)
				VMULPS(k[i], v, v)
				VMINPS(top, v, v)
				VMAXPS(bottom, v, v)
				VCVTPS2DQ(v, v)
				pair[h] = v
			}
			VPSLLD(Imm(16), pair[1], pair[1])
			if m.wide() {
				VPANDD(low, pair[0], pair[0])
				VPORD(pair[1], pair[0], pair[0])
			} else {
				VPAND(low, pair[0], pair[0])
				VPOR(pair[1], pair[0], pair[0])
			}
			l.store(pair[0], d)
		}
		ADDQ(ld, later)
		for _, l := range ls {
			PREFETCHT0(l.at(later))
		}
		LEAQ(Mem{Base: s, Index: ld, Scale: 2}, s)
		ADDQ(stride, d)
		DECQ(count)
		JNZ(LabelRef(loop))
	})
	end()
}

// maxAbsCols raises dst to the greatest magnitudes of columns.
func maxAbsCols(m machine) {
	m.fn("maxAbsCols", "(dst, x []float32, rows, n int)", "raises dst to the greatest magnitudes of the columns of x; rows and n are positive.")
	dst, x, count, n := base("dst"), base("x"), integer("rows"), integer("n")
	s := stride(n)
	sign := m.get(magnBits())
	m.columns(n, func(ls []lane) {
		var most []reg.VecVirtual
		for _, l := range ls {
			most = append(most, l.load(dst))
		}
		v, c := GP64(), GP64()
		MOVQ(x, v)
		MOVQ(count, c)
		loop := label("down")
		Label(loop)
		for j, l := range ls {
			a := l.load(v)
			VANDPS(sign, a, a)
			VMAXPS(a, most[j], most[j])
		}
		ADDQ(s, v)
		DECQ(c)
		JNZ(LabelRef(loop))
		for j, l := range ls {
			l.store(most[j], dst)
		}
	})
	end()
}

// maxAbs returns the greatest magnitude of x, or of x times factor.
func maxAbs(m machine) {
	m.fn("maxAbs", "(x, factor []float32) float32", "returns the greatest magnitude of x·factor; factor may be nil.")
	x, f, n := base("x"), base("factor"), length("x")
	r := m.row(n)
	top := m.zero()
	sign := m.get(magnBits())
	none, out := label("none"), label("out")
	each := func(factor bool) {
		r.each(func(l lane) {
			v := l.load(x)
			if factor {
				VMULPS(l.load(f), v, v)
			}
			VANDPS(sign, v, v)
			VMAXPS(v, top, top)
		})
	}
	TESTQ(f, f)
	JZ(LabelRef(none))
	each(true)
	JMP(LabelRef(out))
	Label(none)
	each(false)
	Label(out)
	m.spread(top, fmax)
	Store(top.AsX(), ReturnIndex(0))
	end()
}

// quantize16 rounds x·factor·inv to 16 bits.
func quantize16(m machine) {
	doc := "."
	if !m.wide() {
		doc = " of whole vectors."
	}
	m.fn("quantize16", "(dst []int16, x, factor []float32, inv float32)", "writes round(x·factor·inv); factor may be nil"+doc)
	dst, x, f, n := base("dst"), base("x"), base("factor"), length("dst")
	inv := m.scalar("inv")
	top, bottom := m.get(f32("top16", top16)), m.get(f32("bottom16", -top16))
	none, out := label("none"), label("out")
	if !m.wide() {
		ANDQ(I32(-8), n)
	}
	each := func(factor bool) {
		c := GP64()
		MOVQ(n, c)
		m.each(c, func(l lane) {
			if l.tail && !l.wide() {
				return
			}
			v := l.load(x)
			if factor {
				VMULPS(l.load(f), v, v)
			}
			VMULPS(inv, v, v)
			VMINPS(top, v, v)
			VMAXPS(bottom, v, v)
			VCVTPS2DQ(v, v)
			switch {
			case l.tail:
				VPMOVDW(v, l.mask, Mem{Base: dst})
			case l.wide():
				VPMOVDW(v, Mem{Base: dst})
			default:
				hi := XMM()
				VEXTRACTI128(Imm(1), v, hi)
				VPACKSSDW(hi, v.AsX(), hi)
				VMOVDQU(hi, Mem{Base: dst})
			}
			ADDQ(Imm(uint64(2*m.lanes)), dst)
		})
	}
	TESTQ(f, f)
	JZ(LabelRef(none))
	each(true)
	JMP(LabelRef(out))
	Label(none)
	each(false)
	Label(out)
	end()
}
