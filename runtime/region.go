package runtime

import (
	"cmp"
	"slices"

	"github.com/qvitc/qvitc/internal/kernel"
)

// region is a copy between two strided blocks: tensor 0 is written, tensor 1 is
// read. Transpose, Slice, Concat, Split, Pad, Expand and their gradients are
// regions.
type region struct {
	l          layout
	dst, src   int  // offset of the first element
	transposed bool // the two innermost loops are a dense matrix transpose
	repeats    bool // the written block visits elements more than once
}

// newRegion orders the loops for speed. ds and ss are the strides written and
// read. It reports false when the block needs more than maxRank loops.
func newRegion(dims, ds, ss []int, dst, src int) (region, bool) {
	type loop struct{ n, d, s int }
	var loops []loop
	r := region{dst: dst, src: src}
	dense := false
	for i, n := range dims {
		if n != 1 {
			loops = append(loops, loop{n, ds[i], ss[i]})
			dense = dense || (ds[i] == 1 && ss[i] == 1)
			r.repeats = r.repeats || ds[i] == 0
		}
	}
	key := func(l loop) int {
		switch {
		case l.d == 1 && l.s == 1:
			return -1 // innermost
		case l.d == 0 && dense:
			return 1 << 62 >> 32 // outermost
		}
		return max(l.d, -l.d)
	}
	slices.SortStableFunc(loops, func(a, b loop) int { return cmp.Compare(key(b), key(a)) })
	l := layout{strides: make([][]int, 2)}
	for _, x := range loops {
		l.dims = append(l.dims, x.n)
		l.strides[0] = append(l.strides[0], x.d)
		l.strides[1] = append(l.strides[1], x.s)
	}
	r.l = l.merge()
	if k := len(r.l.dims); k >= 2 && !r.repeats && r.l.last(0) == 1 && r.l.last(1) != 1 {
		// Bring the loop that reads contiguously next to the one that writes so.
		j := slices.Index(r.l.strides[1], 1)
		if j >= 0 && j < k-1 {
			for i := j; i < k-2; i++ {
				for _, x := range [][]int{r.l.dims, r.l.strides[0], r.l.strides[1]} {
					x[i], x[i+1] = x[i+1], x[i]
				}
			}
			r.transposed = r.l.strides[0][k-2] == r.l.dims[k-1] && r.l.strides[1][k-1] == r.l.dims[k-2]
		}
	}
	return r, len(r.l.dims) <= maxRank
}

// reversed is the region that copies the other way.
func (r region) reversed() (region, bool) {
	return newRegion(r.l.dims, r.l.strides[1], r.l.strides[0], r.src, r.dst)
}

// run copies src into dst, or adds it.
func (r *region) run(dst, src []float32, acc bool) {
	for _, d := range r.l.dims {
		if d == 0 {
			return
		}
	}
	if r.transposed && !acc {
		r.runTransposed(dst, src)
		return
	}
	n, ds, ss := r.l.inner(), r.l.last(0), r.l.last(1)
	var w walk
	w.at[0], w.at[1] = r.dst, r.src
	for {
		d, s := w.at[0], w.at[1]
		switch {
		case ds == 1 && ss == 1 && !acc:
			copy(dst[d:d+n], src[s:s+n])
		case ds == 1 && ss == 1 && n >= 16:
			kernel.Add(dst[d:d+n], dst[d:d+n], src[s:s+n])
		case ds == 0 && acc:
			var t float64
			for range n {
				t += float64(src[s])
				s += ss
			}
			dst[d] += float32(t)
		case acc:
			for range n {
				dst[d] += src[s]
				d += ds
				s += ss
			}
		default:
			for range n {
				dst[d] = src[s]
				d += ds
				s += ss
			}
		}
		if !w.next(&r.l) {
			return
		}
	}
}

// runTransposed copies by whole matrices.
func (r *region) runTransposed(dst, src []float32) {
	k := len(r.l.dims)
	rows, cols := r.l.dims[k-1], r.l.dims[k-2] // of the matrix read
	outer := layout{dims: r.l.dims[:k-1], strides: r.l.strides}
	var w walk
	w.at[0], w.at[1] = r.dst, r.src
	for {
		kernel.Transpose(dst[w.at[0]:], src[w.at[1]:], rows, cols)
		if !w.next(&outer) {
			return
		}
	}
}
