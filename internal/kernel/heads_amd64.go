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

func headTileAVX512(s *set, w *Workspace, h *Head, t tileArgs, g Grid) {
	if t.cols != 64 && (t.cols != 32 || g.Qn+g.Offset != 0) || g.inv == 0 || t.row != nil || g.Qn+g.Offset < 0 || g.Qp+g.Offset > 255 {
		headTile(s, w, h, t, g)
		return
	}
	w.heads = grow(w.heads, 2*headRows+16*headRows)
	p := headArgs{
		ldt: 4 * t.ldt, offset: &noOffset[0], factor: &t.factor[0], bias: &noBias[0], dst: &h.Dst[0], ldd: h.LD, gamma: &noGamma[0], beta: &noBias[0],
		stats: &w.heads[0], eps: h.Eps, alpha: g.Alpha, inv: g.inv, zero: int(g.Zp + g.Offset),
	}
	p.lo, p.hi = g.bounds()
	if t.offset != nil {
		p.offset = &t.offset[0]
	}
	if t.bias != nil {
		p.bias = &t.bias[0]
	}
	if h.Gamma != nil {
		p.gamma = &h.Gamma[0]
	}
	if h.Beta != nil {
		p.beta = &h.Beta[0]
	}
	if t.cols == 32 {
		// These write the moments themselves, and have a form without gamma and beta.
		if h.Gamma == nil && h.Beta == nil {
			p.gamma = nil
		}
		if h.Norm && (h.Mean != nil || h.Spread != nil) {
			p.mean, p.spread = w.moment(h.Mean, h.Rows), w.moment(h.Spread, h.Rows)
		}
	}
	for i := 0; i < t.m; {
		n := min(t.m-i, headRows)
		p.tile, p.rows, p.to = &t.tile[i*t.ldt], n, &h.To[i]
		q := (*byte)(unsafe.Pointer(&p))
		switch {
		case h.Norm && t.cols == 32:
			headNormCodes32AVX512(q)
		case h.Norm:
			headNormCodes64AVX512(q)
		case t.cols == 32:
			headCodes32AVX512(q)
		default:
			headCodes64AVX512(q)
		}
		if t.cols == 64 && h.Norm && (h.Mean != nil || h.Spread != nil) {
			h.scatter(h.To[i:i+n], w.heads, w.heads[2*headRows:])
		}
		i += n
	}
}

// moment is where moments go: to scratch if nobody wants them.
func (w *Workspace) moment(wanted []float32, rows int) *float32 {
	if wanted == nil {
		wanted = w.row(rows)
	}
	return &wanted[0]
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
