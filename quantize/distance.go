package quantize

import "math"

// PatchGrid places the tokens of an image: Prefix tokens without a place (class,
// distillation), then Rows x Cols patches, row by row.
type PatchGrid struct{ Rows, Cols, Prefix int }

// Tokens is the number of tokens.
func (g PatchGrid) Tokens() int { return g.Prefix + g.Rows*g.Cols }

// GuessGrid finds the square grid of n tokens with 0, 1 or 2 tokens in front.
func GuessGrid(n int) (PatchGrid, bool) {
	for prefix := 0; prefix <= 2 && prefix < n; prefix++ {
		side := int(math.Round(math.Sqrt(float64(n - prefix))))
		if side*side == n-prefix {
			return PatchGrid{side, side, prefix}, true
		}
	}
	return PatchGrid{}, false
}

// distances gives |pos_i - pos_j| between patches i and j, in patches.
func (g PatchGrid) distances() []float64 {
	n := g.Rows * g.Cols
	d := make([]float64, n*n)
	for i := range n {
		for j := range n {
			d[i*n+j] = math.Hypot(float64(i/g.Cols-j/g.Cols), float64(i%g.Cols-j%g.Cols))
		}
	}
	return d
}

// AttentionDistance is how far attention looks: the distance from a patch to
// the patches it attends to, weighted by the attention map p (N x N,
// row-major, N = g.Tokens()) over patches alone and averaged over patches, in
// units of one patch (method.md section 6). Tokens without a place take no part.
func AttentionDistance(p []float32, g PatchGrid) float64 {
	return meanDistance(p, g, g.distances())
}

func meanDistance(p []float32, g PatchGrid, d []float64) float64 {
	n, all := g.Rows*g.Cols, g.Tokens()
	sum := 0.0
	for i := range n {
		row := p[(g.Prefix+i)*all+g.Prefix : (g.Prefix+i+1)*all]
		var far, mass float64
		for j, v := range row {
			far += float64(v) * d[i*n+j]
			mass += float64(v)
		}
		if mass > 0 {
			sum += far / mass
		}
	}
	return sum / float64(max(n, 1))
}
