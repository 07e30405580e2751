package export

import (
	"fmt"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/passes"
)

// Packed lowers a copy of the student to packed operators and attaches their
// function bodies. Every FakeQuant must be calibrated. The student is not
// changed. Meta entries of the student are kept.
func Packed(student *ir.Graph) (*ir.Graph, error) {
	b, err := Build(student, Target{Format: FormatPacked})
	if err != nil {
		return nil, err
	}
	return b.Graph, nil
}

// completePacked gives every packed linear layer what its function body takes
// for granted.
func completePacked(g *ir.Graph) error {
	for n := range g.Nodes() {
		var w, a int
		if n.Domain != ir.Domain || !scan(n.Op, "QLinearW%dA%d", &w, &a) {
			continue
		}
		if err := completeLinear(g, n, w); err != nil {
			return err
		}
	}
	return nil
}

// completeLinear gives a packed linear node what the function body takes for
// granted: a bias, and an input as wide as the padded weight rows.
func completeLinear(g *ir.Graph, n *ir.Node, w int) error {
	ws := n.Input(2)
	if ws == nil || !ws.IsConst() {
		return n.Errorf("the weight scales must be a constant")
	}
	if n.Input(5) == nil {
		n.SetInput(5, g.AddConst(n.Name+".bias", ir.Of(make([]float32, ws.Const.Len()), ws.Const.Len())))
	}
	b := n.Input(1).Const
	if b == nil || w == 8 {
		return nil
	}
	per := 8 / w
	if w == 3 {
		per = 8
	}
	padded := b.Shape[1] * per
	x := n.Input(0)
	rank := x.Type.Rank()
	if rank < 1 || !x.Type.Shape[rank-1].Known() {
		return n.Errorf("the width of the input is not known")
	}
	k := int(x.Type.Shape[rank-1].Size)
	if k > padded || padded-k >= per {
		return n.Errorf("input of width %d does not fit weight rows of %d codes", k, padded)
	}
	if k == padded {
		return nil
	}
	pads := make([]int64, 2*rank)
	pads[2*rank-1] = int64(padded - k)
	pad := g.InsertBefore(n, "", "Pad", ir.Attrs{"mode": "constant"},
		[]*ir.Value{x, g.AddConst(n.Name+".pads", ir.Of(pads, 2*rank))}, n.Name+".padded")
	pad.Name = n.Name + "/pad"
	pad.Origin = n.Origin
	t := x.Type
	t.Shape = append(ir.Shape{}, t.Shape...)
	t.Shape[rank-1] = ir.D(padded)
	pad.Out().Type = t
	n.SetInput(0, pad.Out())
	if n.Attrs.Has("K") {
		n.Attrs["K"] = int64(padded)
	}
	return nil
}

// LayerBits lists the products of g by node name: packed layers as "w4a4", layers
// that stay float as "f32", with the bytes that codes or weights take.
func LayerBits(g *ir.Graph) []Layer {
	var out []Layer
	for n := range g.Nodes() {
		var w, a int
		switch {
		case n.Domain == ir.Domain && scan(n.Op, "QLinearW%dA%d", &w, &a):
			out = append(out, Layer{Name: n.Name, Role: n.Role.Kind, Bits: fmt.Sprintf("w%da%d", w, a), Bytes: n.Input(1).Const.Len()})
		case n.Domain == ir.Domain && scan(n.Op, "QMatMulA%dB%d", &a, &w):
			out = append(out, Layer{Name: n.Name, Role: n.Role.Kind, Bits: fmt.Sprintf("a%db%d", a, w)})
		case (n.Is("MatMul") || n.Is("Conv")) && fakeQuantised(n.Input(1)):
			out = append(out, raisedLayer(n))
		case n.Is("Conv") && n.Input(1).Def.Is("DequantizeLinear"):
			codes := n.Input(1).Def.Input(0)
			if codes.IsConst() {
				out = append(out, Layer{Name: n.Name, Role: n.Role.Kind, Bits: "w8a8", Bytes: codes.Const.Len()})
			}
		case (n.Is("MatMul") || n.Is("Gemm") || n.Is("Conv")) && n.Input(1).IsConst() && n.Input(1).Type.Rank() >= 2:
			out = append(out, Layer{Name: n.Name, Role: n.Role.Kind, Bits: "f32", Bytes: 4 * n.Input(1).Const.Len()})
		}
	}
	return out
}

func fakeQuantised(v *ir.Value) bool {
	if v != nil && v.Def.Is("Transpose") {
		v = v.Def.Input(0)
	}
	return v != nil && v.Def.IsOwn("FakeQuant")
}

// raisedLayer describes a product in FakeQuant form, with the bytes that its
// codes take packed.
func raisedLayer(n *ir.Node) Layer {
	l := Layer{Name: passes.LayerName(n), Role: n.Role.Kind}
	acts := "f32"
	if q := n.Input(0).Def; q.IsOwn("FakeQuant") {
		acts = fmt.Sprintf("a%d", q.Attrs.Int("bits", 0))
	}
	w := n.Input(1).Def
	if w.Is("Transpose") {
		w = w.Input(0).Def
	}
	bits := w.Attrs.Int("bits", 0)
	if w.Input(0).IsConst() {
		l.Bits, l.Bytes = fmt.Sprintf("w%d%s", bits, acts), (w.Input(0).Const.Len()*bits+7)/8
		return l
	}
	l.Bits = fmt.Sprintf("%sb%d", acts, bits)
	return l
}

// Layer is one product of an exported graph.
type Layer struct {
	Name  string `json:"name"`
	Role  string `json:"role,omitempty"`
	Bits  string `json:"bits"`
	Bytes int    `json:"bytes,omitempty"`
}
