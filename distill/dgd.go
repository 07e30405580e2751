package distill

import (
	"fmt"
	"math"

	"github.com/qvitc/qvitc/runtime"
)

// DGDMode is a form of the distribution guided distillation loss between the
// token similarity matrices of student and teacher (method.md sections 7.3, 7.4).
// With S = X·Xᵀ, T = Y·Yᵀ and c the cosine between them:
//
//	DGDPaper   √(2-2c+delta)                    ‖S/‖S‖ - T/‖T‖‖_F, the paper's
//	DGDMSE     (2-2c)/N²
//	DGDRowwise √(mean over rows of (2-2c_i)+delta), each row normalised alone
type DGDMode string

// Modes of DGD.
const (
	DGDOff     DGDMode = ""
	DGDPaper   DGDMode = "paper"
	DGDMSE     DGDMode = "mse"
	DGDRowwise DGDMode = "rowwise"
)

// DGD is the loss on queries and keys: Lambda times the mean over images, layers,
// heads and {q, k}. The paper's sum over layers and heads is Lambda = 2·L·H.
type DGD struct {
	Mode   DGDMode
	Lambda float64

	// TeacherNorm normalises each token of the teacher's q and k to mean 0 and
	// variance 1 first. IRM gives all student tokens nearly equal norm, so exact
	// alignment with raw teacher tokens is impossible.
	TeacherNorm bool
}

func (d DGD) on() bool { return d.Mode != DGDOff && d.Lambda != 0 }

func (d DGD) check() error {
	switch d.Mode {
	case DGDOff, DGDPaper, DGDMSE, DGDRowwise:
	default:
		return fmt.Errorf("DGD mode %q: want paper, mse or rowwise", d.Mode)
	}
	if d.Lambda < 0 || math.IsNaN(d.Lambda) || math.IsInf(d.Lambda, 0) {
		return fmt.Errorf("DGD weight %v: want a number of at least 0", d.Lambda)
	}
	return nil
}

const (
	dgdDelta   = 1e-8  // keeps the gradient of the square root finite at the optimum
	dgdTiny    = 1e-30 // a similarity matrix of smaller norm has no direction
	dgdNormEps = 1e-5  // of TeacherNorm, IRM's eps
)

// outer turns the squared distance 2-2c into the loss and gives dLoss/d(2-2c).
func outer(mode DGDMode, l2 float64, n int) (loss, slope float64) {
	if mode == DGDMSE {
		k := 1 / (float64(n) * float64(n))
		return l2 * k, k
	}
	loss = math.Sqrt(l2 + dgdDelta)
	return loss, 1 / (2 * loss)
}

// tokenCoefficients takes S = X·Xᵀ and T = Y·Yᵀ [n,n] of one image, layer and
// head, gives the loss and fills dst with D, where w·dLoss/dX = D·X. This form has
// no cancellation in 2-2c.
func tokenCoefficients[T real](mode DGDMode, s, t []T, n int, w float64, dst []T) float64 {
	if mode == DGDRowwise {
		return rowCoefficients(s, t, n, w, dst)
	}
	ns, nt := frobenius(s), frobenius(t)
	if ns < dgdTiny || nt < dgdTiny {
		clear(dst)
		loss, _ := outer(mode, 2, n)
		return loss
	}
	l2 := distance2(s, t, 1/ns, 1/nt)
	loss, slope := outer(mode, l2, n)
	// d(2-2c)/dX = (4/ns)·((c/ns)·S - T/nt)·X
	c := 1 - l2/2
	f := w * slope * 4 / ns
	combine(dst, s, t, f*c/ns, f/nt)
	return loss
}

// rowCoefficients is tokenCoefficients with each row normalised alone.
func rowCoefficients[T real](s, t []T, n int, w float64, dst []T) float64 {
	var l2 float64
	for i := range n {
		rs, rt, rd := s[i*n:(i+1)*n], t[i*n:(i+1)*n], dst[i*n:(i+1)*n]
		ns, nt := frobenius(rs), frobenius(rt)
		if ns < dgdTiny || nt < dgdTiny {
			clear(rd)
			l2 += 2
			continue
		}
		e := distance2(rs, rt, 1/ns, 1/nt)
		l2 += e
		// d(2-2c_i)/dS_i = (2/ns)·((c_i/ns)·S_i - T_i/nt)
		combine(rd, rs, rt, 2/ns*(1-e/2)/ns, 2/ns/nt)
	}
	loss := math.Sqrt(l2/float64(n) + dgdDelta)
	// dX = (dS + dSᵀ)·X
	f := T(w / (2 * loss * float64(n)))
	for i := range n {
		for j := range i {
			v := f * (dst[i*n+j] + dst[j*n+i])
			dst[i*n+j], dst[j*n+i] = v, v
		}
		dst[i*n+i] *= 2 * f
	}
	return loss
}

// channelCoefficients takes the Gram matrices A = XᵀX, B = YᵀY and M = YᵀX, so
// that no N×N matrix is formed, gives the loss and fills da and dm, where
// w·dLoss/dX = X·da + Y·dm.
func channelCoefficients[T real](mode DGDMode, a, b, m []T, n int, w float64, da, dm []T) float64 {
	na, nb, nm := frobenius(a), frobenius(b), frobenius(m)
	if na < dgdTiny || nb < dgdTiny {
		clear(da)
		clear(dm)
		loss, _ := outer(mode, 2, n)
		return loss
	}
	c := min(nm/na*(nm/nb), 1)
	loss, slope := outer(mode, 2-2*c, n)
	f := w * slope * 4 / na
	scaled(da, a, T(f*c/na))
	scaled(dm, m, T(-f/nb))
	return loss
}

// scaled fills dst, which may be x, with f·x.
func scaled[T real](dst, x []T, f T) {
	if d, ok := any(dst).([]float32); ok {
		copy(dst, x)
		runtime.ScaleBy(d, float32(f))
		return
	}
	for i, v := range x {
		dst[i] = f * v
	}
}

// distance2 is ‖fs·s - ft·t‖².
func distance2[T real](s, t []T, fs, ft float64) float64 {
	t = t[:len(s)]
	var even, odd float64
	i := 0
	for ; i+2 <= len(s); i += 2 {
		e := float64(s[i])*fs - float64(t[i])*ft
		o := float64(s[i+1])*fs - float64(t[i+1])*ft
		even += e * e
		odd += o * o
	}
	if i < len(s) {
		e := float64(s[i])*fs - float64(t[i])*ft
		even += e * e
	}
	return even + odd
}

// combine fills dst with fs·s - ft·t.
func combine[T real](dst, s, t []T, fs, ft float64) {
	dst, t = dst[:len(s)], t[:len(s)]
	for i := range dst {
		dst[i] = T(fs*float64(s[i]) - ft*float64(t[i]))
	}
}

func frobenius[T real](a []T) float64 {
	if x, ok := any(a).([]float32); ok {
		return math.Sqrt(runtime.SumSquares(x))
	}
	var sum float64
	for _, x := range a {
		sum += float64(x) * float64(x)
	}
	return math.Sqrt(sum)
}
