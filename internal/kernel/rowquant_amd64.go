//go:build amd64 && !noasm

package kernel

import (
	"encoding/binary"
	"math/bits"
	"unsafe"
)

// rowArgs is what one call of an assembly row kernel works on; the generator
// (asmgen/rowquant.go) knows the offsets of its fields. Strides are in bytes.
type rowArgs struct {
	x                 unsafe.Pointer
	ldx               int
	rows, n           int
	dst               *uint8
	ldd               int
	scratch           *float32
	gamma, beta       *float32
	offset, row       *int32
	bias              *float32
	ldBias            int
	mask              *float32
	ldMask            int
	eps, _            float32
	factor, _         float32
	scale, _          float32
	alpha, _, zp, _   float32
	qn, _, qp, _      float32
	add, _            float32
	times, plus       *float32 // by row
	colTimes, colPlus *float32
	mean, rstd        *float32
	inv, _, lo, _     float32
	hi, _             float32
	zero              int // Zp + Offset, where inv is not 0
	fixed             fixedGrid
}

func (p *rowArgs) grid(g *Grid) {
	p.alpha, p.zp, p.qn, p.qp, p.add = g.Alpha, g.Zp, g.Qn, g.Qp, g.Offset
	if p.inv = g.inv; p.inv != 0 {
		p.lo, p.hi = g.bounds()
		p.zero = int(g.Zp + g.Offset)
	}
}

func layerNormArgs(dst []uint8, ldd int, mean, rstd, x []float32, ldx int, gamma, beta []float32, rows, n int, eps float32, g *Grid) (p rowArgs) {
	p = rowArgs{x: unsafe.Pointer(&x[0]), ldx: 4 * ldx, rows: rows, n: n, dst: &dst[0], ldd: ldd, eps: eps}
	p.gamma, p.beta = unsafe.SliceData(gamma), unsafe.SliceData(beta)
	p.mean, p.rstd = unsafe.SliceData(mean), unsafe.SliceData(rstd)
	p.grid(g)
	return p
}

func layerNormQuantizeAVX512(s *set, w *Workspace, dst []uint8, ldd int, mean, rstd, x []float32, ldx int, gamma, beta []float32, rows, n int, eps float32, g Grid) {
	if g.Alphas != nil {
		layerNormQuantize(s, w, dst, ldd, mean, rstd, x, ldx, gamma, beta, rows, n, eps, g)
		return
	}
	p := layerNormArgs(dst, ldd, mean, rstd, x, ldx, gamma, beta, rows, n, eps, &g)
	if n%16 != 0 || g.inv == 0 || gamma == nil || beta == nil || mean != nil {
		layerNormCodesAVX512((*byte)(unsafe.Pointer(&p)))
		return
	}
	var near bool
	p.fixed, near = g.fixed()
	p.scratch = w.lines(4 * (18*16 + 2*n))
	for i := 0; i < rows; i += 16 {
		p.rows, p.x, p.dst = min(16, rows-i), unsafe.Pointer(&x[i*ldx]), &dst[i*ldd]
		if q := (*byte)(unsafe.Pointer(&p)); near {
			nearNorm16AVX512(q)
		} else {
			layerNormCodes16AVX512(q)
		}
	}
}

func layerNormQuantizeAVX2(s *set, w *Workspace, dst []uint8, ldd int, mean, rstd, x []float32, ldx int, gamma, beta []float32, rows, n int, eps float32, g Grid) {
	if g.Alphas != nil {
		layerNormQuantize(s, w, dst, ldd, mean, rstd, x, ldx, gamma, beta, rows, n, eps, g)
		return
	}
	p := layerNormArgs(dst, ldd, mean, rstd, x, ldx, gamma, beta, rows, n, eps, &g)
	layerNormCodesAVX2((*byte)(unsafe.Pointer(&p)))
}

// softmaxArgs fills the arguments for rows i .. i+noRowBlock-1 at most.
func softmaxArgs(w *Workspace, dst []uint8, ldd int, x []int32, ldx, rows, n, i int, l *Logits, g *Grid) (p rowArgs) {
	p = rowArgs{x: unsafe.Pointer(&x[i*ldx]), ldx: 4 * ldx, rows: min(noRowBlock, rows-i), n: n, dst: &dst[i*ldd], ldd: ldd, scratch: &w.row(n)[0]}
	p.offset, p.row, p.factor, p.scale = unsafe.SliceData(l.Offset), &noRow[0], l.Factor, 1
	if l.Scale != 0 {
		p.scale = l.Scale
	}
	if l.Row != nil {
		p.row = &l.Row[i]
	}
	// What rows of the block are multiplied by must be there to be read.
	p.times, p.plus = &noBias[0], &noBias[0]
	if r := &l.Rescale; r.Col != nil {
		p.times, p.plus, p.colTimes, p.colPlus = &r.Row[i], &r.AddRow[i], &r.Col[0], &r.AddCol[0]
	}
	if l.Bias != nil {
		p.bias, p.ldBias = &l.Bias[i*l.LDBias], 4*l.LDBias
	}
	if l.Mask != nil {
		p.mask, p.ldMask = &l.Mask[i*l.LDMask], 4*l.LDMask
	}
	p.grid(g)
	return p
}

func softmaxQuantizeAVX512(_ *set, w *Workspace, dst []uint8, ldd int, x []int32, ldx, rows, n int, l Logits, g Grid) {
	if !nearLogits(n, &l, &g) {
		softmaxExactAVX512(w, dst, ldd, x, ldx, 0, rows, n, &l, &g)
		return
	}
	var flags [nearSoftmaxRows]uint8
	for i := 0; i < rows; i += nearSoftmaxRows {
		m := min(nearSoftmaxRows, rows-i)
		nearSoftmax(w, dst, ldd, x, ldx, i, m, n, &l, &g, &flags)
		for k := range (m + 7) / 8 {
			for f := binary.LittleEndian.Uint64(flags[8*k:]); f != 0; f &= f - 1 {
				r := i + 8*k + bits.TrailingZeros64(f)/8
				softmaxExactAVX512(w, dst, ldd, x, ldx, r, r+1, n, &l, &g)
			}
		}
		flags = [nearSoftmaxRows]uint8{}
	}
}

// softmaxExactAVX512 does the rows from i to rows.
func softmaxExactAVX512(w *Workspace, dst []uint8, ldd int, x []int32, ldx, i, rows, n int, l *Logits, g *Grid) {
	for ; i < rows; i += noRowBlock {
		p := softmaxArgs(w, dst, ldd, x, ldx, rows, n, i, l, g)
		if whole := g.inv != 0 && p.zero == 0 && g.Qn == 0; n == 49 && whole && l.Row == nil && l.Offset != nil {
			p.scratch = &w.row(5888 / 4)[0]
			softmaxCodes49AVX512((*byte)(unsafe.Pointer(&p)))
		} else if n > 48 && n <= 64 && whole {
			p.scratch = &w.row(10496 / 4)[0]
			softmaxCodes64AVX512((*byte)(unsafe.Pointer(&p)))
		} else {
			// softmaxBlock rows of whole vectors behind two vectors
			p.scratch = &w.row(32 + 8*(n+16))[0]
			softmaxCodesAVX512((*byte)(unsafe.Pointer(&p)))
		}
	}
}

func softmaxQuantizeAVX2(_ *set, w *Workspace, dst []uint8, ldd int, x []int32, ldx, rows, n int, l Logits, g Grid) {
	for i := 0; i < rows; i += noRowBlock {
		p := softmaxArgs(w, dst, ldd, x, ldx, rows, n, i, &l, &g)
		softmaxCodesAVX2((*byte)(unsafe.Pointer(&p)))
	}
}
