package passes_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/ir"
)

// TestShuffledOrder cleans models whose nodes stand in other topological
// orders: the same parts are recognised, in the same blocks.
func TestShuffledOrder(t *testing.T) {
	for _, name := range []string{"deit-fmnist", "hf-vit-op17-dyn", "tv-vit-op17-dyn", "timm-swin-op17-dyn", "timm-deit-distilled-op17-dyn"} {
		t.Run(name, func(t *testing.T) {
			g := loadModel(t, name)
			original, _ := g.Clone()
			clean(t, g)
			want := recognised(g)
			for seed := range uint64(4) {
				s, _ := original.Clone()
				shuffle(s, seed)
				clean(t, s)
				if got := recognised(s); got != want {
					t.Fatalf("seed %d: recognised otherwise:\n%s\nwant\n%s", seed, got, want)
				}
			}
		})
	}
}

// recognised lists nodes with roles, by name.
func recognised(g *ir.Graph) string {
	var lines []string
	for n := range g.Nodes() {
		if n.Role.Kind != "" {
			lines = append(lines, fmt.Sprintf("%s %s %s %d", n.Name, n.Op, n.Role.Kind, n.Role.Block))
		}
	}
	slices.Sort(lines)
	return fmt.Sprint(g.Len(), " nodes\n", strings.Join(lines, "\n"))
}

// shuffle puts the nodes into a random topological order.
func shuffle(g *ir.Graph, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 3))
	missing := map[*ir.Node]int{}
	var ready []*ir.Node
	for n := range g.Nodes() {
		for _, v := range n.Inputs {
			if v != nil && v.Def != nil {
				missing[n]++
			}
		}
		if missing[n] == 0 {
			ready = append(ready, n)
		}
	}
	for len(ready) > 0 {
		i := r.IntN(len(ready))
		n := ready[i]
		ready = slices.Delete(ready, i, i+1)
		g.MoveBefore(n, nil)
		for _, o := range n.Outputs {
			if o == nil {
				continue
			}
			for _, u := range o.Uses() {
				if missing[u.Node]--; missing[u.Node] == 0 {
					ready = append(ready, u.Node)
				}
			}
		}
	}
}

// TestCleanIsDeterministic cleans one model many times: the same text.
func TestCleanIsDeterministic(t *testing.T) {
	g := loadModel(t, "timm-swin-op17-dyn")
	original, _ := g.Clone()
	clean(t, g)
	for range 5 {
		s, _ := original.Clone()
		clean(t, s)
		if s.String() != g.String() {
			t.Fatal("two runs give two texts")
		}
	}
}
