package kernel

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func checkGemm16(t *testing.T, s *set, w *Workspace, r *rand.Rand, m, n, k, limit int, tb, signed, add, extreme bool) {
	t.Helper()
	lda, ldb, ldc := k+r.IntN(3), n+r.IntN(3), n+r.IntN(3)
	if tb {
		ldb = k + r.IntN(3)
	}
	a := make([]int16, (m-1)*lda+k+r.IntN(2))
	for i := range a {
		a[i] = int16(r.IntN(2*top16+1) - top16)
		if extreme {
			a[i] = -top16
		}
	}
	rows, cols := k, n
	if tb {
		rows, cols = n, k
	}
	b, offset := make([]uint8, (rows-1)*ldb+cols), r.IntN(4)
	for i := range b {
		q := r.IntN(limit-3) + offset
		if extreme {
			q = limit + offset
		}
		b[i] = uint8(q)
		if signed {
			b[i] = uint8(int8(q - offset - (limit-3)/2))
		}
	}
	scale := randoms(r, m, 1e-4)
	c0 := randoms(r, m*n, 1)
	g := &gemm16Args{tb, m, n, k, a, lda, b, signed, int32(offset), ldb, scale, add, nil, ldc, limit}
	if signed {
		g.offset = 1
	}
	want, block := make([]float32, m*n), block16(limit)
	for i := range m {
		for j := range n {
			y, have := float32(0), add
			if add {
				y = c0[i*n+j]
			}
			for k0 := 0; k0 < k; k0 += block {
				var sum int64
				for p := k0; p < min(k, k0+block); p++ {
					sum += int64(a[i*lda+p]) * int64(g.at(p, j))
				}
				if sum != int64(int32(sum)) {
					t.Fatal("the test overflows")
				}
				v := float32(scale[i] * float32(int32(sum)))
				if have {
					v = y + v
				}
				y, have = v, true
			}
			want[i*n+j] = y
		}
	}
	what := fmt.Sprintf("%s %dx%dx%d tb %v signed %v add %v", s.name, m, n, k, tb, signed, add)
	guarded(t, what, guard, m, n, ldc, want, func(d []float32) {
		if add {
			for i := range m {
				copy(d[i*ldc:][:n], c0[i*n:])
			}
		}
		g.c = d
		s.gemm16(w, g)
	})
}

func TestGemm16(t *testing.T) {
	for _, s := range append(sets(), otherForms()...) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(8, 4))
			var w Workspace
			flip := func() bool { return r.IntN(2) == 0 }
			for m := 1; m <= 17; m++ {
				for n := 1; n <= 17; n++ {
					for k := 1; k <= 17; k += 1 + r.IntN(2) {
						checkGemm16(t, s, &w, r, m, n, k, 15, flip(), flip(), flip(), false)
					}
				}
			}
			for range 100 {
				checkGemm16(t, s, &w, r, 1+r.IntN(40), 1+r.IntN(150), 1+r.IntN(200), 8+r.IntN(100), flip(), flip(), flip(), false)
			}
			for _, tb := range bools {
				checkGemm16(t, s, &w, r, 3, 5, 4500, 15, tb, false, false, true)
				checkGemm16(t, s, &w, r, 2, 70, 2100, 15, tb, true, true, false)
				checkGemm16(t, s, &w, r, 2, 3, 700, 250, tb, false, true, true)
				checkGemm16(t, s, &w, r, 26, 65, 301, 600, tb, true, true, false)
			}
			// The widest sums of two operands: ±32257 and ±510.
			for i := range 4 {
				signed := i&1 != 0
				q, offset := byte(255), int32(-255)
				if signed {
					q, offset = 0x80, 382
				}
				a, c := slices.Repeat([]int16{top16 - int16(i&2)*top16}, 9*12), make([]float32, 9*70)
				s.gemm16(&w, &gemm16Args{false, 9, 70, 12, a, 12, bytes.Repeat([]byte{q}, 12*70), signed, offset, 70, slices.Repeat([]float32{1}, 9), false, c, 70, 510})
				want := float32(12 * (top16 - (i&2)*top16) * 510)
				if signed {
					want = -want
				}
				if k := slices.IndexFunc(c, func(v float32) bool { return v != want }); k >= 0 {
					t.Fatalf("%s: element %d is %v, want %v", s.name, k, c[k], want)
				}
			}
		})
	}
}

func checkGemm16Cols(t *testing.T, s *set, w *Workspace, r *rand.Rand, m, n, k, limit int, add, extreme bool) {
	t.Helper()
	lda, ldx, ldc := k+r.IntN(3), n+r.IntN(3), n+r.IntN(3)
	offset := r.IntN(4)
	a, x := make([]uint8, (m-1)*lda+k), randoms(r, (m-1)*ldx+n, 1)
	for i := range a {
		a[i] = uint8(r.IntN(limit + 1))
		if extreme {
			a[i] = uint8(limit + offset)
		}
	}
	inv, scale := make([]float32, n), make([]float32, n)
	for i := range m {
		for j := range n {
			if extreme {
				x[i*ldx+j] = -3
			}
			inv[j] = max(inv[j], x[i*ldx+j], -x[i*ldx+j])
		}
	}
	Scales16(inv, scale, inv, 0.37)
	c0 := randoms(r, k*n, 1)
	g := &gemm16ColsArgs{m, n, k, a, lda, int32(offset), x, ldx, inv, scale, add, nil, ldc, limit}
	want, block := make([]float32, k*n), block16(limit)
	for p := range k {
		for j := range n {
			y, have := float32(0), add
			if add {
				y = c0[p*n+j]
			}
			for i0 := 0; i0 < m; i0 += block {
				var sum int64
				for i := i0; i < min(m, i0+block); i++ {
					sum += int64(word16(float32(x[i*ldx+j]*inv[j]))) * (int64(a[i*lda+p]) - int64(offset))
				}
				if sum != int64(int32(sum)) {
					t.Fatal("the test overflows")
				}
				v := float32(scale[j] * float32(int32(sum)))
				if have {
					v = y + v
				}
				y, have = v, true
			}
			want[p*n+j] = y
		}
	}
	what := fmt.Sprintf("%s columns %dx%dx%d add %v", s.name, m, n, k, add)
	guarded(t, what, guard, k, n, ldc, want, func(d []float32) {
		if add {
			for i := range k {
				copy(d[i*ldc:][:n], c0[i*n:])
			}
		}
		g.c = d
		s.gemm16Cols(w, g)
	})
}

func TestGemm16Cols(t *testing.T) {
	for _, s := range append(sets(), otherForms()...) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(8, 5))
			var w Workspace
			flip := func() bool { return r.IntN(2) == 0 }
			for m := 1; m <= 17; m++ {
				for n := 1; n <= 17; n++ {
					for k := 1; k <= 17; k += 1 + r.IntN(2) {
						checkGemm16Cols(t, s, &w, r, m, n, k, 15, flip(), false)
					}
				}
			}
			for range 100 {
				checkGemm16Cols(t, s, &w, r, 1+r.IntN(100), 1+r.IntN(150), 1+r.IntN(90), 8+r.IntN(100), flip(), false)
			}
			checkGemm16Cols(t, s, &w, r, 4500, 5, 3, 15, false, true)
			checkGemm16Cols(t, s, &w, r, 2101, 70, 19, 15, true, false)
			checkGemm16Cols(t, s, &w, r, 700, 3, 20, 250, true, true)
		})
	}
}

func TestMaxAbsCols(t *testing.T) {
	for _, s := range sets() {
		for _, n := range lengths[1:] {
			same(t, s, fmt.Sprint("maxAbsCols ", n), 0, func(s *set, a *arena) { s.maxAbsCols(a.slice(n, 1), a.slice(3*n, 1), 3, n) })
		}
	}
}

func TestQuantize16(t *testing.T) {
	for _, s := range sets() {
		r := rand.New(rand.NewPCG(9, 4))
		for _, n := range lengths[1:] {
			x, f := randoms(r, n, 1e-3), randoms(r, n, 1)
			if n%4 == 1 {
				f = nil
			}
			if n%7 == 3 {
				clear(x)
			}
			most := s.maxAbs(x, f)
			if want := maxAbsGo(x, f); most != want {
				t.Fatalf("%s: the greatest of %d is %v, want %v", s.name, n, most, want)
			}
			var scale float32
			inv := scale16(&scale, most)
			got, want := make([]int16, n+2), make([]int16, n+2)
			got[n], want[n] = 7, 7
			s.quantize16(got[:n], x, f, inv)
			quantize16Go(want[:n], x, f, inv)
			for j := range got {
				if got[j] != want[j] {
					t.Fatalf("%s: %d of %d is %d, want %d", s.name, j, n, got[j], want[j])
				}
				if j >= n {
					continue
				}
				v := float64(x[j])
				if f != nil {
					v = float64(x[j] * f[j])
				}
				if math.Abs(float64(got[j])*float64(scale)-v) > 0.501*float64(scale) {
					t.Fatalf("%s: %v became %d at scale %v", s.name, v, got[j], scale)
				}
			}
		}
	}
}

func TestQuantizeRows16(t *testing.T) {
	for _, s := range sets() {
		r := rand.New(rand.NewPCG(9, 5))
		for _, n := range append(lengths[1:], 300) {
			const rows = 5
			ldd, ldx := n+r.IntN(3), n+r.IntN(3)
			x, f := randoms(r, rows*ldx, 1e-3), randoms(r, n, 1)
			clear(x[2*ldx:][:n])
			x[3*ldx] = 0x1p-101
			clear(x[3*ldx+1:][:n-1])
			if n%3 == 1 {
				f = nil
			}
			run := func(s *set) ([]int16, []float32) {
				d, scale := slices.Repeat([]int16{7}, rows*ldd+40), slices.Repeat([]float32{7}, rows+20)
				s.rows16(s, d[20:][:rows*ldd], ldd, scale[10:], x, ldx, f, rows, n)
				return d, scale
			}
			got, scale := run(s)
			want, wantScale := run(&portable)
			if !slices.Equal(got, want) || !slices.Equal(scale, wantScale) {
				t.Fatalf("%s: rows of %d: %v %v, want %v %v", s.name, n, got, scale, want, wantScale)
			}
		}
	}
}

// TestGemm16Gradients takes the gradients of a quantised linear layer in 16 bits and
// compares them with float64.
func TestGemm16Gradients(t *testing.T) {
	const m, n, k = 60, 40, 50 // tokens, outputs, inputs
	r := rand.New(rand.NewPCG(10, 4))
	dy, ws := randoms(r, m*n, 1), randoms(r, n, 0.1)
	wq, xq := make([]int8, n*k), make([]uint8, m*k)
	for i := range wq {
		wq[i] = int8(r.IntN(16) - 8)
	}
	for i := range xq {
		xq[i] = uint8(r.IntN(16))
	}
	var w Workspace
	q, scale := make([]int16, m*n), make([]float32, m)
	dx, dw := make([]float32, m*k), make([]float32, n*k)
	QuantizeRows16(q, n, scale, dy, n, ws, m, n)
	Gemm16(&w, false, m, k, n, q, n, wq, k, 0, 8, scale, false, dx, k)
	most := make([]float32, n)
	MaxAbsCols(most, dy, m, n)
	Scales16(most, scale, most, 1)
	Gemm16Cols(&w, m, n, k, xq, k, 3, 12, dy, n, most, scale, false, dw, n)
	var worst float64
	for i := range m {
		for p := range k {
			var want, size float64
			for j := range n {
				v := float64(dy[i*n+j]) * float64(ws[j]) * float64(wq[j*k+p])
				want, size = want+v, size+math.Abs(v)
			}
			worst = max(worst, math.Abs(float64(dx[i*k+p])-want)/size)
		}
	}
	for j := range n {
		for p := range k {
			var want, size float64
			for i := range m {
				v := float64(dy[i*n+j]) * float64(int(xq[i*k+p])-3)
				want, size = want+v, size+math.Abs(v)
			}
			worst = max(worst, math.Abs(float64(dw[p*n+j])-want)/size)
		}
	}
	if worst > 1e-4 {
		t.Errorf("relative error %v", worst)
	}
}
