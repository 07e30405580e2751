package report

import (
	"fmt"
	"strings"

	"github.com/qvitc/qvitc/ir"
)

// Kinds of product that Diff compares.
const (
	KindLinear    = "linear"    // an activation times a weight, with its bias
	KindAttention = "attention" // the attention map: softmax of q·kᵀ
	KindContext   = "context"   // attention map times v
)

// product is one matrix product of a graph, float or quantised.
type product struct {
	name, kind string
	out        *ir.Value // what is compared: after the bias; of the scores, the map
	bits       string    // "f32", "w4a4", "a4b4"
	bytes      int       // of the weight as stored; of a FakeQuant weight, as it would be
	weight     *weight
	operands   []quantiser // of activations; empty where they are float
}

// findProducts lists the matrix products of g in the order of nodes.
func findProducts(g *ir.Graph, name func(*ir.Node) string) []*product {
	kinds := map[*ir.Node]*product{}
	for n := range g.Nodes() {
		if !n.Is("Softmax") {
			continue
		}
		if s := nearest(n, behind, isActivationProduct); s != nil {
			kinds[s] = &product{kind: KindAttention, out: n.Out()}
		}
		if c := nearest(n, ahead, isActivationProduct); c != nil {
			kinds[c] = &product{kind: KindContext, out: c.Out()}
		}
	}
	var out []*product
	for n := range g.Nodes() {
		p := kinds[n]
		if p == nil {
			if !isLinear(n) {
				continue
			}
			p = &product{kind: KindLinear, out: biased(n)}
		}
		p.fill(n, name)
		out = append(out, p)
	}
	return out
}

func isOwn(n *ir.Node, prefix string) bool {
	return n != nil && n.Domain == ir.Domain && strings.HasPrefix(n.Op, prefix)
}

func isActivationProduct(n *ir.Node) bool {
	return isOwn(n, "QMatMul") || n.Is("MatMul") && storedWeight(n.Input(0)) == nil && storedWeight(n.Input(1)) == nil
}

func isLinear(n *ir.Node) bool {
	if isOwn(n, "QLinear") {
		return true
	}
	return (n.Is("MatMul") || n.Is("Gemm") || n.Is("Conv")) && storedWeight(n.Input(1)) != nil && n.Input(1).Type.Rank() >= 2
}

// storedWeight finds the constant behind v: itself, or what a quantiser reads.
func storedWeight(v *ir.Value) *ir.Value {
	for range 3 {
		if v == nil || v.IsConst() {
			return v
		}
		d := v.Def
		if !d.IsOwn("FakeQuant") && !d.Is("DequantizeLinear") && !d.Is("Transpose") {
			return nil
		}
		v = d.Inputs[0]
	}
	return nil
}

// biased is the output of a product after the bias that is added to it.
func biased(n *ir.Node) *ir.Value {
	v := n.Out()
	if !n.Is("MatMul") || len(v.Uses()) != 1 {
		return v
	}
	add := v.Uses()[0].Node
	if !add.Is("Add") {
		return v
	}
	b := add.Inputs[1-v.Uses()[0].Index]
	if b.IsConst() && b.Type.Rank() == 1 {
		return add.Out()
	}
	return v
}

// behind and ahead give the neighbours of a node that lie on the way between a
// softmax and the products around it.
func behind(n *ir.Node) (next []*ir.Node) {
	for _, v := range n.Inputs {
		if v != nil && v.Def != nil {
			next = append(next, v.Def)
		}
	}
	return next
}

func ahead(n *ir.Node) (next []*ir.Node) {
	for _, v := range n.Outputs {
		for _, u := range v.Uses() {
			next = append(next, u.Node)
		}
	}
	return next
}

// nearest searches breadth first for a node that fits, not beyond linear layers
// and norms.
func nearest(from *ir.Node, step func(*ir.Node) []*ir.Node, fits func(*ir.Node) bool) *ir.Node {
	seen := map[*ir.Node]bool{from: true}
	at := []*ir.Node{from}
	for range 14 {
		var next []*ir.Node
		for _, n := range at {
			for _, m := range step(n) {
				if seen[m] {
					continue
				}
				seen[m] = true
				if fits(m) {
					return m
				}
				if !isLinear(m) && !m.Is("LayerNormalization") && !m.Is("Softmax") {
					next = append(next, m)
				}
			}
		}
		at = next
	}
	return nil
}

// fill reads name, widths, weight and quantisers of the node.
func (p *product) fill(n *ir.Node, name func(*ir.Node) string) {
	p.name, p.bits = name(n), "f32"
	if n.Domain != ir.Domain && p.kind != KindLinear {
		suffix := map[string]string{KindAttention: ".scores", KindContext: ".context"}[p.kind]
		if !strings.HasSuffix(p.name, suffix) {
			p.name += suffix
		}
	}
	var w, a int
	switch {
	case isOwn(n, "QLinear"):
		if _, err := fmt.Sscanf(n.Op, "QLinearW%dA%d", &w, &a); err != nil {
			return
		}
		p.bits = fmt.Sprintf("w%da%d", w, a)
		p.weight = packedWeight(n, w)
		p.operands = appendQuantiser(p.operands, packedQuantiser(n.Input(0), n.Input(3), n.Input(4), a))
		p.bytes = constBytes(n.Input(1))
	case isOwn(n, "QMatMul"):
		if _, err := fmt.Sscanf(n.Op, "QMatMulA%dB%d", &a, &w); err != nil {
			return
		}
		p.bits = fmt.Sprintf("a%db%d", a, w)
		p.operands = appendQuantiser(p.operands, packedQuantiser(n.Input(0), n.Input(1), n.Input(2), a))
		if p.kind == KindContext { // of the scores, k may be transposed before or after
			p.operands = appendQuantiser(p.operands, packedQuantiser(n.Input(3), n.Input(4), n.Input(5), w))
		}
	default:
		if p.kind == KindLinear {
			p.weight = plainWeight(n)
			p.bytes = p.weight.bytes()
		}
		x := quantiserOf(n.Input(0))
		p.operands = appendQuantiser(p.operands, x)
		if p.kind == KindContext {
			p.operands = appendQuantiser(p.operands, quantiserOf(n.Input(1)))
		}
		switch {
		case p.weight != nil && p.weight.codes != nil && x != nil:
			p.bits = fmt.Sprintf("w%da%d", p.weight.bits, x.bits)
		case p.weight != nil && p.weight.codes != nil:
			p.bits = fmt.Sprintf("w%da32", p.weight.bits)
		case p.weight == nil && x != nil:
			p.bits = fmt.Sprintf("a%db%d", x.bits, x.bits)
		}
	}
}
