package kernel

import "unsafe"

// Operand is the right-hand side of a low-bit product whose codes are made at run
// time, such as the keys or values of an attention head: n outputs × k inputs, kept
// unpacked in the form that Tile reads.
type Operand struct {
	form form
	n, k int
	size int // bytes of one panel
	data []uint8
}

// OperandBytes is the memory that an Operand of these widths and this shape needs.
func OperandBytes(bits, abits, n, k int) int {
	return (n+PanelWidth-1)/PanelWidth*active.form(bits, abits).panelBytes(k) + cacheLine - 1
}

// NewOperand makes an operand of n outputs × k inputs in buf, which has at least
// OperandBytes bytes (nil allocates them). Its codes, once packed, lie in
// -2^(bits-1) .. 2^(bits-1)-1 with bits from 2 to 8; abits, 1 to 8, is the width of the
// unsigned codes of the left-hand side.
func NewOperand(buf []uint8, bits, abits, n, k int) *Operand {
	return newOperand(active, buf, bits, abits, n, k)
}

func newOperand(s *set, buf []uint8, bits, abits, n, k int) *Operand {
	f := s.form(bits, abits)
	o := &Operand{form: f, n: n, k: k, size: f.panelBytes(k)}
	size := o.Panels() * o.size
	if buf != nil {
		need("buf", len(buf), size+cacheLine-1)
	}
	o.data = alignedBytes(buf, size)
	return o
}

// Panels is the number of panels: ⌈n/PanelWidth⌉.
func (o *Operand) Panels() int { return (o.n + PanelWidth - 1) / PanelWidth }

// PackRows packs the outputs j0 .. j0+rows-1, such as keys by token: row i of codes
// (ld apart) holds the k codes of output j0+i. Each code is stored less offset, and
// must then fit the operand's width. Calls for different outputs may run at the same
// time; 16 outputs at a time are fastest. Outputs beyond n in the last panel are never
// written; their columns of a tile are undefined.
func PackRows[T uint8 | int8](o *Operand, j0, rows int, codes []T, ld, offset int) {
	if rows <= 0 || o.k == 0 {
		return
	}
	need("operand", o.n, j0+rows)
	need("codes", len(codes), extent(rows, o.k, ld))
	c := bytesOf(codes)
	for rows > 0 {
		at := j0 % PanelWidth
		m := min(rows, PanelWidth-at)
		o.form.putRows(o.data[j0/PanelWidth*o.size:][:o.size], o.k, at, m, c, ld, uint8(offset))
		if j0, rows = j0+m, rows-m; rows > 0 {
			c = c[m*ld:]
		}
	}
}

// keyForm is a form that packs a panel with its sums.
type keyForm interface {
	putKeys(panel []uint8, k, rows int, codes []uint8, ld int, offset uint8, sums []int32, zero int32) bool
}

// PackKeys is PackRows of all outputs, and writes zero times the sum of the codes, less
// offset, of each to sums, which has PanelWidth elements a panel: for a left-hand side with
// that zero point. Those of outputs beyond n are undefined.
func (w *Workspace) PackKeys(o *Operand, codes []uint8, ld, offset int, sums []int32, zero int32) {
	need("sums", len(sums), o.Panels()*PanelWidth)
	need("codes", len(codes), extent(o.n, o.k, ld))
	keys, _ := o.form.(keyForm)
	for j := range o.Panels() {
		rows, d := min(PanelWidth, o.n-j*PanelWidth), sums[j*PanelWidth:][:PanelWidth]
		c := codes[j*PanelWidth*ld:]
		if keys != nil && keys.putKeys(o.data[j*o.size:][:o.size], o.k, rows, c, ld, uint8(offset), d, zero) {
			continue
		}
		PackRows(o, j*PanelWidth, rows, c, ld, offset)
		w.Select(o, j)
		w.PanelSums(d)
		for i := range d {
			d[i] *= zero
		}
	}
}

// PackCols packs the inputs p0 .. p0+rows-1 of all outputs, such as values by token:
// row i of codes (ld apart) holds input p0+i of the n outputs. Each code is stored
// less offset, and must then fit the operand's width. p0 is a multiple of 4, and so
// is rows but in the call that reaches k. Calls for different blocks of
// 64 inputs may run at the same time. Outputs beyond n are undefined.
func PackCols[T uint8 | int8](o *Operand, p0, rows int, codes []T, ld, offset int) {
	if rows <= 0 || o.n == 0 {
		return
	}
	need("operand", o.k, p0+rows)
	need("codes", len(codes), extent(rows, o.n, ld))
	if p0%4 != 0 || rows%4 != 0 && p0+rows != o.k {
		panic("kernel: columns are packed four inputs at a time")
	}
	c := bytesOf(codes)
	for j := range o.Panels() {
		cols := min(PanelWidth, o.n-j*PanelWidth)
		o.form.putCols(o.data[j*o.size:][:o.size], o.k, p0, rows, cols, c[j*PanelWidth:], ld, uint8(offset))
	}
}

// bytesOf is the memory of 8-bit codes.
func bytesOf[T uint8 | int8](s []T) []uint8 {
	return unsafe.Slice((*uint8)(unsafe.Pointer(unsafe.SliceData(s))), len(s))
}

const cacheLine = 64

// alignedBytes returns n bytes of buf (allocated where nil) from a cache line on.
func alignedBytes(buf []uint8, n int) []uint8 {
	if buf == nil {
		buf = make([]uint8, n+cacheLine-1)
	}
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(buf)))) & (cacheLine - 1)
	return buf[skip:][:n]
}
