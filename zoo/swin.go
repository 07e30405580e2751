package zoo

import (
	"context"
	"fmt"
	"math"

	"github.com/qvitc/qvitc/ir"
)

// Swin is a shifted-window transformer (Liu et al. 2021): stage i has Depths[i]
// blocks of width Dim·2^i with Heads[i] heads in windows of Window x Window
// patches, every second block shifted by half a window; patches merge 2 x 2
// between stages. MLP is the ratio of the hidden layer (0: 4). A stage whose map
// is no larger than a window has one window and no shift.
type Swin struct {
	Dim               int
	Depths, Heads     []int
	Window            int
	MLP               float64
	Patch, Image      int
	Channels, Classes int
	Seed              uint64
}

func (c Swin) check() error {
	if err := checkSizes(size{"dim", c.Dim, maxSize}, size{"stages", len(c.Depths), 8}, size{"window", c.Window, 256},
		size{"patch", c.Patch, maxSize}, size{"image", c.Image, maxSize}, size{"channels", c.Channels, 64}, size{"classes", c.Classes, 1 << 20}); err != nil {
		return err
	}
	if len(c.Heads) != len(c.Depths) {
		return fmt.Errorf("%d depths and %d heads: want one of each for every stage", len(c.Depths), len(c.Heads))
	}
	if c.Image%c.Patch != 0 {
		return fmt.Errorf("an image of %d pixels cannot be cut into patches of %d", c.Image, c.Patch)
	}
	side, dim, params := c.Image/c.Patch, c.Dim, 0.0
	for i := range c.Depths {
		if err := checkSizes(size{"depth", c.Depths[i], maxDepth}, size{"dim", dim, maxSize}, size{"heads", c.Heads[i], dim}); err != nil {
			return fmt.Errorf("stage %d: %v", i, err)
		}
		if i > 0 && side%2 != 0 {
			return fmt.Errorf("stage %d: a map of %d x %d cannot be halved", i, side, side)
		}
		if i > 0 {
			side /= 2
		}
		if dim%c.Heads[i] != 0 {
			return fmt.Errorf("stage %d: width %d cannot be divided into %d heads", i, dim, c.Heads[i])
		}
		if side > c.Window && side%c.Window != 0 {
			return fmt.Errorf("stage %d: a map of %d x %d cannot be cut into windows of %d", i, side, side, c.Window)
		}
		hidden, err := hiddenWidth(c.MLP, dim)
		if err != nil {
			return err
		}
		d, area := float64(dim), float64(min(c.Window, side)*min(c.Window, side))
		params += float64(c.Depths[i]) * (4*d*d + 2*d*float64(hidden) + float64(c.Heads[i])*area*area)
		dim *= 2
	}
	return checkParams(params + float64(dim)/2*float64(c.Classes))
}

// Graph draws the network; see Model.
func (c Swin) Graph(ctx context.Context) (*ir.Graph, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	p, x := begin(ctx, "swin", c.Seed, c.Channels, c.Image)
	side, dim, blocks := c.Image/c.Patch, c.Dim, 0
	for _, d := range c.Depths {
		blocks += d
	}
	gain := 1 / math.Sqrt(float64(2*blocks))
	e := p.in("patch_embed")
	t := e.transpose(e.in("proj").patches(x, c.Channels, c.Patch, dim), 0, 2, 3, 1)
	t = e.in("norm").layerNorm(t, dim, 1e-5)
	for i := range c.Depths {
		s := p.in(fmt.Sprintf("layers.%d", i))
		if i > 0 {
			t = s.in("downsample").merge(t, side, dim)
			side, dim = side/2, dim*2
		}
		hidden, _ := hiddenWidth(c.MLP, dim)
		for j := range c.Depths[i] {
			w := window{side: side, size: min(c.Window, side), heads: c.Heads[i]}
			if j%2 == 1 && w.size < side {
				w.shift = w.size / 2
			}
			b := s.in(fmt.Sprintf("blocks.%d", j))
			n := b.in("norm1").layerNorm(t, dim, 1e-5)
			t = b.node("Add", nil, t, w.attention(b, n, dim, gain))
			n = b.in("norm2").layerNorm(t, dim, 1e-5)
			t = b.node("Add", nil, t, b.in("mlp").mlp(n, dim, hidden, gain, false))
		}
	}
	t = p.in("norm").layerNorm(t, dim, 1e-5)
	pool := p.node("ReduceMean", ir.Attrs{"keepdims": int64(0)}, t, p.ints("pool_axes", 1, 2))
	p.head(pool, dim, c.Classes)
	return finish(p)
}

// merge puts 2 x 2 patches into one of four times the width, normalises it and
// halves it.
func (p pen) merge(t *ir.Value, side, dim int) *ir.Value {
	h := side / 2
	t = p.transpose(p.reshape(t, -1, h, 2, h, 2, dim), 0, 1, 3, 4, 2, 5)
	t = p.reshape(t, -1, h, h, 4*dim)
	t = p.in("norm").layerNorm(t, 4*dim, 1e-5)
	return p.in("reduction").linear(t, 4*dim, 2*dim, 1, false)
}
