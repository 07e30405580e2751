package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

func TestTwinsRows(t *testing.T) {
	for _, s := range sets()[:len(sets())-1] {
		for _, n := range lengths[1:] {
			for _, rows := range []int{1, 3} {
				test := func(name string, tol float64, f func(s *set, a *arena)) {
					same(t, s, fmt.Sprintf("%s %dx%d", name, rows, n), tol, f)
				}
				test("softmaxRows", 1e-6, func(s *set, a *arena) { s.softmaxRows(a.slice(rows*n, 1), a.slice(rows*n, 3), rows, n) })
				test("logSoftmaxRows", 4e-6, func(s *set, a *arena) { s.logSoftmaxRows(a.slice(rows*n, 1), a.slice(rows*n, 3), rows, n) })
				test("addBias", 0, func(s *set, a *arena) {
					s.addBias(a.slice(rows*n, 1), a.slice(rows*n, 1), a.slice(n, 1), rows, n)
				})
				test("sumRows", 0, func(s *set, a *arena) { s.sumRows(a.slice(n, 1), a.slice(rows*n, 1), rows, n) })
				test("transpose", 0, func(s *set, a *arena) { s.transpose(a.slice(rows*n, 1), a.slice(rows*n, 1), rows, n) })
				test("transpose of the transpose", 0, func(s *set, a *arena) { s.transpose(a.slice(rows*n, 1), a.slice(rows*n, 1), n, rows) })
				test("layerNormGamma", 1e-5, func(s *set, a *arena) {
					s.layerNormGamma(a.slice(n, 1), a.slice(rows*n, 1), a.slice(rows*n, 1), a.slice(rows, 1), a.slice(rows, 1), rows, n)
				})
				test("rescaleRows", 0, func(s *set, a *arena) {
					s.rescaleRows(a.slice(rows*n, 1), a.slice(rows*n, 1), a.slice(rows, 1), a.slice(n, 1), a.slice(rows, 1), a.slice(n, 1), 0.3, rows, n)
				})
				test("rescaleRowsBackward", 2e-5, func(s *set, a *arena) {
					s.rescaleRowsBackward(a.slice(rows*n, 1), a.slice(rows, 1), a.slice(n, 1), a.slice(rows, 1), a.slice(n, 1),
						a.slice(rows*n, 1), a.slice(rows*n, 1), a.slice(rows, 1), a.slice(n, 1), a.slice(rows, 1), a.slice(n, 1), 0.3, rows, n)
				})
				for v := range 4 {
					opt := func(a *arena, on bool) []float32 {
						if on {
							return a.slice(n, 1)
						}
						return nil
					}
					stats := func(a *arena, on bool) []float32 {
						if on {
							return a.slice(rows, 1)
						}
						return nil
					}
					acc := v&1 != 0
					test(fmt.Sprint("layerNorm ", v), 1e-5, func(s *set, a *arena) {
						s.layerNorm(a.slice(rows*n, 1), a.slice(rows, 1), a.slice(rows, 1), a.slice(rows*n, 1), opt(a, acc), opt(a, v&2 != 0), rows, n, 1e-2)
					})
					test(fmt.Sprint("layerNormDx ", v), 1e-5, func(s *set, a *arena) {
						s.layerNormDx(a.slice(rows*n, 1), a.slice(rows*n, 1), a.slice(rows*n, 1), opt(a, v&2 != 0), a.slice(rows, 1), a.slice(rows, 1), stats(a, v&2 == 0), stats(a, acc), rows, n, acc)
					})
					test(fmt.Sprint("softmaxRowsBackward ", v), 1e-5, func(s *set, a *arena) {
						y := a.slice(rows*n, 1)
						softmaxRowsGo(y, y, rows, n)
						s.softmaxRowsBackward(a.slice(rows*n, 1), y, a.slice(rows*n, 1), rows, n, acc)
					})
				}
			}
		}
	}
}

func TestTransposeBlocks(t *testing.T) {
	for _, s := range sets() {
		for _, d := range [][2]int{{16, 16}, {17, 33}, {40, 7}, {100, 101}} {
			r := rand.New(rand.NewPCG(1, 2))
			x, y := randoms(r, d[0]*d[1], 1), make([]float32, d[0]*d[1])
			s.transpose(y, x, d[0], d[1])
			for i := range d[0] {
				for j := range d[1] {
					if y[j*d[0]+i] != x[i*d[1]+j] {
						t.Fatalf("%s %v: wrong at %d,%d", s.name, d, i, j)
					}
				}
			}
		}
	}
}

// quantised returns values round the grid of a 2-bit quantiser, with exact ties,
// range ends and values far outside.
func quantised(a *arena, n int, alpha float32) []float32 {
	x := a.slice(n, 2)
	for i := range x {
		switch i % 5 {
		case 0:
			x[i] = alpha * float32(i%13-6) / 2
		case 1:
			x[i] *= 1e3
		}
	}
	return x
}

func TestTwinsFakeQuant(t *testing.T) {
	const qn, qp = -2, 1
	for _, s := range sets()[:len(sets())-1] {
		for _, n := range lengths {
			for _, zp := range []float32{0, 1, -0.5} {
				const alpha = 0.37
				what := fmt.Sprint("fakeQuant ", n, " zp ", zp)
				same(t, s, what, 0, func(s *set, a *arena) { s.fakeQuant(a.slice(n, 1), quantised(a, n, alpha), alpha, zp, qn, qp) })
				for v := range 3 {
					var da, do [2]float64
					i := 0
					same(t, s, what+" backward", 0, func(s *set, a *arena) {
						x, dy, dx := quantised(a, n, alpha), a.slice(n, 1), a.slice(n, 1)
						if v == 2 {
							dx = nil
						}
						da[i], do[i] = s.fakeQuantBackward(dx, x, dy, alpha, zp, qn, qp, v == 1)
						i++
					})
					if da[0] != da[1] || do[0] != do[1] {
						t.Fatalf("%s %s: gradients %v %v", s.name, what, da, do)
					}
				}
				var codes [2][]uint8
				i := 0
				same(t, s, what, 0, func(s *set, a *arena) {
					codes[i] = make([]uint8, n+9)
					s.quantize(codes[i][:n], quantised(a, n, alpha), alpha, zp, qn, qp, 2)
					i++
				})
				if string(codes[0]) != string(codes[1]) {
					t.Fatalf("%s %s: codes %v, twin %v", s.name, what, codes[1], codes[0])
				}
				same(t, s, what+" dequantize", 0, func(s *set, a *arena) { s.dequantize(a.slice(n, 1), codes[0], alpha, zp) })
				signed := make([]int8, n)
				for k := range signed {
					signed[k] = int8(codes[0][k]*37) - 100
				}
				same(t, s, what+" dequantize signed", 0, func(s *set, a *arena) { s.dequantizeSigned(a.slice(n, 1), signed, alpha, zp) })
			}
		}
	}
}

func TestTwinsFakeQuantCols(t *testing.T) {
	const qn, qp, rows = -4, 3, 5
	for _, s := range sets()[:len(sets())-1] {
		for _, n := range lengths[1:] {
			for v := range 12 {
				var da, dz [2][]float64
				i := 0
				what := fmt.Sprint("fakeQuantCols ", n, " ", v)
				same(t, s, what, 0, func(s *set, a *arena) {
					x, dx, dy := a.slice(rows*n, 2), a.slice(rows*n, 1), a.slice(rows*n, 1)
					alpha, zp := a.slice(n, 0.3), a.slice(n, 1)
					for i := range alpha {
						alpha[i] = 0.1 + float32(math.Abs(float64(alpha[i])))
					}
					da[i], dz[i] = make([]float64, n+3), make([]float64, n+3)
					for j := range da[i] {
						da[i][j], dz[i][j] = a.r.NormFloat64(), a.r.NormFloat64()
					}
					z := dz[i][:n]
					if v&1 != 0 {
						zp = nil
					}
					if v&2 != 0 {
						z = nil
					}
					if v/4 == 2 {
						dx = nil
					}
					s.fakeQuantCols(a.slice(rows*n, 1), x, alpha, zp, qn, qp, rows, n)
					s.fakeQuantColsBackward(dx, x, dy, alpha, zp, qn, qp, da[i][:n], z, rows, n, v/4 == 1)
					i++
				})
				for j := range da[0] {
					if da[0][j] != da[1][j] || dz[0][j] != dz[1][j] {
						t.Fatalf("%s %s column %d: %v %v, twin %v %v", s.name, what, j, da[1][j], dz[1][j], da[0][j], dz[0][j])
					}
				}
			}
		}
	}
}

// TestFakeQuantDefinition holds the twin to the formula, in another form.
func TestFakeQuantDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	x, dy := append(randoms(r, 500, 2), 1<<22+0.5, -(1<<22+1.5), 3e9, 0.75, -0.75), randoms(r, 505, 1)
	for _, bits := range []float64{2, 3, 4} {
		alpha, zp, qn, qp := float32(0.5), float32(1), float32(-math.Exp2(bits-1)), float32(math.Exp2(bits-1)-1)
		got, dx := make([]float32, len(x)), make([]float32, len(x))
		FakeQuant(got, x, alpha, zp, qn, qp)
		u8, s8 := make([]uint8, len(x)), make([]int8, len(x))
		QuantizeU8(u8, x, alpha, zp, qn, qp, -qn)
		QuantizeS8(s8, x, alpha, zp, qn, qp)
		da, dz := FakeQuantBackward(dx, x, dy, alpha, zp, qn, qp, false)
		var wantA, wantZ float64
		for i, v := range x {
			q := math.Min(math.Max(math.RoundToEven(float64(v/alpha))+float64(zp), float64(qn)), float64(qp))
			if want := float32((q - float64(zp)) * float64(alpha)); got[i] != want {
				t.Fatalf("FakeQuant(%v) = %v, want %v", v, got[i], want)
			}
			if float64(s8[i]) != q || float64(u8[i]) != q-float64(qn) {
				t.Fatalf("codes of %v: %d %d, want %v", v, s8[i], u8[i], q)
			}
			u := v/alpha + zp
			var want float32
			if qn <= u && u <= qp {
				want = dy[i]
				wantA += float64(dy[i]) * (q - float64(zp) - float64(v/alpha))
			} else {
				wantA += float64(dy[i]) * (q - float64(zp))
				wantZ -= float64(dy[i]) * float64(alpha)
			}
			if dx[i] != want {
				t.Fatalf("dx at %v: %v, want %v", v, dx[i], want)
			}
		}
		near(t, "dalpha", da, wantA, 1e-5)
		near(t, "dzp", dz, wantZ, 1e-5)
	}
}
