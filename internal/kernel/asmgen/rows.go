package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func rowsPart(m machine) {
	softmaxRows(m)
	softmaxRowsBackward(m)
	layerNorm(m)
	layerNormDx(m)
	layerNormGamma(m)
	addBias(m)
	sumRows(m)
	dot(m)
}

// stride is the bytes of a row of n float32.
func stride(n reg.GPVirtual) reg.GPVirtual {
	s := GP64()
	MOVQ(n, s)
	SHLQ(Imm(2), s)
	return s
}

func softmaxRows(m machine) {
	m.fn("softmaxRows", "(dst, x []float32, rows, n int)", "writes the softmax of each row; rows and n are positive.")
	dst, x, count, n := base("dst"), base("x"), integer("rows"), integer("n")
	r := m.row(n)
	rows(count, stride(n), []reg.GPVirtual{dst, x}, func() {
		top := m.get(c32("negInf", 0xff800000))
		r.each(func(l lane) { l.greater(l.load(x), top) })
		k := r.exponentials(x, dst, top)
		r.each(func(l lane) {
			v := l.load(dst)
			VMULPS(k, v, v)
			l.store(v, dst)
		})
	})
	end()
}

// greater keeps the greater of each lane's v and top in top.
func (l lane) greater(v, top reg.VecVirtual) {
	switch {
	case !l.tail:
		VMAXPS(v, top, top)
	case l.wide():
		VMAXPS(v, top, l.mask, top)
	default:
		VMAXPS(l.choose(l.maskVector(), v, top), top, top)
	}
}

// exponentials writes exp(x - max) of one row to dst and returns the reciprocal of
// their sum; top holds the maximum of each lane.
func (r rowLoop) exponentials(x, dst reg.GPVirtual, top reg.VecVirtual) reg.VecVirtual {
	r.spread(top, fmax)
	sum := r.zero()
	low := r.get(f32("expMin", -104))
	r.each(func(l lane) {
		v := l.load(x)
		VSUBPS(top, v, v)
		VMAXPS(v, low, v)
		e := l.exp0(v)
		l.keep(e)
		VADDPS(e, sum, sum)
		l.store(e, dst)
	})
	r.spread(sum, fadd)
	k := r.get(one())
	VDIVPS(sum, k, k)
	return k
}

// variants emits body for every combination of the flags, each a register that
// is 0 for false.
func variants(flags []reg.GPVirtual, body func(set []bool)) {
	out := label("variantsEnd")
	var pick func(set []bool)
	pick = func(set []bool) {
		i := len(set)
		if i == len(flags) {
			body(set)
			JMP(LabelRef(out))
			return
		}
		no := label("variant")
		TESTQ(flags[i], flags[i])
		JZ(LabelRef(no))
		pick(append(set[:i:i], true))
		Label(no)
		pick(append(set[:i:i], false))
	}
	pick(nil)
	Label(out)
	end()
}

// truth loads a bool argument as a 64-bit register.
func truth(name string) reg.GPVirtual {
	b, r := GP8(), GP64()
	Load(Param(name), b)
	MOVBQZX(b, r)
	return r
}

func softmaxRowsBackward(m machine) {
	m.fn("softmaxRowsBackward", "(dx, y, dy []float32, rows, n int, acc bool)", "writes or adds the gradient of softmaxRows; rows and n are positive.")
	dx, y, dy, count, n := base("dx"), base("y"), base("dy"), integer("rows"), integer("n")
	r := m.row(n)
	s := stride(n)
	variants([]reg.GPVirtual{truth("acc")}, func(set []bool) {
		rows(count, s, []reg.GPVirtual{dx, y, dy}, func() {
			sum := m.zero()
			r.each(func(l lane) { VFMADD231PS(l.load(y), l.load(dy), sum) })
			m.spread(sum, fadd)
			r.each(func(l lane) {
				g, v := l.load(dy), l.load(y)
				VSUBPS(sum, g, g)
				if set[0] {
					VFMADD213PS(l.load(dx), v, g)
				} else {
					VMULPS(v, g, g)
				}
				l.store(g, dx)
			})
		})
	})
}

func layerNorm(m machine) {
	m.fn("layerNorm", "(dst, mean, rstd, x, gamma, beta []float32, rows, n int, eps float32)", "normalises each row; rows and n are positive, gamma and beta may be nil.")
	dst, mean, rstd, x, gamma, beta := base("dst"), base("mean"), base("rstd"), base("x"), base("gamma"), base("beta")
	count, n := integer("rows"), integer("n")
	eps := m.scalar("eps")
	size := m.count(n)
	r := m.row(n)
	s := stride(n)
	variants([]reg.GPVirtual{gamma, beta}, func(set []bool) {
		rows2(count, s, func(delta reg.GPVirtual) {
			avg, k := r.moments(x, delta, size, eps)
			for i, v := range [][2]reg.VecVirtual{avg, k} {
				to := []reg.GPVirtual{mean, rstd}[i]
				VMOVSS(v[1].AsX(), Mem{Base: next(to, delta)})
				VMOVSS(v[0].AsX(), Mem{Base: to})
				ADDQ(Imm(8), to)
			}
			r.each2(delta, func(l [2]lane) {
				for i := range l {
					l[i].store(l[i].normal(l[0], x, avg[i], k[i], at(gamma), at(beta), set), dst)
				}
			})
			LEAQ(Mem{Base: x, Index: s, Scale: 2}, x)
			LEAQ(Mem{Base: dst, Index: s, Scale: 2}, dst)
		})
	})
}

// at is the address that a register holds.
func at(r reg.GPVirtual) func() reg.GPVirtual { return func() reg.GPVirtual { return r } }

// moments returns the means and the reciprocal standard deviations of two rows.
func (r rowLoop) moments(x, delta reg.GPVirtual, size, eps reg.VecVirtual) (avg, k [2]reg.VecVirtual) {
	avg = [2]reg.VecVirtual{r.zero(), r.zero()}
	r.each2(delta, func(l [2]lane) {
		for i := range l {
			VADDPS(l[i].load(x), avg[i], avg[i])
		}
	})
	sq := [2]reg.VecVirtual{r.zero(), r.zero()}
	for i := range avg {
		r.spread(avg[i], fadd)
		VDIVPS(size, avg[i], avg[i])
	}
	r.each2(delta, func(l [2]lane) {
		for i := range l {
			v := l[i].load(x)
			VSUBPS(avg[i], v, v)
			l[i].keep(v)
			VFMADD231PS(v, v, sq[i])
		}
	})
	for i := range sq {
		r.spread(sq[i], fadd)
		VDIVPS(size, sq[i], sq[i])
		VADDPS(eps, sq[i], sq[i])
		VSQRTPS(sq[i], sq[i])
		k[i] = r.get(one())
		VDIVPS(sq[i], k[i], k[i])
	}
	return avg, k
}

// normal returns (x-avg)·k, with the columns' gamma and beta where they are set.
func (l lane) normal(column lane, x reg.GPVirtual, avg, k reg.VecVirtual, gamma, beta func() reg.GPVirtual, set []bool) reg.VecVirtual {
	v := l.load(x)
	VSUBPS(avg, v, v)
	VMULPS(k, v, v)
	switch {
	case set[0] && set[1]:
		VFMADD213PS(column.load(beta()), column.load(gamma()), v)
	case set[0]:
		VMULPS(column.load(gamma()), v, v)
	case set[1]:
		VADDPS(column.load(beta()), v, v)
	}
	return v
}

func layerNormDx(m machine) {
	m.fn("layerNormDx", "(dx, dy, x, gamma, mean, rstd, dmean, dspread []float32, rows, n int, acc bool)", "writes or adds the gradient of layerNorm with respect to x; rows and n are positive, gamma, dmean and dspread may be nil.")
	dx, dy, x, gamma, mean, rstd := base("dx"), base("dy"), base("x"), base("gamma"), base("mean"), base("rstd")
	at := GP64()
	XORQ(at, at)
	count, n := integer("rows"), integer("n")
	size := m.count(n)
	r := m.row(n)
	s := stride(n)
	variants([]reg.GPVirtual{gamma, truth("acc")}, func(set []bool) {
		rows(count, s, []reg.GPVirtual{dx, dy, x}, func() {
			avg, k := m.vec(), m.vec()
			VBROADCASTSS(Mem{Base: mean, Index: at, Scale: 4}, avg)
			VBROADCASTSS(Mem{Base: rstd, Index: at, Scale: 4}, k)
			both := func(l lane) (g, h reg.VecVirtual) {
				g = l.load(dy)
				if set[0] {
					VMULPS(l.load(gamma), g, g)
				}
				h = l.load(x)
				VSUBPS(avg, h, h)
				VMULPS(k, h, h)
				return g, h
			}
			ag, ah := m.zero(), m.zero()
			r.each(func(l lane) {
				g, h := both(l)
				VADDPS(g, ag, ag)
				VFMADD231PS(g, h, ah)
			})
			for _, v := range []reg.VecVirtual{ag, ah} {
				m.spread(v, fadd)
			}
			for i, name := range []string{"dmean", "dspread"} {
				none := label("none")
				p := base(name) // read each time: registers are few
				TESTQ(p, p)
				JZ(LabelRef(none))
				t := m.vec()
				VBROADCASTSS(Mem{Base: p, Index: at, Scale: 4}, t)
				VDIVPS(k, t, t)
				sum := []reg.VecVirtual{ag, ah}[i]
				VSUBPS(t, sum, sum)
				Label(none)
			}
			VDIVPS(size, ag, ag)
			VDIVPS(size, ah, ah)
			INCQ(at)
			r.each(func(l lane) {
				g, h := both(l)
				VSUBPS(ag, g, g)
				VFNMADD231PS(ah, h, g)
				if set[1] {
					VFMADD213PS(l.load(dx), k, g)
				} else {
					VMULPS(k, g, g)
				}
				l.store(g, dx)
			})
		})
	})
}

func layerNormGamma(m machine) {
	m.fn("layerNormGamma", "(dgamma, dy, x, mean, rstd []float32, rows, n int)", "adds the gradient of gamma; rows and n are positive.")
	dgamma, dy, x, mean, rstd := base("dgamma"), base("dy"), base("x"), base("mean"), base("rstd")
	count, n := integer("rows"), integer("n")
	s := stride(n)
	m.columns(n, func(ls []lane) {
		var sums []reg.VecVirtual
		for _, l := range ls {
			sums = append(sums, l.load(dgamma))
		}
		g, v, c, i := GP64(), GP64(), GP64(), GP64()
		MOVQ(dy, g)
		MOVQ(x, v)
		MOVQ(count, c)
		XORQ(i, i)
		loop := label("down")
		Label(loop)
		avg, k := m.vec(), m.vec()
		VBROADCASTSS(Mem{Base: mean, Index: i, Scale: 4}, avg)
		VBROADCASTSS(Mem{Base: rstd, Index: i, Scale: 4}, k)
		for j, l := range ls {
			h := l.load(v)
			VSUBPS(avg, h, h)
			VMULPS(k, h, h)
			VFMADD231PS(l.load(g), h, sums[j])
		}
		ADDQ(s, g)
		ADDQ(s, v)
		INCQ(i)
		DECQ(c)
		JNZ(LabelRef(loop))
		for j, l := range ls {
			l.store(sums[j], dgamma)
		}
	})
	end()
}

func sumRows(m machine) {
	m.fn("sumRows", "(dst, x []float32, rows, n int)", "adds the column sums of x; rows and n are positive.")
	dst, x, count, n := base("dst"), base("x"), integer("rows"), integer("n")
	s := stride(n)
	m.columns(n, func(ls []lane) {
		var sums []reg.VecVirtual
		for _, l := range ls {
			sums = append(sums, l.load(dst))
		}
		v, c := GP64(), GP64()
		MOVQ(x, v)
		MOVQ(count, c)
		loop := label("down")
		Label(loop)
		for j, l := range ls {
			VADDPS(l.load(v), sums[j], sums[j])
		}
		ADDQ(s, v)
		DECQ(c)
		JNZ(LabelRef(loop))
		for j, l := range ls {
			l.store(sums[j], dst)
		}
	})
	end()
}

func addBias(m machine) {
	m.fn("addBias", "(dst, x, bias []float32, rows, n int)", "adds bias to each row; rows and n are positive.")
	dst, x, bias, count, n := base("dst"), base("x"), base("bias"), integer("rows"), integer("n")
	r := m.row(n)
	rows(count, stride(n), []reg.GPVirtual{dst, x}, func() {
		r.each(func(l lane) {
			v := l.load(x)
			VADDPS(l.load(bias), v, v)
			l.store(v, dst)
		})
	})
	end()
}

func dot(m machine) {
	m.fn("dot", "(a, b []float32) float64", "returns the sum of products in sixteen float64 partial sums.")
	a, b, n := base("a"), base("b"), length("a")
	sums := m.doubles()
	m.each16(n, func(s step16) {
		for i, l := range s {
			x, y := m.widen(l.load(a)), m.widen(l.load(b))
			for h := range 2 {
				VFMADD231PD(x[h], y[h], sums[2*i+h])
			}
		}
	})
	Store(m.total(sums), ReturnIndex(0))
	end()
}
