package kernel

import (
	"math"
	"testing"
)

// tables are grids as trained networks have them, and some that have no table.
func tables() (g []Grid) {
	for _, bits := range []int{2, 3, 4} {
		top := float32(int(1)<<bits - 1)
		for _, alpha := range []float32{0.01, 0.031, 0.05, 0.077, 0.1, 0.13, 0.17, 0.2, 0.25, 0.333, 0.5, 0.9, 2.5} {
			for _, zp := range []float32{0, 1, 3, top} {
				g = append(g, Grid{Alpha: alpha, Zp: zp, Qp: top})
			}
		}
	}
	return append(g, Grid{Alpha: 0.02, Zp: 9, Qp: 255}, Grid{Alpha: 1e-5, Qp: 15}, Grid{Alpha: 0.1, Zp: 0.5, Qn: -8, Qp: 7, Offset: 8},
		Grid{Alpha: float32(0.16997120747990369 / 1.5), Zp: 3, Qp: 15})
}

// sameCodes compares the table with the arithmetic form on x.
func (t *GeluTable) sameCodes(tb testing.TB, x []float32) {
	tb.Helper()
	factor := make([]float32, PanelWidth)
	Fill(factor, 1)
	want, got := make([]uint8, len(x)), make([]uint8, len(x))
	v := append([]float32(nil), x...)
	t.codes(want, v)
	// Sums of 0 with the values as biases.
	zero := make([]int32, PanelWidth)
	var w Workspace
	for i := 0; i < len(x); i += PanelWidth {
		c := min(PanelWidth, len(x)-i)
		t.set.dequantGelu(&w, tileArgs{tile: zero, ldt: PanelWidth, m: 1, cols: c, factor: factor, bias: x[i:][:c]}, got[i:], PanelWidth, t)
	}
	for i := range got {
		if got[i] != want[i] {
			tb.Fatalf("%s %+v: code of GELU(%v) = %d, want %d", t.set.name, t.grid, x[i], got[i], want[i])
		}
	}
}

func TestGeluTable(t *testing.T) {
	for _, s := range sets() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			fits := 0
			for i, g := range tables() {
				table := newGeluTable(s, g)
				if table.fits {
					fits++
				}
				var x []float32
				for j := range 3000 {
					x = append(x, -6+float32(j)*0.003+float32(i)*1e-5, -float32(j)*0.01, float32(j)*0.05)
				}
				x = append(x, 1e30, -1e30, 0, float32(math.Copysign(0, -1)), 1e-40)
				// Every float round each step.
				for k := range table.bins.low {
					if low := table.bins.low[k]; table.fits && low < math.MaxFloat32 {
						b := math.Float32bits(low)
						for d := range uint32(200) {
							x = append(x, math.Float32frombits(b+d-100))
						}
					}
				}
				table.sameCodes(t, x)
			}
			if n := len(tables()); fits < n*2/3 || fits > n-3 {
				t.Errorf("%d of %d grids have a table", fits, n)
			}
			t.Log(fits, "of", len(tables()), "grids have a table")
		})
	}
}

// TestGeluTableDense compares every float from 1/8 to 4 in magnitude.
func TestGeluTableDense(t *testing.T) {
	if testing.Short() {
		t.Skip("every float of ten binades")
	}
	for _, s := range sets()[:1] {
		table := newGeluTable(s, Grid{Alpha: 0.123, Zp: 2, Qp: 15})
		if !table.fits {
			t.Fatal("no table")
		}
		x := make([]float32, 1<<16)
		for _, sign := range []uint32{0, 1 << 31} {
			for b := math.Float32bits(0.125); b < math.Float32bits(4); b += uint32(len(x)) {
				for i := range x {
					x[i] = math.Float32frombits(b + uint32(i) | sign)
				}
				table.sameCodes(t, x)
			}
		}
	}
}
