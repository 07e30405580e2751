//go:build amd64 && !noasm

package kernel

import "unsafe"

// headArgs is what one call of an assembly head works on; the generator
// (asmgen/heads.go) knows the offsets of its fields. Strides are in bytes.
type headArgs struct {
	tile         *int32
	ldt, rows    int
	offset       *int32
	factor, bias *float32
	to           *int32
	dst          *uint8
	ldd          int
	gamma, beta  *float32
	stats        *float32
	eps, _       float32
	alpha, _     float32
	inv, _       float32
	lo, _, hi, _ float32
	zero         int
	mean, spread *float32
	fixed        fixedGrid

	call func(p *byte) // nil: by the other kernels
}

// noGamma stands in for a gamma that is left out, as noBias for a beta.
var noGamma = func() (g [PanelWidth]float32) {
	for i := range g {
		g[i] = 1
	}
	return g
}()

// headRows is the number of rows of one call.
const headRows = 64

// headEndAVX512 fills in what all calls share.
func headEndAVX512(e *HeadEnd) {
	t, g, p := &e.part, &e.grid, &e.fast
	p.call = nil
	if t.cols != 64 && (t.cols != 32 || g.Qn+g.Offset != 0 || (e.Mean == nil) != (e.Spread == nil)) || g.inv == 0 || g.Qn+g.Offset < 0 || g.Qp+g.Offset > 255 || len(e.Dst) == 0 {
		return
	}
	p.offset, p.factor, p.bias, p.dst, p.ldd = &noOffset[0], &t.factor[0], &noBias[0], &e.Dst[0], e.LD
	p.gamma, p.beta, p.eps, p.alpha, p.inv, p.zero = &noGamma[0], &noBias[0], e.Eps, g.Alpha, g.inv, int(g.Zp+g.Offset)
	p.lo, p.hi = g.bounds()
	p.mean, p.spread = unsafe.SliceData(e.Mean), unsafe.SliceData(e.Spread)
	if t.offset != nil {
		p.offset = &t.offset[0]
	}
	if t.bias != nil {
		p.bias = &t.bias[0]
	}
	if e.Gamma != nil {
		p.gamma = &e.Gamma[0]
	}
	if e.Beta != nil {
		p.beta = &e.Beta[0]
	}
	var near bool
	p.fixed, near = g.fixed()
	switch {
	case t.cols == 64 && near && e.Norm:
		p.call = nearHeadNorm64AVX512
	case t.cols == 64 && near:
		p.call = nearHead64AVX512
	case t.cols == 64 && e.Norm:
		p.call = headNormCodes64AVX512
	case t.cols == 64:
		p.call = headCodes64AVX512
	case !e.Norm:
		p.call = headCodes32AVX512
	default:
		p.call = headNormCodes32AVX512
		if e.Gamma == nil && e.Beta == nil {
			p.gamma = nil
		}
	}
}

func headTileAVX512(w *Workspace, e *HeadEnd, to []int32, tile []int32, ldt, m int) {
	p := &e.fast
	if p.call == nil {
		headTile(w, e, to, tile, ldt, m)
		return
	}
	if e.Norm {
		w.heads = grow(w.heads, 2*headRows+16*headRows)
		p.stats = &w.heads[0]
	}
	p.ldt = 4 * ldt
	for i := 0; i < m; i += headRows {
		n := min(m-i, headRows)
		p.tile, p.rows, p.to = &tile[i*ldt], n, &to[i]
		p.call((*byte)(unsafe.Pointer(p)))
		if e.Norm && e.part.cols == 64 && (e.Mean != nil || e.Spread != nil) {
			e.scatter(to[i:i+n], w.heads, w.heads[2*headRows:])
		}
	}
}

// scatter writes the moments of the rows to, neighbours together.
func (h *Head) scatter(to []int32, mean, spread []float32) {
	for i := 0; i < len(to); {
		t, run := int(to[i]), 1
		for i+run < len(to) && int(to[i+run]) == t+run {
			run++
		}
		if h.Mean != nil {
			copy(h.Mean[t:t+run], mean[i:])
		}
		if h.Spread != nil {
			copy(h.Spread[t:t+run], spread[i:])
		}
		i += run
	}
}
