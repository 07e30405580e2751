package passes

import (
	"encoding/json"
	"strings"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// QDQ says in which integer types QuantizeLinear and DequantizeLinear hold
// codes. The zero value is INT4 and UINT4 for widths up to 4 (opset 21), 8- and
// 16-bit types above.
type QDQ struct {
	Bytes bool // INT8 and UINT8 for all widths up to 8, cut to their width by a Clip on the codes (opset 13)
	Int2  bool // INT2 for 2-bit weights (opset 25)
	// Shift stores signed activations in bytes with one scale as UINT8 with a zero
	// point 128 higher: from opset 21 on ONNX Runtime refuses INT8 ones where it
	// moves them past a Reshape, and UINT8 ones with several scales in products.
	Shift bool
}

// elem is the type that holds codes of a width; Undefined for more than 16 bits.
func (o QDQ) elem(bits int, signed, weight bool) ir.Elem {
	e := [2]ir.Elem{ir.Uint16, ir.Int16}
	switch {
	case bits > 16:
		return ir.Undefined
	case bits > 8:
	case o.Bytes || bits > 4:
		e = [2]ir.Elem{ir.Uint8, ir.Int8}
	case bits <= 2 && o.Int2 && weight:
		e = [2]ir.Elem{ir.Uint2, ir.Int2}
	default:
		e = [2]ir.Elem{ir.Uint4, ir.Int4}
	}
	if signed {
		return e[1]
	}
	return e[0]
}

// LowerQDQ makes the pass that writes quantisers with standard operators.
func LowerQDQ(o QDQ) Pass {
	name, types := "lower-qdq", "INT4"
	if o.Bytes {
		name, types = "lower-qcdq8", "INT8, with Clip"
	} else if o.Int2 {
		name, types = "lower-qdq2", "INT4, 2-bit weights INT2"
	}
	return Pass{
		Name: name,
		Doc: "write quantisers as QuantizeLinear and DequantizeLinear on " + types + `

A FakeQuant of an activation becomes QuantizeLinear and DequantizeLinear. Codes
narrower than their type are cut by Max and Min in front (8-bit types: by a Clip
behind). A quantised weight becomes its codes behind a DequantizeLinear; a linear
layer becomes Reshape, Gemm(transB=1) with codes [N,K], Reshape, since runtimes
compute products of other layouts with less exact kernels. A Transpose behind a
quantiser moves in front of it.`,
		Run: func(g *ir.Graph, r *Report) (bool, error) { return lowerQDQ(g, r, o) },
	}
}

type qdqLowering struct {
	QDQ
	g      *ir.Graph
	r      *Report
	names  heldNames
	widths map[string]int
	made   map[*ir.Value]*ir.Value // weights in [N,K] by the FakeQuant they stand for
}

func lowerQDQ(g *ir.Graph, r *Report, o QDQ) (bool, error) {
	if _, err := ops.Infer(g); err != nil {
		return false, err
	}
	l := newQDQLowering(g, r, o)
	changed, err := l.linears()
	if err != nil {
		return changed, err
	}
	dropDead(g, &Report{Pass: r.Pass})
	more, err := eachFakeQuant(g, func(n *ir.Node, s *quantSettings) (bool, error) {
		switch {
		case s == nil:
			return false, nil
		case n.Inputs[0].IsConst():
			return l.weight(s), nil
		}
		return l.activation(s)
	})
	if err != nil {
		return changed, err
	}
	changed = changed || more
	return changed, l.finish(changed)
}

func newQDQLowering(g *ir.Graph, r *Report, o QDQ) *qdqLowering {
	return &qdqLowering{QDQ: o, g: g, r: r, names: heldNames{g: g}, widths: map[string]int{}, made: map[*ir.Value]*ir.Value{}}
}

// linears writes every product by a quantised weight as Gemm.
func (l *qdqLowering) linears() (changed bool, err error) {
	for n := range l.g.Nodes() {
		if n.Is("MatMul") {
			done, err := l.linear(n)
			if err != nil {
				return changed, err
			}
			changed = changed || done
		}
	}
	return changed, nil
}

func (l *qdqLowering) finish(changed bool) error {
	if changed {
		dropDead(l.g, &Report{Pass: l.r.Pass})
		l.names.settle()
	}
	return noteWidths(l.g, l.widths)
}

// noteWidths stores the widths that the types of the codes do not tell.
func noteWidths(g *ir.Graph, widths map[string]int) error {
	named := map[string]int{}
	for name, bits := range widths {
		if g.Value(name).IsConst() {
			named[name] = bits
		}
	}
	if len(named) == 0 {
		return nil
	}
	text, err := json.Marshal(named) // in the order of names
	g.Meta[WidthsKey] = string(text)
	return err
}

// zeroOf makes the constant of the zero points, higher by shift; nil when all
// are 0 and that is the default. ok is false when one does not fit the type.
func (l *qdqLowering) zeroOf(s *quantSettings, e ir.Elem, shift int) (v *ir.Value, ok bool) {
	lo, hi := grid{bits: e.Bits(), signed: e.IsSigned()}.bounds()
	z, ok := s.zeroPoints(lo-shift, hi-shift)
	if !ok || s.zeroPoint == nil && e == ir.Uint8 && shift == 0 {
		return nil, ok
	}
	codes := make([]int32, len(z))
	for i := range z {
		codes[i] = int32(z[i] + shift)
	}
	shape := []int{}
	if s.axis >= 0 {
		shape = []int{len(z)}
	}
	name := strings.TrimSuffix(s.node.Inputs[1].Name, "_scale") + "_zero_point"
	if in := s.node.Input(2); in != nil {
		name = in.Name
	}
	return l.names.add(name, codeTensor(e, codes, shape...)), true
}

// partName names a node that stands for a part of n; empty where n has no name.
func partName(n *ir.Node, suffix string) string {
	if n.Name == "" {
		return ""
	}
	return n.Name + suffix
}
