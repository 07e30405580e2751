//go:build amd64 && !noasm

package kernel

import (
	"math"
	"unsafe"
)

// epilogueArgs is what one call of an assembly epilogue works on; the generator
// (asmgen/epilogue.go) knows the offsets of its fields. Strides are in bytes.
type epilogueArgs struct {
	tile          *int32
	ldt           int
	rows, cols    int
	offset        *int32
	factor, bias  *float32
	row           *int32
	dst           unsafe.Pointer
	ldd           int
	res           *float32
	ldr           int
	alpha, _      float32
	alphas        *float32
	zp, _, qn, _  float32
	qp, _, add, _ float32
	bins          *geluBins
	near          int // set by the assembly: a value lay inside a step of the table
}

// What stands in for the slices that an Affine leaves out. Adding -0 changes no
// value.
var (
	noOffset [PanelWidth]int32
	noBias   = func() (b [PanelWidth]float32) {
		for i := range b {
			b[i] = float32(math.Copysign(0, -1))
		}
		return b
	}()
)

// noRowBlock is the number of rows of a tile that noRow serves at a time.
const noRowBlock = 64

var noRow [noRowBlock]int32

// epilogue fills the arguments for rows i .. i+noRowBlock-1 at most.
func (t *tileArgs) epilogue(p *epilogueArgs, i int) {
	p.tile, p.ldt = &t.tile[i*t.ldt], 4*t.ldt
	p.rows, p.cols = min(noRowBlock, t.m-i), t.cols
	p.offset, p.factor, p.bias, p.row = &noOffset[0], &t.factor[0], &noBias[0], &noRow[0]
	if t.offset != nil {
		p.offset = &t.offset[0]
	}
	if t.bias != nil {
		p.bias = &t.bias[0]
	}
	if t.row != nil {
		p.row = &t.row[i]
	}
}

// split cuts off the columns beyond whole vectors of 8.
func (t *tileArgs) split() (rest tileArgs, from int) {
	rest, from = *t, t.cols&^7
	t.cols = from
	rest.cols -= from
	if rest.cols > 0 {
		rest.tile, rest.factor = rest.tile[from:], rest.factor[from:]
		if rest.offset != nil {
			rest.offset = rest.offset[from:]
		}
		if rest.bias != nil {
			rest.bias = rest.bias[from:]
		}
	}
	return rest, from
}

func dequantAVX512(t tileArgs, dst []float32, ldd int) {
	var p epilogueArgs
	for i := 0; i < t.m; i += noRowBlock {
		t.epilogue(&p, i)
		p.dst, p.ldd = unsafe.Pointer(&dst[i*ldd]), 4*ldd
		dequantTileAVX512((*byte)(unsafe.Pointer(&p)))
	}
}

func dequantAVX2(t tileArgs, dst []float32, ldd int) {
	rest, from := t.split()
	var p epilogueArgs
	for i := 0; i < t.m && from > 0; i += noRowBlock {
		t.epilogue(&p, i)
		p.dst, p.ldd = unsafe.Pointer(&dst[i*ldd]), 4*ldd
		dequantTileAVX2((*byte)(unsafe.Pointer(&p)))
	}
	if rest.cols > 0 {
		dequantGo(rest, dst[from:], ldd)
	}
}

func dequantAddAVX512(t tileArgs, dst []float32, ldd int, res []float32, ldr int) {
	var p epilogueArgs
	for i := 0; i < t.m; i += noRowBlock {
		t.epilogue(&p, i)
		p.dst, p.ldd = unsafe.Pointer(&dst[i*ldd]), 4*ldd
		p.res, p.ldr = &res[i*ldr], 4*ldr
		if t.whole() {
			dequantAddTile64AVX512((*byte)(unsafe.Pointer(&p)))
		} else {
			dequantAddTileAVX512((*byte)(unsafe.Pointer(&p)))
		}
	}
}

// whole reports whether the tile is one for the epilogues of whole panels.
func (t *tileArgs) whole() bool { return t.cols == PanelWidth && t.row == nil }

func dequantAddToAVX512(s *set, t tileArgs, to []int32, dst []float32, ldd int, res []float32, ldr int) {
	if t.cols != 64 && t.cols != 32 || t.row != nil {
		dequantAddTo(s, t, to, dst, ldd, res, ldr)
		return
	}
	var p epilogueArgs
	t.epilogue(&p, 0)
	p.rows, p.row = t.m, &to[0]
	p.dst, p.ldd, p.res, p.ldr = unsafe.Pointer(&dst[0]), 4*ldd, &res[0], 4*ldr
	if t.cols == 64 {
		dequantAddTo64AVX512((*byte)(unsafe.Pointer(&p)))
	} else {
		dequantAddTo32AVX512((*byte)(unsafe.Pointer(&p)))
	}
}

func dequantAddAVX2(t tileArgs, dst []float32, ldd int, res []float32, ldr int) {
	rest, from := t.split()
	var p epilogueArgs
	for i := 0; i < t.m && from > 0; i += noRowBlock {
		t.epilogue(&p, i)
		p.dst, p.ldd = unsafe.Pointer(&dst[i*ldd]), 4*ldd
		p.res, p.ldr = &res[i*ldr], 4*ldr
		dequantAddTileAVX2((*byte)(unsafe.Pointer(&p)))
	}
	if rest.cols > 0 {
		dequantAddGo(rest, dst[from:], ldd, res[from:], ldr)
	}
}

// grid fills the quantiser; its Alphas begin at col.
func (p *epilogueArgs) grid(g *Grid, col int) {
	p.alpha, p.zp, p.qn, p.qp, p.add = g.Alpha, g.Zp, g.Qn, g.Qp, g.Offset
	if g.Alphas != nil {
		p.alphas = &g.Alphas[col]
	}
}

func dequantQuantizeAVX512(t tileArgs, dst []uint8, ldd int, g Grid, col int) {
	var p epilogueArgs
	p.grid(&g, col)
	for i := 0; i < t.m; i += noRowBlock {
		t.epilogue(&p, i)
		p.dst, p.ldd = unsafe.Pointer(&dst[i*ldd]), ldd
		dequantQuantizeTileAVX512((*byte)(unsafe.Pointer(&p)))
	}
}

func dequantQuantizeAVX2(t tileArgs, dst []uint8, ldd int, g Grid, col int) {
	rest, from := t.split()
	var p epilogueArgs
	if from > 0 {
		p.grid(&g, col)
	}
	for i := 0; i < t.m && from > 0; i += noRowBlock {
		t.epilogue(&p, i)
		p.dst, p.ldd = unsafe.Pointer(&dst[i*ldd]), ldd
		dequantQuantizeTileAVX2((*byte)(unsafe.Pointer(&p)))
	}
	if rest.cols > 0 {
		dequantQuantizeGo(rest, dst[from:], ldd, g, col+from)
	}
}

func dequantGeluAVX512(w *Workspace, t tileArgs, dst []uint8, ldd int, table *GeluTable) {
	dequantGeluBy(w, t, dst, ldd, table, true)
}

func dequantGeluAVX2(w *Workspace, t tileArgs, dst []uint8, ldd int, table *GeluTable) {
	rest, from := t.split()
	if from > 0 {
		dequantGeluBy(w, t, dst, ldd, table, false)
	}
	if rest.cols > 0 {
		dequantGelu(w, rest, dst[from:], ldd, table)
	}
}

func dequantGeluBy(w *Workspace, t tileArgs, dst []uint8, ldd int, table *GeluTable, wide bool) {
	if !table.fits {
		dequantGeluArithmetic(w, t, dst, ldd, table)
		return
	}
	var p epilogueArgs
	p.bins = &table.bins
	const block = 24 // rows that are computed where one value lies inside a step
	for i := 0; i < t.m; i += block {
		t.epilogue(&p, i)
		p.rows = min(block, t.m-i)
		p.dst, p.ldd = unsafe.Pointer(&dst[i*ldd]), ldd
		switch {
		case wide && t.whole() && hasNear:
			nearGelu64AVX512((*byte)(unsafe.Pointer(&p)))
		case wide && t.whole():
			dequantGeluTile64AVX512((*byte)(unsafe.Pointer(&p)))
		case wide:
			dequantGeluTileAVX512((*byte)(unsafe.Pointer(&p)))
		default:
			dequantGeluTileAVX2((*byte)(unsafe.Pointer(&p)))
		}
		if p.near == 0 {
			continue
		}
		part := t
		part.m, part.tile = p.rows, t.tile[i*t.ldt:]
		if t.row != nil {
			part.row = t.row[i:]
		}
		dequantGeluArithmetic(w, part, dst[i*ldd:], ldd, table)
	}
}
