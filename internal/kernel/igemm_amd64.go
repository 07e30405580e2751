//go:build amd64 && !noasm

package kernel

import (
	"runtime"
	"unsafe"
)

func igemmAVX2(w *Workspace, g *igemmArgs) {
	// Both operands become rows of 16-bit pairs, padded with a zero.
	ld := (g.k + 1) &^ 1
	w.i16 = grow(w.i16, (g.m+g.n)*ld)
	a, b := w.i16[:g.m*ld], w.i16[g.m*ld:]
	for i := range g.m {
		widenRow(a[i*ld:][:ld], g.a[i*g.lda:][:g.k], func(d *int16, s *uint8, n int) { widenU8AVX2(d, s, n) })
	}
	for j := range g.n {
		widenRow(b[j*ld:][:ld], g.b[j*g.ldb:][:g.k], func(d *int16, s *int8, n int) { widenS8AVX2(d, s, n) })
	}
	words := ld / 2
	const v = 8
	packed := aligned(&w.i32, (g.n+v-1)/v*v*words)
	packWords(packed, unsafe.Pointer(&b[0]), 2*ld, g.n, words, v)
	igemmPanels(packed, g, unsafe.Pointer(&a[0]), 2*ld, words, false)
}

// widenRow converts a row; its last elements, and the padding, one by one.
func widenRow[T uint8 | int8](dst []int16, src []T, blocks func(*int16, *T, int)) {
	n := len(src) / 16
	if n > 0 {
		blocks(&dst[0], &src[0], n)
	}
	for i := 16 * n; i < len(src); i++ {
		dst[i] = int16(src[i])
	}
	clear(dst[len(src):])
}

func igemmVNNI(w *Workspace, g *igemmArgs) {
	words := (g.k + 3) / 4
	const v = 16
	packed := aligned(&w.i32, (g.n+v-1)/v*v*words)
	a, lda := unsafe.Pointer(&g.a[0]), g.lda
	b, ldb := unsafe.Pointer(&g.b[0]), g.ldb
	if g.k%4 != 0 {
		// Rows become whole words, padded with zeros.
		lda = 4 * words
		w.i8 = grow(w.i8, (g.m+g.n)*lda)
		for i := range g.m {
			r := w.i8[i*lda:][:lda]
			clear(r[copy(r, g.a[i*g.lda:][:g.k]):])
		}
		for j := range g.n {
			r := w.i8[(g.m+j)*lda:][:lda]
			s := unsafe.Slice((*uint8)(unsafe.Pointer(&g.b[j*g.ldb])), g.k)
			clear(r[copy(r, s):])
		}
		a, b, ldb = unsafe.Pointer(&w.i8[0]), unsafe.Pointer(&w.i8[g.m*lda]), lda
	}
	packWords(packed, b, ldb, g.n, words, v)
	igemmPanels(packed, g, a, lda, words, true)
}

// packWords packs the n rows of B, each of 32-bit words and ldb bytes apart, into
// panels of two vectors of v words (the last one may have one vector).
func packWords(dst []int32, b unsafe.Pointer, ldb, n, words, v int) {
	for j := 0; j < n; j += v {
		panel := j / (2 * v) * (2 * v)
		stride := 2 * v
		if n-panel <= v {
			stride = v
		}
		d := (*float32)(unsafe.Pointer(&dst[panel*words+j-panel]))
		packColumns(d, 4*stride, (*float32)(unsafe.Add(b, j*ldb)), ldb, min(v, n-j), words, v == 16)
	}
}

// igemmPanels multiplies the rows of A, lda bytes apart, by the packed panels.
func igemmPanels(packed []int32, g *igemmArgs, a unsafe.Pointer, lda, words int, wide bool) {
	defer runtime.KeepAlive(a)
	v, mr := 8, 6
	if wide {
		v, mr = 16, 14
	}
	p := panelArgs{rs: lda, cs: 4, ldc: 4 * g.ldc, k: words}
	for i0 := 0; i0 < g.m; i0 += sgemmMB {
		m := min(sgemmMB, g.m-i0)
		blocks := (m + mr - 1) / mr
		p.mr = (m + blocks - 1) / blocks
		p.block = p.mr * lda
		for j := 0; j < g.n; j += 2 * v {
			p.cols = min(2*v, g.n-j)
			p.bs = 8 * v
			if p.cols <= v {
				p.bs = 4 * v
			}
			p.m = m
			p.a = uintptr(a) + uintptr(i0*lda)
			p.b = (*float32)(unsafe.Pointer(&packed[j*words]))
			p.c = (*float32)(unsafe.Pointer(&g.c[i0*g.ldc+j]))
			q := (*byte)(unsafe.Pointer(&p))
			switch {
			case wide && p.cols <= v:
				igemmPanel1AVX512(q)
			case wide:
				igemmPanel2AVX512(q)
			case p.cols <= v:
				igemmPanel1AVX2(q)
			default:
				igemmPanel2AVX2(q)
			}
		}
	}
}
