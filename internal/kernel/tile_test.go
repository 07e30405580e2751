package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// pairs are all widths of weights and activations.
func pairs() (p [][2]int) {
	for _, w := range []int{2, 3, 4, 8} {
		for _, a := range []int{1, 2, 3, 4, 5, 8} {
			p = append(p, [2]int{w, a})
		}
	}
	return p
}

const mark = 77777

// marked is a matrix of m rows of cols elements, ld apart, with marks all round.
func marked(m, cols, ld int) (buf, inner []int32) {
	buf = make([]int32, 5+m*ld+21)
	for i := range buf {
		buf[i] = mark
	}
	return buf, buf[5:][:(m-1)*ld+cols]
}

func signed(r *rand.Rand, bits int, extreme bool) int8 {
	if extreme {
		return -1 << (bits - 1)
	}
	return int8(r.IntN(1<<bits) - 1<<(bits-1))
}

// product is one case of a low-bit product and its exact answer.
type lowBit struct {
	bits, abits, m, n, k, lda int
	a                         []uint8 // rows with pads of any value
	b                         []int8
	want                      []int32 // m × n
}

func newLowBit(r *rand.Rand, bits, abits, m, n, k int, extreme bool) *lowBit {
	c := &lowBit{bits: bits, abits: abits, m: m, n: n, k: k, lda: (k+3)&^3 + r.IntN(6)}
	c.a, c.b = make([]uint8, (m-1)*c.lda+(k+3)&^3), make([]int8, n*k)
	for i := range c.a {
		c.a[i] = uint8(r.IntN(1 << abits))
		if extreme {
			c.a[i] = uint8(1<<abits - 1)
		}
		if i%c.lda >= k {
			c.a[i] = uint8(r.Uint32())
		}
	}
	for i := range c.b {
		c.b[i] = signed(r, bits, extreme)
	}
	c.want = make([]int32, m*n)
	for i := range m {
		for j := range n {
			var s int32
			for p, x := range c.a[i*c.lda:][:k] {
				s += int32(x) * int32(c.b[j*k+p])
			}
			c.want[i*n+j] = s
		}
	}
	return c
}

// check multiplies by the panel that the workspace holds, where rows can be packed
// first also with those.
func (c *lowBit) check(t *testing.T, what string, w *Workspace, j int, defined int) {
	t.Helper()
	ldt := PanelWidth + len(c.a)%3
	buf, tile := marked(c.m, PanelWidth, ldt)
	w.Tile(c.m, c.a, c.lda, tile, ldt)
	c.compare(t, what, buf, ldt, j, defined)
	if f, ok := w.form.(leftForm); ok && c.m > 0 && c.k > 0 {
		left := make([]uint8, c.m*f.leftBytes(c.k))
		f.packLeft(w, c.k, left, c.m, c.a, c.lda)
		buf, tile := marked(c.m, PanelWidth, ldt)
		w.TileLeft(c.m, left, c.a, c.lda, tile, ldt)
		c.compare(t, what+" packed", buf, ldt, j, defined)
	}
}

func (c *lowBit) compare(t *testing.T, what string, buf []int32, ldt, j, defined int) {
	t.Helper()
	for i, got := range buf {
		i -= 5
		row, col := i/ldt, i%ldt
		var want int32
		switch {
		case i < 0 || row >= c.m || col >= PanelWidth:
			want = mark
		case j*PanelWidth+col < c.n:
			want = c.want[row*c.n+j*PanelWidth+col]
		case col >= defined:
			continue
		}
		if got != want {
			t.Fatalf("%s W%dA%d %dx%dx%d: panel %d [%d,%d] = %d, want %d", what, c.bits, c.abits, c.m, c.n, c.k, j, row, col, got, want)
		}
	}
}

func (c *lowBit) run(t *testing.T, s *set, w *Workspace, r *rand.Rand) {
	t.Helper()
	x := newWeights(s, c.bits, c.abits, c.n, c.k, c.b)
	sums := make([]int32, PanelWidth)
	for j := range x.Panels() {
		w.Panel(x, j)
		c.check(t, s.name, w, j, 0)
		w.PanelSums(sums)
		for i := range PanelWidth {
			if at := j*PanelWidth + i; at < c.n && sums[i] != x.RowSums()[at] {
				t.Fatalf("%s W%dA%d %dx%d: sum of output %d = %d, want %d", s.name, c.bits, c.abits, c.n, c.k, at, sums[i], x.RowSums()[at])
			}
		}
	}
	// The same codes as an operand, from both orientations, in pieces.
	offset := r.IntN(256)
	ldr, ldc := c.k+r.IntN(5), c.n+r.IntN(5)
	rows, cols := make([]uint8, c.n*ldr), make([]uint8, c.k*ldc)
	for j := range c.n {
		for p := range c.k {
			q := uint8(c.b[j*c.k+p]) + uint8(offset)
			rows[j*ldr+p], cols[p*ldc+j] = q, q
		}
	}
	for _, by := range []string{"rows", "columns", "keys"} {
		o := newOperand(s, nil, c.bits, c.abits, c.n, c.k)
		for i := range o.data {
			o.data[i] = 0x55
		}
		switch by {
		case "rows":
			for j := 0; j < c.n; {
				m := min(1+r.IntN(40), c.n-j)
				PackRows(o, j, m, rows[j*ldr:], ldr, offset)
				j += m
			}
		case "keys":
			zero, sums := int32(r.IntN(16)), make([]int32, o.Panels()*PanelWidth)
			w.PackKeys(o, rows, ldr, offset, sums, zero)
			for j, sum := range x.RowSums() {
				if sums[j] != zero*sum {
					t.Fatalf("%s W%dA%d %dx%d: %d times the sum of key %d = %d, want %d", s.name, c.bits, c.abits, c.n, c.k, zero, j, sums[j], zero*sum)
				}
			}
		default:
			for p := 0; p < c.k; {
				m := min(4*(1+r.IntN(12)), c.k-p)
				PackCols(o, p, m, cols[p*ldc:], ldc, offset)
				p += m
			}
		}
		for j := range o.Panels() {
			w.Select(o, j)
			c.check(t, fmt.Sprint(s.name, " operand by ", by), w, j, 0)
		}
	}
}

func TestTile(t *testing.T) {
	for _, s := range append(sets(), otherForms()...) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(1, 2))
			var w Workspace
			ps := pairs()
			for m := 1; m <= 17; m++ {
				for n := 1; n <= 17; n++ {
					for k := 1; k <= 17; k++ {
						p := ps[r.IntN(len(ps))]
						newLowBit(r, p[0], p[1], m, n, k, (m+n+k)%5 == 0).run(t, s, &w, r)
					}
				}
			}
			for _, p := range ps {
				for i := range 8 {
					newLowBit(r, p[0], p[1], 1+r.IntN(30), 1+r.IntN(150), 1+r.IntN(200), i%4 == 0).run(t, s, &w, r)
				}
				for i := range 3 { // whole groups of eight inputs
					newLowBit(r, p[0], p[1], 1+r.IntN(40), 1+r.IntN(150), 8*(1+r.IntN(130)), i == 0).run(t, s, &w, r)
				}
				newLowBit(r, p[0], p[1], 2, 3, 1500+r.IntN(200), true).run(t, s, &w, r)
			}
			for tail := range 256 {
				p := ps[r.IntN(len(ps))]
				newLowBit(r, p[0], p[1], 1+tail%3, 64+tail%64, 64+tail/4, false).run(t, s, &w, r)
			}
			for bits := 2; bits <= 8; bits++ {
				c := newLowBit(r, bits, 4, 5, 70, 70, bits%2 == 0)
				if bits == 2 || bits == 3 || bits == 4 || bits == 8 {
					c.run(t, s, &w, r)
					continue
				}
				o := newOperand(s, make([]uint8, 1<<16), bits, 4, 70, 70)
				PackRows(o, 0, 70, c.b, 70, 0)
				for j := range 2 {
					w.Select(o, j)
					c.check(t, s.name, &w, j, 0)
				}
			}
		})
	}
}

func TestWeightsSize(t *testing.T) {
	for _, s := range sets() {
		for _, bits := range []int{2, 3, 4, 8} {
			w := newWeights(s, bits, 4, 128, 256, make([]int8, 128*256))
			if w.Bytes() != 128*256*bits/8 {
				t.Errorf("%s: %d-bit weights take %d bytes", s.name, bits, w.Bytes())
			}
		}
	}
}

func TestBadCodesPanic(t *testing.T) {
	for _, f := range []func(){
		func() { NewWeights(4, 4, 1, 2, []int8{7, 8}) },
		func() { NewWeights(5, 4, 1, 1, []int8{0}) },
		func() { NewWeights(4, 4, 2, 2, []int8{0, 0, 0}) },
		func() { PackCols(NewOperand(nil, 4, 4, 8, 8), 2, 4, make([]uint8, 32), 8, 0) },
		func() { PackRows(NewOperand(nil, 4, 4, 8, 8), 4, 5, make([]uint8, 40), 8, 0) },
		func() {
			var w Workspace
			w.Panel(NewWeights(4, 4, 1, 5, make([]int8, 5)), 0)
			w.Tile(1, make([]uint8, 7), 8, make([]int32, 64), 64)
		},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f()
		}()
	}
}
