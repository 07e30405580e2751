package zoo

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/qvitc/qvitc/ir"
)

// Model is a network that can be drawn as a graph.
type Model interface {
	// Graph draws the network: one float32 input "input" [batch, Channels, Image,
	// Image], one output "logits" [batch, Classes]. The error says which size
	// does not fit, or is that of ctx, which is looked at between weights.
	Graph(ctx context.Context) (*ir.Graph, error)
}

// presets are the published sizes: DeiT (Touvron et al. 2021, table 1) and
// Swin-T (Liu et al. 2021, section 3.3), on ImageNet-1k.
var presets = []struct {
	name  string
	model Model
}{
	{"deit-tiny", DeiT{Dim: 192, Depth: 12, Heads: 3, Patch: 16, Image: 224, Channels: 3, Classes: 1000}},
	{"deit-small", DeiT{Dim: 384, Depth: 12, Heads: 6, Patch: 16, Image: 224, Channels: 3, Classes: 1000}},
	{"deit-base", DeiT{Dim: 768, Depth: 12, Heads: 12, Patch: 16, Image: 224, Channels: 3, Classes: 1000}},
	{"swin-tiny", Swin{Dim: 96, Depths: []int{2, 2, 6, 2}, Heads: []int{3, 6, 12, 24}, Window: 7, Patch: 4, Image: 224, Channels: 3, Classes: 1000}},
}

// Presets lists the names that Preset takes.
func Presets() []string {
	var names []string
	for _, p := range presets {
		names = append(names, p.name)
	}
	return names
}

// Preset gives the network of a published name, with seed 0. The Swin's slices
// are the caller's to change.
func Preset(name string) (Model, error) {
	for _, p := range presets {
		if p.name != name {
			continue
		}
		if s, ok := p.model.(Swin); ok {
			s.Depths, s.Heads = slices.Clone(s.Depths), slices.Clone(s.Heads)
			return s, nil
		}
		return p.model, nil
	}
	return nil, fmt.Errorf("no model is called %q; there are %s", name, strings.Join(Presets(), ", "))
}

const (
	maxSize   = 1 << 14 // of a width or of an image's side
	maxDepth  = 1 << 10 // blocks
	maxParams = 1 << 30 // float32 parameters, 4 GiB
)

// size is a number a network is made of, with the name the user knows it by.
type size struct {
	name string
	n    int
	max  int
}

func checkSizes(all ...size) error {
	for _, s := range all {
		if s.n < 1 || s.n > s.max {
			return fmt.Errorf("%s %d: want 1 to %d", s.name, s.n, s.max)
		}
	}
	return nil
}

// checkParams refuses networks that would not fit the format or the machine.
func checkParams(n float64) error {
	if n > maxParams {
		return fmt.Errorf("%.3g parameters: want at most %.3g", n, float64(maxParams))
	}
	return nil
}
