//go:build amd64 && !noasm

package kernel

import (
	"math"
	"math/bits"
	"unsafe"

	"golang.org/x/sys/cpu"
)

// A code is a step function: far from its steps an approximation gives the same one as the
// exact arithmetic. Kernels that are called near compute values with few operations and a
// bound of the relative or absolute distance between them and those of the exact form, and
// report what lies within the bound of a step, so that the exact form does it again. The
// bytes that result are the same in all cases.

// hasNear says whether the machine has what these kernels need.
var hasNear = cpu.X86.HasAVX512VBMI && cpu.X86.HasAVX512VBMI2

// nearSoftmaxArgs is what one call of nearSoftmax works on; the generator (asmgen/near.go)
// knows the offsets of its fields. Strides are in bytes.
type nearSoftmaxArgs struct {
	x                           *int32
	ldx, rows, n                int
	dst                         *uint8
	ldd                         int
	scratch                     *float32
	offset                      *int32
	times, plus                 *float32
	colTimes, colPlus           *float32
	factor, _, scale, _         float32
	alpha, _, long, _, fixed, _ float32
	slope, _, top, _            float32
	flags                       *uint8
}

// nearColumns is the most columns that have something to stand in for a Rescale left out.
const nearColumns = 1024

var nearOnes, nearZeros = func() (a, b [nearColumns]float32) {
	for i := range a {
		a[i] = 1
	}
	return a, b
}()

// nearSoftmaxRows is the number of rows of one call.
const nearSoftmaxRows = 64

// nearLogits reports whether nearSoftmax does rows of n of these logits.
func nearLogits(n int, l *Logits, g *Grid) bool {
	return hasNear && n >= 65 && n <= nearColumns && l.Offset != nil && l.Row == nil && l.Bias == nil && l.Mask == nil &&
		g.Zp == 0 && g.Qn == 0 && g.Offset == 0 && g.Qp >= 1 && g.Qp <= 255 && g.Alpha >= 1e-6 && g.Alpha < 1e3
}

// nearSoftmax writes the codes of the softmax of rows from i on, at most nearSoftmaxRows, and
// sets the flags of those that are to be done again, clears those of the others.
//
// The bound, with u = 2^-24 and logits x in powers of 2, whose parts are the product A and
// the summand T: the exact form rounds A four times, T once, x twice and the difference to
// the greatest logit once; nearSoftmax rounds A four times, T three times and x once. Of
// the elements with another code than 0 and, weighted, of all others, x lies between log s
// and log s - long, where s is the sum of the powers; so |x| <= X = max(log s, long - log
// s) + 1/2 and A <= X + T. Errors of an element and of the sum add up to ln 2·u·(22·X +
// 24·T + 2·long); then there are 12u of the two exponentials of each, u·(n/16 + n/64 + 10)
// of both sums and 7u of other operations.
func nearSoftmax(w *Workspace, dst []uint8, ldd int, x []int32, ldx, i, rows, n int, l *Logits, g *Grid, flags *[nearSoftmaxRows]uint8) {
	const u = 1.0 / (1 << 24)
	scale := float64(1)
	if l.Scale != 0 {
		scale = float64(l.Scale)
	}
	p := nearSoftmaxArgs{
		x: &x[i*ldx], ldx: 4 * ldx, rows: rows, n: n, dst: &dst[i*ldd], ldd: ldd, offset: &l.Offset[0],
		times: &nearOnes[0], plus: &nearZeros[0], colTimes: &nearOnes[0], colPlus: &nearZeros[0],
		factor: float32(float64(l.Factor) * scale * math.Log2E), scale: float32(scale * math.Log2E), alpha: g.Alpha,
		slope: 17 * u, top: roundMagic + g.Qp, flags: &flags[0],
	}
	if r := &l.Rescale; r.Col != nil {
		p.times, p.plus, p.colTimes, p.colPlus = &r.Row[i], &r.AddRow[i], &r.Col[0], &r.AddCol[0]
	}
	// Bounds of the logarithms of n and of 2.5/Alpha.
	p.long = float32(max(bits.Len(uint(n)), int(math.Float32bits(2.5/g.Alpha)>>23)-126))
	p.fixed = u * (46 + 1.4*p.long + float32(n)/12)
	p.scratch = w.lines(1152 + 12*4*((n+63)&^63))
	nearSoftmaxAVX512((*byte)(unsafe.Pointer(&p)))
}

// lines is scratch of n bytes that begins at a cache line.
func (w *Workspace) lines(n int) *float32 {
	v := w.row((n + cacheLine) / 4)
	return &v[-int(uintptr(unsafe.Pointer(&v[0])))&(cacheLine-1)/4]
}

// fixedGrid is a quantiser for kernels that read a code off the bits of a float from 128 to
// 256, a multiple of 2^-16: zero + x/Alpha, where zero = 128 + Zp + Offset + 1/2 + 2·2^-16. Its
// third byte is the code. Where its last 16 bits are 0 to 4, x lies within 2·2^-16 of a step,
// and the exact form decides. low and top are in the middle of the outer codes: beyond
// them there are no steps.
//
// The bound, with u = 2^-24 = 2^-16/256: x is t·factor + summand, where t has the same bits in
// both forms and |summand| is at most 32 units of Alpha. The kernel takes factor/Alpha (3u:
// the inverse, the product, t where it is a converted sum) and zero + summand/Alpha (u, and
// the rounding of a number below 256), and rounds once more; the exact form rounds x twice
// and its quotient once. Between the limits |x/Alpha| <= 16.5 and |t·factor/Alpha| <= 48.5, so
// these are (3·48.5 + 32 + 3·16.5)/256 + 1 < 2 units of 2^-16.
type fixedGrid struct{ zero, _, low, _, top, _ float32 }

// fixed gives the grid where kernels that use it serve it.
func (g *Grid) fixed() (f fixedGrid, ok bool) {
	from, to := g.Qn-g.Zp, g.Qp-g.Zp
	if !hasNear || g.inv == 0 || from < -16 || to > 16 || g.Qn+g.Offset < 0 || g.Qp+g.Offset > 60 || g.Zp+g.Offset > 60 {
		return f, false
	}
	at := 128.5 + g.Offset
	return fixedGrid{zero: at + g.Zp + 2.0/(1<<16), low: at + g.Qn, top: at + g.Qp}, true
}
