package distill

import (
	"fmt"
	"math"
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

// dgdScratch is the working memory of one goroutine.
type dgdScratch[T real] struct{ a, b, m, y []T }

func grow[T real](s *[]T, n int) []T {
	if cap(*s) < n {
		*s = make([]T, n)
	}
	return (*s)[:n]
}

// dgdPair is the loss of one image, layer and head: x is the student's q or k
// [n,d], y the teacher's [n,dT]. w times dLoss/dx is added to gx when it is not
// nil.
func dgdPair[T real](o DGD, x, y []T, n, d, dT int, w float64, gx []T, s *dgdScratch[T]) float64 {
	if o.TeacherNorm {
		y = normTokens(y, n, dT, grow(&s.y, n*dT))
	}
	switch {
	case o.Mode == DGDRowwise:
		return dgdRows(x, y, n, d, dT, w, gx, s)
	case n*(3*d+dT) <= 2*(2*d*d+dT*dT+2*dT*d): // multiply-adds of the two forms
		return dgdTokens(o.Mode, x, y, n, d, dT, w, gx, s)
	}
	return dgdChannels(o.Mode, x, y, n, d, dT, w, gx, s)
}

// outer turns the squared distance 2-2c into the loss and gives dLoss/d(2-2c).
func outer(mode DGDMode, l2 float64, n int) (loss, slope float64) {
	if mode == DGDMSE {
		k := 1 / (float64(n) * float64(n))
		return l2 * k, k
	}
	loss = math.Sqrt(l2 + dgdDelta)
	return loss, 1 / (2 * loss)
}

// dgdTokens forms the two N×N similarity matrices: the cheaper way when there
// are fewer tokens than channels, and without cancellation in 2-2c.
func dgdTokens[T real](mode DGDMode, x, y []T, n, d, dT int, w float64, gx []T, s *dgdScratch[T]) float64 {
	a, b := grow(&s.a, n*n), grow(&s.b, n*n)
	gramRows(a, x, n, d)
	gramRows(b, y, n, dT)
	na, nb := frobenius(a), frobenius(b)
	if na < dgdTiny || nb < dgdTiny {
		loss, _ := outer(mode, 2, n)
		return loss
	}
	var l2 float64
	for i := range a {
		e := float64(a[i])/na - float64(b[i])/nb
		l2 += e * e
	}
	loss, slope := outer(mode, l2, n)
	if gx == nil {
		return loss
	}
	// d(2-2c)/dX = (4/na)·((c/na)·S - T/nb)·X
	c := 1 - l2/2
	f := w * slope * 4 / na
	fa, fb := f*c/na, f/nb
	for i := range a {
		a[i] = T(fa*float64(a[i]) - fb*float64(b[i]))
	}
	addMatMul(gx, a, x, n, n, d)
	return loss
}

// dgdChannels uses the d×d Gram matrices A = XᵀX, B = YᵀY and M = YᵀX: no N×N
// matrix is formed.
func dgdChannels[T real](mode DGDMode, x, y []T, n, d, dT int, w float64, gx []T, s *dgdScratch[T]) float64 {
	a, b, m := grow(&s.a, d*d), grow(&s.b, dT*dT), grow(&s.m, dT*d)
	gramCols(a, x, x, n, d, d)
	gramCols(b, y, y, n, dT, dT)
	gramCols(m, y, x, n, dT, d)
	na, nb, nm := frobenius(a), frobenius(b), frobenius(m)
	if na < dgdTiny || nb < dgdTiny {
		loss, _ := outer(mode, 2, n)
		return loss
	}
	c := min(nm/na*(nm/nb), 1)
	loss, slope := outer(mode, 2-2*c, n)
	if gx == nil {
		return loss
	}
	f := w * slope * 4 / na
	fa, fm := T(f*c/na), T(-f/nb)
	for i := range a {
		a[i] *= fa
	}
	for i := range m {
		m[i] *= fm
	}
	addMatMul(gx, x, a, n, d, d)
	addMatMul(gx, y, m, n, dT, d)
	return loss
}

// dgdRows normalises each row of the similarity matrices alone.
func dgdRows[T real](x, y []T, n, d, dT int, w float64, gx []T, s *dgdScratch[T]) float64 {
	a, b := grow(&s.a, n*n), grow(&s.b, n*n)
	gramRows(a, x, n, d)
	gramRows(b, y, n, dT)
	var l2 float64
	for i := range n {
		ra, rb := a[i*n:(i+1)*n], b[i*n:(i+1)*n]
		na, nb := frobenius(ra), frobenius(rb)
		if na < dgdTiny || nb < dgdTiny {
			clear(ra)
			l2 += 2
			continue
		}
		var e2 float64
		for j := range ra {
			e := float64(ra[j])/na - float64(rb[j])/nb
			e2 += e * e
		}
		l2 += e2
		// d(2-2c_i)/dS_i = (2/na)·((c_i/na)·S_i - T_i/nb)
		fa, fb := 2/na*(1-e2/2)/na, 2/na/nb
		for j := range ra {
			ra[j] = T(fa*float64(ra[j]) - fb*float64(rb[j]))
		}
	}
	loss := math.Sqrt(l2/float64(n) + dgdDelta)
	if gx == nil {
		return loss
	}
	// dX = (dS + dSᵀ)·X
	f := T(w / (2 * loss * float64(n)))
	for i := range n {
		for j := range i {
			v := f * (a[i*n+j] + a[j*n+i])
			a[i*n+j], a[j*n+i] = v, v
		}
		a[i*n+i] *= 2 * f
	}
	addMatMul(gx, a, x, n, n, d)
	return loss
}

// normTokens is a LayerNormalization over the channels without parameters.
func normTokens[T real](y []T, n, d int, out []T) []T {
	for i := range n {
		row, dst := y[i*d:(i+1)*d], out[i*d:(i+1)*d]
		var mean, v float64
		for _, t := range row {
			mean += float64(t)
		}
		mean /= float64(d)
		for _, t := range row {
			e := float64(t) - mean
			v += e * e
		}
		k := 1 / math.Sqrt(v/float64(d)+dgdNormEps)
		for j, t := range row {
			dst[j] = T((float64(t) - mean) * k)
		}
	}
	return out
}
