package ops

import (
	"math"

	"github.com/qvitc/qvitc/ir"
)

// Evaluation computes in one of three wide types: float64 for the floating
// types, int64 for the signed and uint64 for the unsigned integers and Bool.
// Integer arithmetic wraps, and storing keeps the low bits, which is the two's
// complement result for every width.
type wideNum interface{ float64 | int64 | uint64 }

func isUnsigned(e ir.Elem) bool { return e == ir.Bool || e.IsInt() && !e.IsSigned() }

// unpack reads a tensor as a slice of T.
func unpack[T wideNum](t *ir.Tensor) []T {
	out := make([]T, t.Len())
	if t.Elem.IsFloat() {
		for i := range out {
			out[i] = T(t.Float(i))
		}
		return out
	}
	if t.Elem == ir.Uint64 {
		for i, v := range ir.Data[uint64](t) {
			out[i] = T(v)
		}
		return out
	}
	for i := range out {
		out[i] = T(t.Int(i))
	}
	return out
}

// floatsOf reads any numeric tensor as float64, exact but for 64-bit integers.
func floatsOf(t *ir.Tensor) []float64 {
	if t.Elem == ir.Float32 {
		d := t.F32()
		out := make([]float64, len(d))
		for i, v := range d {
			out[i] = float64(v)
		}
		return out
	}
	return unpack[float64](t)
}

func intsOf(t *ir.Tensor) []int64 { return unpack[int64](t) }

// pack makes a tensor of element type e. Floats are rounded once, half to even;
// integers keep their low bits; Bool is v != 0.
func pack[T wideNum](e ir.Elem, shape []int, v []T) (*ir.Tensor, error) {
	t, err := ir.NewTensor(e, shape...)
	if err != nil {
		return nil, err
	}
	switch d := t.Raw().(type) {
	case []float32:
		for i, x := range v {
			d[i] = float32(x)
		}
	case []float64:
		for i, x := range v {
			d[i] = float64(x)
		}
	case []bool:
		for i, x := range v {
			d[i] = x != 0
		}
	case []int8:
		for i, x := range v {
			d[i] = int8(int64(x))
		}
	case []int16:
		for i, x := range v {
			d[i] = int16(int64(x))
		}
	case []int32:
		for i, x := range v {
			d[i] = int32(int64(x))
		}
	case []int64:
		for i, x := range v {
			d[i] = int64(x)
		}
	case []uint16:
		for i, x := range v {
			switch e {
			case ir.Float16:
				d[i] = ir.FloatToHalf(float32(roundTo(float64(x), 11, -24)))
			case ir.BFloat16:
				d[i] = bfloatBits(roundTo(float64(x), 8, -133))
			default:
				d[i] = uint16(int64(x))
			}
		}
	case []uint32:
		for i, x := range v {
			d[i] = uint32(int64(x))
		}
	case []uint64:
		for i, x := range v {
			d[i] = uint64(x)
		}
	case []uint8:
		b := e.Bits()
		if b == 8 {
			for i, x := range v {
				d[i] = uint8(int64(x))
			}
			break
		}
		per := 8 / b
		for i, x := range v {
			d[i/per] |= uint8(int64(x)) & (1<<b - 1) << (b * (i % per))
		}
	}
	return t, nil
}

func packInts(e ir.Elem, shape []int, v []int64) (*ir.Tensor, error) { return pack(e, shape, v) }

// roundTo rounds to a float of p significant bits whose least subnormal is
// 2^minExp, half to even; range overflow is left to the conversion.
func roundTo(v float64, p, minExp int) float64 {
	if v == 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return v
	}
	_, e := math.Frexp(v) // v = f * 2^e, 0.5 <= |f| < 1
	ulp := max(e-p, minExp)
	return math.Ldexp(math.RoundToEven(math.Ldexp(v, -ulp)), ulp)
}

func bfloatBits(v float64) uint16 {
	f := float32(v) // exact, or infinite on overflow
	if f != f {
		return uint16(math.Float32bits(f)>>16) | 0x40
	}
	return uint16(math.Float32bits(f) >> 16)
}

// roundElem rounds to the precision of a float type.
func roundElem(e ir.Elem, v float64) float64 {
	switch e {
	case ir.Float32:
		return float64(float32(v))
	case ir.Float16:
		return float64(ir.HalfToFloat(ir.FloatToHalf(float32(roundTo(v, 11, -24)))))
	case ir.BFloat16:
		return float64(float32(roundTo(v, 8, -133)))
	}
	return v
}

// intRange is the range of an integer type of at most 32 bits, or of Int64.
func intRange(e ir.Elem) (lo, hi int64) {
	b := e.Bits()
	if e.IsSigned() {
		return -1 << (b - 1), 1<<(b-1) - 1
	}
	return 0, 1<<b - 1
}

// put stores result k, already in a wide type, rounding once to its element
// type.
func put[T wideNum](c *call, k int, v []T) error {
	t, err := pack(c.out[k].elem, c.sizes(k), v)
	if err != nil {
		return c.Errorf("%v", err)
	}
	c.res[k] = t
	return nil
}

// move makes a tensor whose element o is element i of srcs[s], (s, i) = at(o).
// A negative s leaves the zero value. It works for every element type.
func move(srcs []*ir.Tensor, shape []int, at func(o int) (s, i int)) (*ir.Tensor, error) {
	e := srcs[0].Elem
	t, err := ir.NewTensor(e, shape...)
	if err != nil {
		return nil, err
	}
	switch d := t.Raw().(type) {
	case []float32:
		moveInto(d, srcs, at)
	case []float64:
		moveInto(d, srcs, at)
	case []bool:
		moveInto(d, srcs, at)
	case []int8:
		moveInto(d, srcs, at)
	case []int16:
		moveInto(d, srcs, at)
	case []int32:
		moveInto(d, srcs, at)
	case []int64:
		moveInto(d, srcs, at)
	case []uint16:
		moveInto(d, srcs, at)
	case []uint32:
		moveInto(d, srcs, at)
	case []uint64:
		moveInto(d, srcs, at)
	case []string:
		moveInto(d, srcs, at)
	case []uint8:
		if e.Bits() == 8 {
			moveInto(d, srcs, at)
			break
		}
		v := make([]int64, t.Len())
		for o := range v {
			if s, i := at(o); s >= 0 {
				v[o] = srcs[s].Int(i)
			}
		}
		return packInts(e, shape, v)
	}
	return t, nil
}

func moveInto[T ir.Number](dst []T, srcs []*ir.Tensor, at func(o int) (s, i int)) {
	data := make([][]T, len(srcs))
	for s, t := range srcs {
		data[s] = ir.Data[T](t)
	}
	for o := range dst {
		if s, i := at(o); s >= 0 {
			dst[o] = data[s][i]
		}
	}
}

// moveTo stores result k by move.
func (c *call) moveTo(k int, srcs []*ir.Tensor, at func(o int) (s, i int)) error {
	t, err := move(srcs, c.sizes(k), at)
	if err != nil {
		return c.Errorf("%v", err)
	}
	c.res[k] = t
	return nil
}

// take is moveTo from input i alone.
func (c *call) take(k, i int, at func(o int) int) error {
	return c.moveTo(k, []*ir.Tensor{c.t(i)}, func(o int) (int, int) { return 0, at(o) })
}

// strides are the row-major strides of a shape.
func strides(shape []int) []int {
	s := make([]int, len(shape))
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		s[i] = n
		n *= shape[i]
	}
	return s
}

// spread gives the strides with which an operand of shape src is read when it
// is broadcast to dst: 0 on repeated axes.
func spread(src, dst []int) []int {
	st := strides(src)
	out := make([]int, len(dst))
	off := len(dst) - len(src)
	for i := range src {
		if src[i] != 1 || dst[off+i] == 1 {
			out[off+i] = st[i]
		}
	}
	return out
}

// odometer walks an index space in row-major order and keeps the offset that
// each operand's strides give.
type odometer struct {
	shape []int
	index []int
	step  [][]int
	at    []int
}

func newOdometer(shape []int, steps ...[]int) *odometer {
	return &odometer{shape: shape, index: make([]int, len(shape)), step: steps, at: make([]int, len(steps))}
}

func (w *odometer) next() {
	for a := len(w.shape) - 1; a >= 0; a-- {
		w.index[a]++
		for k := range w.at {
			w.at[k] += w.step[k][a]
		}
		if w.index[a] < w.shape[a] {
			return
		}
		for k := range w.at {
			w.at[k] -= w.step[k][a] * w.shape[a]
		}
		w.index[a] = 0
	}
}

// product multiplies sizes that are known to fit.
func product(s []int) int {
	n := 1
	for _, d := range s {
		n *= d
	}
	return n
}
