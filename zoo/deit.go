package zoo

import (
	"context"
	"fmt"
	"math"

	"github.com/qvitc/qvitc/ir"
)

// DeiT is a vision transformer with a class token and learned positions
// (Dosovitskiy et al. 2021, Touvron et al. 2021): Depth blocks of width Dim with
// Heads heads, the hidden layer of the MLP MLP times as wide (0: 4), over Patch x
// Patch patches of a square image.
type DeiT struct {
	Dim, Depth, Heads int
	MLP               float64
	Patch, Image      int
	Channels, Classes int
	TanhGelu          bool // GELU in its tanh form
	Seed              uint64
}

func (c DeiT) check() (hidden int, err error) {
	if err := checkSizes(size{"dim", c.Dim, maxSize}, size{"depth", c.Depth, maxDepth}, size{"heads", c.Heads, c.Dim},
		size{"patch", c.Patch, maxSize}, size{"image", c.Image, maxSize}, size{"channels", c.Channels, 64}, size{"classes", c.Classes, 1 << 20}); err != nil {
		return 0, err
	}
	switch {
	case c.Dim%c.Heads != 0:
		return 0, fmt.Errorf("dim %d cannot be divided into %d heads", c.Dim, c.Heads)
	case c.Image%c.Patch != 0:
		return 0, fmt.Errorf("an image of %d pixels cannot be cut into patches of %d", c.Image, c.Patch)
	}
	if hidden, err = hiddenWidth(c.MLP, c.Dim); err != nil {
		return 0, err
	}
	side := c.Image / c.Patch
	dim := float64(c.Dim) // products of the largest sizes do not fit an int of 32 bits
	n := float64(c.Depth)*dim*(4*dim+2*float64(hidden)) + dim*(float64(side)*float64(side)+float64(c.Channels)*float64(c.Patch)*float64(c.Patch)+float64(c.Classes))
	return hidden, checkParams(n)
}

// hiddenWidth is the width of an MLP's hidden layer.
func hiddenWidth(ratio float64, dim int) (int, error) {
	if ratio == 0 {
		ratio = 4
	}
	if !(ratio > 0 && ratio <= 64) || float64(dim)*ratio < 1 {
		return 0, fmt.Errorf("mlp %v: want a ratio above 0, at most 64", ratio)
	}
	return int(float64(dim) * ratio), nil
}

// Graph draws the network; see Model.
func (c DeiT) Graph(ctx context.Context) (*ir.Graph, error) {
	hidden, err := c.check()
	if err != nil {
		return nil, err
	}
	p, x := begin(ctx, "deit", c.Seed, c.Channels, c.Image)
	side := c.Image / c.Patch
	tokens := side*side + 1
	e := p.in("patch_embed")
	t := e.in("proj").patches(x, c.Channels, c.Patch, c.Dim)
	t = e.transpose(e.reshape(t, 0, c.Dim, side*side), 0, 2, 1)
	batch := p.node("Shape", ir.Attrs{"start": int64(0), "end": int64(1)}, t)
	to := p.node("Concat", ir.Attrs{"axis": int64(0)}, batch, p.ints("token_shape", 1, c.Dim))
	cls := p.node("Expand", nil, p.drawn("cls_token", 0.1, 1, 1, c.Dim), to)
	t = p.node("Concat", ir.Attrs{"axis": int64(1)}, cls, t)
	t = p.node("Add", nil, t, p.drawn("pos_embed", 0.1, 1, tokens, c.Dim))
	gain := 1 / math.Sqrt(float64(2*c.Depth)) // the residual stream adds up 2·Depth branches
	for i := range c.Depth {
		b := p.in(fmt.Sprintf("blocks.%d", i))
		n := b.in("norm1").layerNorm(t, c.Dim, 1e-6)
		t = b.node("Add", nil, t, b.in("attn").attention(n, c.Dim, c.Heads, tokens, gain, nil))
		n = b.in("norm2").layerNorm(t, c.Dim, 1e-6)
		t = b.node("Add", nil, t, b.in("mlp").mlp(n, c.Dim, hidden, gain, c.TanhGelu))
	}
	t = p.in("norm").layerNorm(t, c.Dim, 1e-6)
	first := p.g.AddConst("cls_index", ir.Scalar(int64(0)))
	p.head(p.node("Gather", ir.Attrs{"axis": int64(1)}, t, first), c.Dim, c.Classes)
	return finish(p)
}

// attention is the multi-head attention of x [batch, tokens, dim]; adjust, where
// given, changes the scores before the softmax.
func (p pen) attention(x *ir.Value, dim, heads, tokens int, gain float64, adjust func(p pen, scores *ir.Value) *ir.Value) *ir.Value {
	d := dim / heads
	qkv := p.in("qkv").linear(x, dim, 3*dim, 1, true)
	q, k, v := p.split(p.transpose(p.reshape(qkv, -1, tokens, 3, heads, d), 2, 0, 3, 1, 4))
	q = p.node("Mul", nil, q, p.scalar("scale", 1/math.Sqrt(float64(d))))
	s := p.node("MatMul", nil, q, p.transpose(k, 0, 1, 3, 2))
	if adjust != nil {
		s = adjust(p, s)
	}
	a := p.node("Softmax", ir.Attrs{"axis": int64(-1)}, s)
	c := p.transpose(p.node("MatMul", nil, a, v), 0, 2, 1, 3)
	return p.in("proj").linear(p.reshape(c, -1, tokens, dim), dim, dim, gain, true)
}
