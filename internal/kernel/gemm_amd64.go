//go:build amd64 && !noasm

package kernel

import (
	"runtime"
	"unsafe"
)

// panelArgs is what one call of an assembly panel kernel works on; the generator
// (asmgen/gemm.go) knows the offsets of its fields. Strides are in bytes.
type panelArgs struct {
	a      uintptr // moved on by the assembly, at last past the end of op(A): no Go pointer
	rs, cs int     // from one row, one column of op(A) to the next
	b      *float32
	bs     int // from one k of the panel to the next
	c      *float32
	ldc    int
	m, k   int
	mr     int // rows of one block
	block  int // from one block of rows of op(A) to the next
	cols   int // columns of the panel
	alpha  float32
	_      uint32
	acc    int // not 0: add to C
}

// Block sizes of the product: k per panel, rows of A between two sweeps of the
// panels, and the number of rows up to which op(B) is read in place.
const (
	sgemmKB     = 384
	sgemmMB     = 448
	sgemmDirect = 28
)

func gemmAVX512(w *Workspace, g *gemmArgs) { gemmPanels(w, g, true) }
func gemmAVX2(w *Workspace, g *gemmArgs)   { gemmPanels(w, g, false) }

// gemmPanels splits op(B) into panels of two vectors, packs them where that
// pays or is needed, and lets the assembly run down the rows of A, panel by
// panel. k goes in blocks whose panels stay near the core, rows in blocks whose
// part of A stays in the second-level cache. A is read in place, but for row
// strides that map all rows of a block to the same few lines of the cache.
func gemmPanels(w *Workspace, g *gemmArgs, wide bool) {
	defer runtime.KeepAlive(g)
	v, mr := 8, 6
	if wide {
		v, mr = 16, 14
	}
	nr := 2 * v
	kb := min(g.k, sgemmKB)
	p := panelArgs{ldc: 4 * g.ldc, alpha: g.alpha}
	rsA, csA := g.lda, 1
	if g.ta {
		rsA, csA = 1, g.lda
	}
	p.rs, p.cs = 4*rsA, 4*csA
	clash := wide && g.lda%1024 == 0 && g.n > 2*nr
	if clash {
		p.rs, p.cs = 4, 4*v
	}
	var packed []float32
	direct := wide && !g.tb && g.m <= sgemmDirect
	if !direct {
		packed = aligned(&w.b, (g.n+v-1)/v*v*kb)
	}
	for k0 := 0; k0 < g.k; k0 += kb {
		k := min(kb, g.k-k0)
		if !direct {
			packB(packed, g, k0, k, v, wide)
		}
		p.k = k
		if k0 > 0 || g.beta != 0 {
			p.acc = 1
		}
		for i0 := 0; i0 < g.m; i0 += sgemmMB {
			m := min(sgemmMB, g.m-i0)
			blocks := (m + mr - 1) / mr
			p.mr = (m + blocks - 1) / blocks
			a := g.a[i0*rsA+k0*csA:]
			p.block = p.mr * p.rs
			if clash {
				a = w.packA(a, g, m, k, p.mr, v)
				p.block = 4 * v * k
			}
			for j := 0; j < g.n; j += nr {
				p.cols = min(nr, g.n-j)
				p.m = m
				p.a = uintptr(unsafe.Pointer(&a[0]))
				p.c = &g.c[i0*g.ldc+j]
				switch {
				case direct:
					p.b, p.bs = &g.b[k0*g.ldb+j], 4*g.ldb
				case p.cols <= v:
					p.b, p.bs = &packed[j*k], 4*v
				default:
					p.b, p.bs = &packed[j*k], 4*nr
				}
				q := (*byte)(unsafe.Pointer(&p))
				switch {
				case wide && p.cols <= v:
					sgemmPanel1AVX512(q)
				case wide:
					sgemmPanel2AVX512(q)
				case p.cols <= v:
					sgemmPanel1AVX2(q)
				default:
					sgemmPanel2AVX2(q)
				}
			}
		}
	}
}

// packA packs m rows of op(A) in blocks of mr rows, each with k running slowest in
// steps of v elements.
func (w *Workspace) packA(a []float32, g *gemmArgs, m, k, mr, v int) []float32 {
	dst := aligned(&w.a, (m+mr-1)/mr*v*k)
	for i, d := 0, dst; i < m; i, d = i+mr, d[v*k:] {
		if g.ta {
			packPanelAVX512(&d[0], &a[i], 4*g.lda, k, min(mr, m-i))
		} else {
			packColumns(&d[0], 4*v, &a[i*g.lda], 4*g.lda, min(mr, m-i), k, true)
		}
	}
	return dst
}

// packB packs rows k0..k0+k of op(B) into panels of two vectors of v elements (the
// last one may have one vector), each with k running slowest.
func packB(dst []float32, g *gemmArgs, k0, k, v int, wide bool) {
	if !g.tb {
		for j := 0; j < g.n; j += 2 * v {
			d, s, cols := &dst[j*k], &g.b[k0*g.ldb+j], min(2*v, g.n-j)
			if wide {
				packPanelAVX512(d, s, 4*g.ldb, k, cols)
			} else {
				packPanelAVX2(d, s, 4*g.ldb, k, cols)
			}
		}
		return
	}
	for j := 0; j < g.n; j += v {
		panel := j / (2 * v) * (2 * v)
		stride := 2 * v
		if g.n-panel <= v {
			stride = v
		}
		packColumns(&dst[panel*k+j-panel], 4*stride, &g.b[j*g.ldb+k0], 4*g.ldb, min(v, g.n-j), k, wide)
	}
}

// packColumns transposes at most one vector of rows, ld bytes apart, to k rows
// that lie stride bytes apart. Columns up to the next power of two may be
// written too, with copies of the last row.
func packColumns(dst *float32, stride int, src *float32, ld, rows, k int, wide bool) {
	var offs [16]int
	for i := range offs {
		offs[i] = ld * min(i, rows-1)
	}
	switch {
	case wide && rows > 8:
		packPanelT16AVX512(dst, stride, src, &offs[0], k)
	case wide && rows > 4:
		packPanelT8AVX512(dst, stride, src, &offs[0], k)
	case wide:
		packPanelT4AVX512(dst, stride, src, &offs[0], k)
	case rows > 4:
		packPanelT8AVX2(dst, stride, src, &offs[0], k)
	default:
		packPanelT4AVX2(dst, stride, src, &offs[0], k)
	}
}

// aligned returns n elements of buf, grown where needed, that begin at a cache line.
func aligned[T float32 | int32](buf *[]T, n int) []T {
	const line = 16
	*buf = grow(*buf, n+line-1)
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(*buf)))/4) & (line - 1)
	return (*buf)[skip:][:n]
}
