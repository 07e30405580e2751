package kernel

// gemm16Args carries one product to the set's implementation.
type gemm16Args struct {
	tb      bool
	m, n, k int
	a       []int16
	lda     int
	b       []uint8 // codes as bytes
	signed  bool
	offset  int32
	ldb     int
	scale   []float32
	add     bool
	c       []float32
	ldc     int
	limit   int // greatest magnitude of b - offset
}

// Gemm16 multiplies a matrix of 16-bit integers, such as a gradient quantised by
// QuantizeRows16, by codes:
//
//	C[i,j] = C0[i,j] + scale[i] · float32(Σ_p a[i,p] · (b[p,j] - offset))
//
// A is m × k with rows lda apart; b is k × n with rows ldb apart, or n × k when tb.
// C0 is C when add, else 0. limit is the greatest magnitude of b - offset. The
// magnitudes in a are at most 32257 (32767 - 510), so that a number of a and one of b
// can be added in 16 bits where limit is at most 510, as that of all codes of 8 bits
// is. Where k is odd, a should hold one element more than it needs, whatever it is
// within that range: a is then read where it lies. Sums are exact int32 over blocks of
// 2^31/(2^15·limit) inputs (65536/limit, at most 2048); the blocks are added in float32,
// in order. Every set gives the same bits.
func Gemm16[T uint8 | int8](w *Workspace, tb bool, m, n, k int, a []int16, lda int, b []T, ldb, offset, limit int, scale []float32, add bool, c []float32, ldc int) {
	if m <= 0 || n <= 0 {
		return
	}
	need("c", len(c), extent(m, n, ldc))
	need("scale", len(scale), m)
	if k <= 0 {
		if !add {
			clearC(m, n, 0, c, ldc)
		}
		return
	}
	need("a", len(a), extent(m, k, lda))
	if tb {
		need("b", len(b), extent(n, k, ldb))
	} else {
		need("b", len(b), extent(k, n, ldb))
	}
	var zero T
	w.gemm16 = gemm16Args{tb, m, n, k, a, lda, bytesOf(b), zero-1 < zero, int32(offset), ldb, scale, add, c, ldc, limit}
	active.gemm16(w, &w.gemm16)
	w.gemm16.a, w.gemm16.b, w.gemm16.c, w.gemm16.scale = nil, nil, nil, nil
}

// at is code (p, j) of b less offset.
func (g *gemm16Args) at(p, j int) int32 {
	i := p*g.ldb + j
	if g.tb {
		i = j*g.ldb + p
	}
	if g.signed {
		return int32(int8(g.b[i])) - g.offset
	}
	return int32(g.b[i]) - g.offset
}

// gemm16Go packs four columns at a time.
func gemm16Go(w *Workspace, g *gemm16Args) {
	const v = 4
	block := block16(g.limit)
	for k0 := 0; k0 < g.k; k0 += block {
		k := min(block, g.k-k0)
		add := g.add || k0 > 0
		w.i16 = grow(w.i16, v*k)
		b := w.i16
		for j := 0; j < g.n; j += v {
			cols := min(v, g.n-j)
			for p := range k {
				for c := range cols {
					b[c*k+p] = int16(g.at(k0+p, j+c))
				}
			}
			for i := range g.m {
				var s [v]int32
				a := g.a[i*g.lda+k0:][:k]
				b0, b1, b2, b3 := b[:k], b[k:][:k], b[2*k:][:k], b[3*k:][:k]
				for p, x := range a {
					s[0] += int32(x) * int32(b0[p])
					s[1] += int32(x) * int32(b1[p])
					s[2] += int32(x) * int32(b2[p])
					s[3] += int32(x) * int32(b3[p])
				}
				for c, d := range g.c[i*g.ldc+j:][:cols] {
					y := float32(g.scale[i] * float32(s[c]))
					if add {
						y = d + y
					}
					g.c[i*g.ldc+j+c] = y
				}
			}
		}
	}
}

// QuantizeRows16 quantises each of the rows of n elements (ldx apart) to 16 bits:
//
//	scale[i] = max_j |x[i,j]·factor[j]| / 32257
//	dst[i,j] = round(float32(x[i,j]·factor[j]) · (32257/max))
//
// half to even; factor may be nil (1). 32257 leaves room for a code beside it, see Gemm16. Rows of dst are ldd apart. A row of zeros has
// scale 0, and so has one whose greatest magnitude is below 2^-100. Inputs are finite.
// Every set gives the same bits.
func QuantizeRows16(dst []int16, ldd int, scale, x []float32, ldx int, factor []float32, rows, n int) {
	if rows <= 0 || n <= 0 {
		return
	}
	need("dst", len(dst), extent(rows, n, ldd))
	need("x", len(x), extent(rows, n, ldx))
	need("scale", len(scale), rows)
	if factor != nil {
		need("factor", len(factor), n)
		factor = factor[:n]
	}
	active.rows16(active, dst, ldd, scale, x, ldx, factor, rows, n)
}

// quantizeRows16 does the loops of s after each other.
func quantizeRows16(s *set, dst []int16, ldd int, scale, x []float32, ldx int, factor []float32, rows, n int) {
	for i := range rows {
		row := x[i*ldx:][:n]
		inv := scale16(&scale[i], s.maxAbs(row, factor))
		s.quantize16(dst[i*ldd:][:n], row, factor, inv)
	}
}

// widest16 is the greatest distance of two codes of 8 bits with their offsets, and top16
// the greatest magnitude of a gradient in 16 bits: their sum fits in 16 bits too.
const (
	widest16 = 510
	top16    = 1<<15 - 1 - widest16
)

// scale16 writes the scale of a greatest magnitude and returns what to multiply by.
func scale16(scale *float32, most float32) (inv float32) {
	if *scale = 0; most < 0x1p-100 {
		return 0
	}
	*scale = most / top16
	return top16 / most
}

func maxAbsGo(x, factor []float32) (m float32) {
	for j, v := range x {
		if factor != nil {
			v *= factor[j]
		}
		m = max(m, v, -v)
	}
	return m
}

func quantize16Go(dst []int16, x, factor []float32, inv float32) {
	for j, v := range x[:len(dst)] {
		if factor != nil {
			v *= factor[j]
		}
		dst[j] = word16(float32(v * inv))
	}
}
