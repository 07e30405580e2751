package export

import "github.com/qvitc/qvitc/ir"

// nameNodes gives every node without a name that of its first output, so that
// viewers, profilers and messages can say which one is meant. Names from the
// original file stay.
func nameNodes(g *ir.Graph) {
	taken := map[string]bool{}
	for n := range g.Nodes() {
		taken[n.Name] = true
	}
	for n := range g.Nodes() {
		if n.Name != "" || len(n.Outputs) == 0 || n.Outputs[0] == nil {
			continue
		}
		if name := n.Outputs[0].Name; !taken[name] {
			n.Name, taken[name] = name, true
		}
	}
}
