package dataset

import (
	"math"
	"math/rand/v2"
)

// Synthetic makes a set of unlabelled images that no camera took, for work that needs some input and has no data:
// coloured noise whose octaves have equal energy, which is how the spectrum of photographs falls off (1/f), with the
// channels strongly correlated, and contrast and brightness changing from image to image. They count as preprocessed:
// each channel has mean 0 and deviation 1 over the set, within chance. The first train images are the split Train, the
// next eval the split Eval; the same arguments give the same images.
//
// Ranges of activations found with them are of the right order and no more: nothing about accuracy follows.
func Synthetic(shape Shape, train, eval int, seed uint64) *Set {
	s := &Set{Path: "synthetic images", Format: "synthetic"}
	for i, part := range []struct {
		name string
		n    int
	}{{Train, train}, {Eval, eval}} {
		a := &array{file: "synthetic " + part.name, floats: make([]float32, part.n*shape.C*shape.H*shape.W), c: shape.C, h: shape.H, w: shape.W}
		for k := range part.n {
			drawImage(a.floats[k*shape.C*shape.H*shape.W:], shape, rand.New(rand.NewPCG(seed, uint64(2*k+i))))
		}
		s.addArray(part.name, a, part.n, nil)
	}
	return s
}

const (
	sharedPart = 0.9 // of the deviation of a channel, that all channels have in common
	contrast   = 0.3 // deviation of the logarithm of an image's contrast
	brightness = 0.4 // deviation of an image's mean
)

// drawImage fills one image [C,H,W].
func drawImage(x []float32, shape Shape, r *rand.Rand) {
	n := shape.H * shape.W
	common, own := make([]float64, n), make([]float64, n)
	octaves(common, shape, r)
	gain, mean := math.Exp(contrast*r.NormFloat64()), brightness*r.NormFloat64()
	part := math.Sqrt(1-brightness*brightness) * math.Exp(-contrast*contrast)
	for c := range shape.C {
		rest := 0.0
		if shape.C > 1 {
			octaves(own, shape, r)
			rest = math.Sqrt(1 - sharedPart*sharedPart)
		}
		for i := range n {
			v := common[i]
			if rest > 0 {
				v = sharedPart*v + rest*own[i]
			}
			x[c*n+i] = float32(mean + gain*part*v)
		}
	}
}

// octaves fills x with a sum of random grids of 2 x 2, 4 x 4, ... cells, interpolated to the size of the image.
func octaves(x []float64, shape Shape, r *rand.Rand) {
	clear(x)
	count := 0
	for cells := 2; cells <= max(2, shape.H/2, shape.W/2); cells *= 2 {
		grid := make([]float64, (cells+1)*(cells+1))
		for i := range grid {
			grid[i] = 1.5 * r.NormFloat64() // interpolation keeps (2/3)² of the variance
		}
		for y := range shape.H {
			fy := float64(y) * float64(cells) / float64(shape.H)
			gy, ty := int(fy), fy-math.Floor(fy)
			for c := range shape.W {
				fx := float64(c) * float64(cells) / float64(shape.W)
				gx, tx := int(fx), fx-math.Floor(fx)
				g := grid[gy*(cells+1)+gx:]
				top := g[0]*(1-tx) + g[1]*tx
				bottom := g[cells+1]*(1-tx) + g[cells+2]*tx
				x[y*shape.W+c] += top*(1-ty) + bottom*ty
			}
		}
		count++
	}
	scale := 1 / math.Sqrt(float64(count))
	for i := range x {
		x[i] *= scale
	}
}
