package zoo

import (
	"context"
	"math"

	"github.com/qvitc/qvitc/ir"
)

// embedding copies the kernel of the patches, the class token and the positions,
// resized to the new network's.
func (t *trained) embedding(g *ir.Graph, c DeiT) {
	n, first := t.node(ir.RolePatchEmbed, -1, 0), t.node(ir.RoleNorm, 0, 0)
	if n == nil || first == nil {
		return
	}
	if !n.Is("Conv") || n.Input(2) == nil {
		t.failf("node %q that cuts the patches is not a Conv with a bias", n.Label())
		return
	}
	w, b := t.weights(n, 1), t.weights(n, 2)
	if w == nil || b == nil {
		return
	}
	if len(w.Shape) != 4 || w.Shape[0] != c.Dim || w.Shape[1] != c.Channels || w.Shape[2] != w.Shape[3] {
		t.failf("node %q has a kernel of shape %v, not [%d, %d, side, side]", n.Label(), w.Shape, c.Dim, c.Channels)
		return
	}
	t.set(g, "patch_embed.proj.weight", n.Label(), kernel(t.ctx, w.F32(), c.Dim*c.Channels, w.Shape[2], c.Patch), c.Dim, c.Channels, c.Patch, c.Patch)
	t.set(g, "patch_embed.proj.bias", n.Label(), b.F32(), b.Shape...)

	token, positions := t.tokens(first.Inputs[0])
	if token == nil || positions == nil {
		t.failf("it has no class token and learned positions before node %q", first.Label())
		return
	}
	side := int(math.Round(math.Sqrt(float64(positions.Len()/c.Dim - 1))))
	if positions.Len() != (side*side+1)*c.Dim {
		t.failf("its positions, of shape %v, are not those of a class token and a square of patches", positions.Shape)
		return
	}
	t.taken[token], t.taken[positions] = true, true
	to := c.Image / c.Patch
	p := append([]float32{}, positions.F32()[:c.Dim]...)
	p = append(p, grid(t.ctx, positions.F32()[c.Dim:], c.Dim, side, to)...)
	t.set(g, "cls_token", "the class token", token.F32(), 1, 1, c.Dim)
	t.set(g, "pos_embed", "the positions", p, 1, to*to+1, c.Dim)
}

// tokens finds the class token and the positions behind the residual stream's
// first value: Add(Concat(Expand(token), patches), positions).
func (t *trained) tokens(v *ir.Value) (token, positions *ir.Tensor) {
	if v.Def == nil || !v.Def.Is("Add") {
		return nil, nil
	}
	for i, in := range v.Def.Inputs {
		if in.IsConst() && in.Const.F32() != nil {
			positions, v = in.Const, v.Def.Inputs[1-i]
			break
		}
	}
	if v.Def == nil || !v.Def.Is("Concat") {
		return nil, nil
	}
	if n := len(v.Def.Inputs); n > 2 {
		t.failf("it has %d tokens beside those of the patches, as a distilled DeiT has; the new network has one", n-1)
	}
	if len(v.Def.Inputs) != 2 {
		return nil, nil
	}
	if v = v.Def.Inputs[0]; v.Def.Is("Expand") {
		v = v.Def.Inputs[0]
	}
	if !v.IsConst() || v.Const.F32() == nil || v.Const.Len() != t.width {
		return nil, nil
	}
	return v.Const, positions
}

// resizing is the matrix [to, from] that resizes a row of from samples to so many:
// bilinear with half-pixel centres, its triangle widened by from/to where the row
// shrinks so that every sample counts.
func resizing(from, to int) [][]float64 {
	scale := float64(from) / float64(to)
	width := max(1, scale)
	m := make([][]float64, to)
	for i := range m {
		m[i] = make([]float64, from)
		centre, sum := (float64(i)+0.5)*scale-0.5, 0.0
		for k := range m[i] {
			m[i][k] = max(0, 1-math.Abs(float64(k)-centre)/width)
			sum += m[i][k]
		}
		for k := range m[i] {
			m[i][k] /= sum
		}
	}
	return m
}

// kernel gives n kernels of to x to whose product with a patch is that of the
// given ones, from x from, with the patch resized to their size: each axis is
// multiplied by the transpose of the resizing. When ctx ends the rest stays 0.
func kernel(ctx context.Context, w []float32, n, from, to int) []float32 {
	r := resizing(to, from)
	out := make([]float32, n*to*to)
	for k := range n {
		for y := range to {
			if ctx.Err() != nil {
				return out
			}
			for x := range to {
				var sum float64
				for i := range from {
					for j := range from {
						sum += r[i][y] * r[j][x] * float64(w[(k*from+i)*from+j])
					}
				}
				out[(k*to+y)*to+x] = float32(sum)
			}
		}
	}
	return out
}

// grid resizes a map of from x from vectors to to x to. When ctx ends the rest stays 0.
func grid(ctx context.Context, p []float32, dim, from, to int) []float32 {
	r := resizing(from, to)
	out := make([]float32, to*to*dim)
	sum := make([]float64, dim)
	for y := range to {
		if ctx.Err() != nil {
			return out
		}
		for x := range to {
			clear(sum)
			for i, a := range r[y] {
				for j, b := range r[x] {
					if f := a * b; f != 0 {
						for d, v := range p[(i*from+j)*dim:][:dim] {
							sum[d] += f * float64(v)
						}
					}
				}
			}
			for d, v := range sum {
				out[(y*to+x)*dim+d] = float32(v)
			}
		}
	}
	return out
}
