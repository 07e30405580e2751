package dataset

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
)

// Augment changes training images at random. What happens to an image is a function of the seed, the epoch and its
// place in the split alone, and, for Mixup and CutMix, of the image it is paired with: number n-1-j of a batch of n for
// number j. The zero value changes nothing.
type Augment struct {
	Flip bool // mirror every second image, left to right
	Pad  int  // cut the image at a random place out of a frame of this many black pixels on each side

	// MinArea cuts a random part out of the prepared image and stretches it back: at least this part of its area,
	// with sides in a ratio of 3:4 to 4:3. 0: off. It goes before Flip and Pad.
	MinArea float64

	// RandOps is how many operations of RandAugment (Cubuk et al., 2020) follow one another on every image, RandStrength their
	// strength from 0 to 10: rotation, shear, shift, contrast, brightness, colour, sharpness, posterise, solarise,
	// equalise, stretched contrast, or nothing.
	RandOps      int
	RandStrength float64

	Erase float64 // part of the images from which a rectangle of 2 to 33 % of the area is erased

	// Mixup blends pairs of images, CutMix swaps a rectangle between them; labels are shared accordingly. The values
	// are the parameter a of the share's distribution Beta(a, a), at most 2; 0: off. With both, either one or the other
	// is done to a pair, with equal chance.
	Mixup, CutMix float64
}

func (a Augment) check(to Shape) error {
	switch {
	case a.Pad < 0 || a.Pad > max(to.H, to.W):
		return fmt.Errorf("augmentation with a frame of %d pixels", a.Pad)
	case !(a.MinArea >= 0 && a.MinArea <= 1):
		return fmt.Errorf("augmentation with parts of %v of the area: want 0 to 1", a.MinArea)
	case a.RandOps < 0 || a.RandOps > 16:
		return fmt.Errorf("augmentation with %d random operations: want 0 to 16", a.RandOps)
	case !(a.RandStrength >= 0 && a.RandStrength <= 10):
		return fmt.Errorf("augmentation of strength %v: want 0 to 10", a.RandStrength)
	case !(a.Erase >= 0 && a.Erase <= 1):
		return fmt.Errorf("augmentation that erases in %v of the images: want 0 to 1", a.Erase)
	case !(a.Mixup >= 0 && a.Mixup <= 2) || !(a.CutMix >= 0 && a.CutMix <= 2):
		return fmt.Errorf("augmentation with mixup %v and cutmix %v: want 0 to 2", a.Mixup, a.CutMix)
	}
	return nil
}

// alone tells whether images are changed one by one.
func (a Augment) alone() bool {
	a.Mixup, a.CutMix = 0, 0
	return a != Augment{}
}

// costly tells whether the change of an image takes long enough to be spread over the cores.
func (a Augment) costly() bool { return a.MinArea > 0 || a.RandOps > 0 }

// scratches are pairs of image buffers.
var scratches = sync.Pool{New: func() any { return new([2][]byte) }}

// augment is normalise with the changes that belong to (seed, epoch, place).
func (l *Loader) augment(dst []float32, src []byte, epoch, place uint64) {
	a := l.opt.Augment
	r := stream(l.opt.Seed, epoch, place+1)
	flip := a.Flip && below(r, 2) == 1
	dy, dx := 0, 0
	if a.Pad > 0 {
		dy, dx = below(r, 2*a.Pad+1)-a.Pad, below(r, 2*a.Pad+1)-a.Pad
	}
	if !a.costly() {
		l.shifted(dst, src, flip, dy, dx)
		l.erase(dst, r)
		return
	}
	buf := scratches.Get().(*[2][]byte)
	defer scratches.Put(buf)
	p := plane{c: l.shape.C, h: l.shape.H, w: l.shape.W, fill: l.fill}
	p.pix, p.spare = resized(buf[0], len(src)), resized(buf[1], len(src))
	copy(p.pix, src)
	if a.MinArea > 0 {
		p.cut(r, a.MinArea)
	}
	for range a.RandOps {
		p.random(r, a.RandStrength/10)
	}
	l.shifted(dst, p.pix, flip, dy, dx)
	l.erase(dst, r)
	buf[0], buf[1] = p.pix, p.spare
}

// shifted is normalise of an image that is mirrored and moved; black comes in at the edges.
func (l *Loader) shifted(dst []float32, src []byte, flip bool, dy, dx int) {
	h, w := l.shape.H, l.shape.W
	for ch := range l.tables {
		t := &l.tables[ch]
		for y := range h {
			row := dst[(ch*h+y)*w : (ch*h+y+1)*w]
			sy := y + dy
			if sy < 0 || sy >= h {
				for x := range row {
					row[x] = t[0]
				}
				continue
			}
			from := src[(ch*h+sy)*w : (ch*h+sy+1)*w]
			for x := range row {
				sx := x
				if flip {
					sx = w - 1 - x
				}
				if sx += dx; sx >= 0 && sx < w {
					row[x] = t[from[sx]]
				} else {
					row[x] = t[0]
				}
			}
		}
	}
}

// erase sets a random rectangle to 0, the mean colour of the preprocessing.
func (l *Loader) erase(dst []float32, r *rand.PCG) {
	if l.opt.Augment.Erase == 0 || unit(r) >= l.opt.Augment.Erase {
		return
	}
	y, x, h, w, ok := rectangle(r, l.shape.H, l.shape.W, 0.02, 1.0/3, 0.3)
	if !ok {
		return
	}
	for ch := range l.shape.C {
		for row := y; row < y+h; row++ {
			at := (ch*l.shape.H+row)*l.shape.W + x
			clear(dst[at : at+w])
		}
	}
}

// rectangle draws a rectangle inside an image of h x w pixels: an area from lo to hi of the image's, sides in a ratio
// from narrow to 1/narrow. Ten draws without one that fits give none.
func rectangle(r *rand.PCG, h, w int, lo, hi, narrow float64) (y, x, rh, rw int, ok bool) {
	for range 10 {
		area := float64(h) * float64(w) * between(r, lo, hi)
		ratio := math.Exp(between(r, math.Log(narrow), -math.Log(narrow)))
		rh, rw = int(math.Round(math.Sqrt(area/ratio))), int(math.Round(math.Sqrt(area*ratio)))
		if rh >= 1 && rw >= 1 && rh <= h && rw <= w {
			return below(r, h-rh+1), below(r, w-rw+1), rh, rw, true
		}
	}
	return 0, 0, 0, 0, false
}

// unit returns a number from 0 to below 1.
func unit(r *rand.PCG) float64 { return float64(r.Uint64()>>11) / (1 << 53) }

func between(r *rand.PCG, lo, hi float64) float64 { return lo + (hi-lo)*unit(r) }

// fill is the byte nearest to the mean of each channel.
func (p Preprocess) fill(c int) []byte {
	out := make([]byte, c)
	for ch := range out {
		out[ch] = byte(math.RoundToEven(255 * min(1, max(0, float64(at(p.Mean, ch, 0))))))
	}
	return out
}
