package dataset

import (
	"math"
	"math/rand/v2"
)

// mixKey keeps the random numbers of pairs apart from those of images.
const mixKey = 0x6d69787570

// mix blends the images of a batch in pairs, the j-th with the j-th from the end, and shares their labels. An odd one
// in the middle stays.
func (l *Loader) mix(b *Batch, epoch uint64) {
	a := l.opt.Augment
	if a.Mixup == 0 && a.CutMix == 0 {
		return
	}
	b.Other, b.Share = resized(b.Other, b.N), resized(b.Share, b.N)
	copy(b.Other, b.Labels)
	for j := range b.Share {
		b.Share[j] = 1
	}
	size := len(b.X) / b.N
	for j := range b.N / 2 {
		k := b.N - 1 - j
		r := stream(l.opt.Seed^mixKey, epoch, uint64(b.Index[j])+1)
		x, y := b.X[j*size:(j+1)*size], b.X[k*size:(k+1)*size]
		var share float64
		if a.CutMix > 0 && (a.Mixup == 0 || below(r, 2) == 1) {
			share = l.swap(x, y, beta(r, a.CutMix), r)
		} else {
			share = beta(r, a.Mixup)
			blend(x, y, float32(share))
		}
		b.Share[j], b.Share[k] = float32(share), float32(share)
		b.Other[j], b.Other[k] = b.Labels[k], b.Labels[j]
		if b.Labels[j] < 0 || b.Labels[k] < 0 { // half a label says nothing
			b.Labels[j], b.Labels[k] = -1, -1
		}
	}
}

// blend makes x share·x + (1-share)·y, and y the other way round.
func blend(x, y []float32, share float32) {
	rest := 1 - share
	for i, u := range x {
		v := y[i]
		x[i] = float32(share*u) + float32(rest*v)
		y[i] = float32(share*v) + float32(rest*u)
	}
}

// swap exchanges a rectangle of about 1-share of the area and returns what is left of each image.
func (l *Loader) swap(x, y []float32, share float64, r *rand.PCG) float64 {
	h, w := l.shape.H, l.shape.W
	side := math.Sqrt(1 - share)
	rh, rw := int(float64(h)*side), int(float64(w)*side)
	cy, cx := below(r, h), below(r, w)
	top, bottom := max(0, cy-rh/2), min(h, cy-rh/2+rh)
	left, right := max(0, cx-rw/2), min(w, cx-rw/2+rw)
	for ch := range l.shape.C {
		for row := top; row < bottom; row++ {
			at := (ch*h + row) * w
			for i := at + left; i < at+right; i++ {
				x[i], y[i] = y[i], x[i]
			}
		}
	}
	return 1 - float64((bottom-top)*(right-left))/float64(h*w)
}

// beta draws from the distribution Beta(a, a) by Jöhnk's method.
func beta(r *rand.PCG, a float64) float64 {
	for {
		u, v := math.Pow(unit(r), 1/a), math.Pow(unit(r), 1/a)
		if s := u + v; s <= 1 && s > 0 {
			return u / s
		}
	}
}
