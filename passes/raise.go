package passes

import (
	"encoding/json"
	"math"
	"slices"
	"strings"

	"github.com/qvitc/qvitc/ir"
)

// Raise turns a graph in any quantised form that is understood (packed
// operators, QuantizeLinear and DequantizeLinear, MatMulNBits, QONNX) into the
// form that all targets are lowered from: FakeQuant nodes on activations and on
// constant weights whose values are scale*(code - zero point). Scales and codes
// come back bit for bit when the result is lowered again.
var Raise = []Pass{RaiseQOperators, RaisePacked, RaiseQDQ, RaiseNBits, RaiseQONNX, RaiseLayout}

// WidthsKey names the metadata entry with the widths of weights that are stored
// in a wider container, as 3-bit codes in INT4: JSON from tensor name to bits.
const WidthsKey = "qvitc.widths"

// IsQuantised reports whether g holds anything that Raise turns into FakeQuant.
func IsQuantised(g *ir.Graph) bool {
	for n := range g.Nodes() {
		switch {
		case n.Domain == ir.Domain && n.Op != "FakeQuant", n.Is("DequantizeLinear"), isNBits(n), isIntQuant(n), qoperators[n.Domain+"::"+n.Op] != nil,
			n.Domain == ir.Microsoft && (n.Op == "DequantizeLinear" || n.Op == "QuantizeLinear"):
			return true
		}
	}
	return false
}

func isNBits(n *ir.Node) bool { return n.Domain == ir.Microsoft && n.Op == "MatMulNBits" }

func isIntQuant(n *ir.Node) bool {
	return (n.Op == "IntQuant" || n.Op == "Quant") && (n.Domain == ir.QONNX || n.Domain == ir.Brevitas || n.Domain == ir.FINN)
}

// raiser makes FakeQuant nodes in the place of other forms.
type raiser struct {
	g      *ir.Graph
	r      *Report
	names  heldNames
	widths map[string]int
	made   map[raisedKey][]*ir.Value // FakeQuants by what they read
}

type raisedKey struct {
	x            *ir.Value
	bits, axis   int
	signed, zero bool
}

func newRaiser(g *ir.Graph, r *Report) *raiser {
	z := &raiser{g: g, r: r, names: heldNames{g: g}, widths: map[string]int{}, made: map[raisedKey][]*ir.Value{}}
	if text := g.Meta[WidthsKey]; text != "" && json.Unmarshal([]byte(text), &z.widths) != nil {
		r.Note(nil, "the metadata entry %s is damaged: weights get the widths of their containers", WidthsKey)
		z.widths = map[string]int{}
	}
	return z
}

// grid says how the codes of a quantiser are meant.
type grid struct {
	bits   int
	signed bool
	axis   int       // -1: one scale
	scale  []float32 // one a group
	zero   []float32 // integers, one a group; nil: all 0
	turn   []bool    // groups whose codes are counted from the other end; nil: none
}

// usable reports whether a FakeQuant can hold the grid.
func (q grid) usable() bool {
	for _, s := range q.scale {
		if !(s > 0) || math.IsInf(float64(s), 0) {
			return false
		}
	}
	for _, z := range q.zero {
		if z != float32(math.Trunc(float64(z))) || math.Abs(float64(z)) > 1<<20 {
			return false
		}
	}
	return q.bits >= 1 && q.bits <= 16
}

// settled drops zero points that are all 0.
func (q grid) settled() grid {
	if !slices.ContainsFunc(q.zero, func(z float32) bool { return z != 0 }) {
		q.zero = nil
	}
	return q
}

// unshifted brings unsigned codes u with a zero point into the form the plans
// use: signed codes u - 2^(bits-1), unless the zero point is 0 everywhere.
func (q grid) unshifted() grid {
	if q = q.settled(); q.signed || q.zero == nil {
		return q
	}
	half := float32(int(1) << (q.bits - 1))
	zero := make([]float32, len(q.zero))
	for i, z := range q.zero {
		zero[i] = z - half
	}
	q.signed, q.zero = true, zero
	return q.settled()
}

func (q grid) tensor(v []float32) *ir.Tensor {
	if q.axis < 0 {
		return ir.Scalar(v[0])
	}
	return ir.Of(slices.Clone(v), len(v))
}

// quantise gives the fake-quantised form of x. Readers that ask for the same
// share one node, which stands right behind what makes x, or before the first
// reader of a constant or an input of the graph.
func (z *raiser) quantise(before *ir.Node, x *ir.Value, q grid, scaleName, zeroName string) *ir.Value {
	q = q.settled()
	key := raisedKey{x, q.bits, q.axis, q.signed, q.zero != nil}
	for _, v := range z.made[key] {
		n := v.Def
		if slices.Equal(n.Inputs[1].Const.F32(), q.scale) && (q.zero == nil || slices.Equal(n.Inputs[2].Const.F32(), q.zero)) {
			return v
		}
	}
	in := []*ir.Value{x, z.names.add(scaleName, q.tensor(q.scale))}
	if q.zero != nil {
		in = append(in, z.names.add(zeroName, q.tensor(q.zero)))
	}
	attrs := ir.Attrs{"bits": int64(q.bits), "signed": int64(0)}
	if q.signed {
		attrs["signed"] = int64(1)
	}
	if q.axis >= 0 {
		attrs["axis"] = int64(q.axis)
	}
	name := strings.TrimSuffix(scaleName, "_scale") + "_quant"
	var n *ir.Node
	if x.Def != nil {
		n = z.g.InsertAfter(x.Def, ir.Domain, "FakeQuant", attrs, in, name)
	} else {
		n = z.g.InsertBefore(before, ir.Domain, "FakeQuant", attrs, in, name)
	}
	n.Name = name
	n.Out().Type = x.Type
	z.names.hold(n.Out(), name) // the DequantizeLinear that goes may have it
	z.r.rewrote(n)
	z.made[key] = append(z.made[key], n.Out())
	return n.Out()
}

// weight makes a constant of the values that codes stand for, behind a FakeQuant
// that finds the same codes again. Scales of 0, which some writers give to rows
// of zeros, become 1; negative ones positive, with codes counted from the other
// end.
func (z *raiser) weight(before *ir.Node, codes []int32, shape []int, q grid, name, scaleName string) *ir.Value {
	q = z.turned(q.settled())
	groups, inner := groupsOf(shape, q.axis)
	scale := slices.Clone(q.scale)
	w := make([]float32, len(codes))
	lo, hi := q.bounds()
	for at := 0; at < len(codes); {
		for g := range groups {
			turn, zero, s := q.turn != nil && q.turn[g], float32(0), scale[g]
			if q.zero != nil {
				zero = q.zero[g]
			}
			to := w[at:][:inner]
			for i, c := range codes[at:][:inner] {
				if turn {
					c = int32(lo+hi) - c
				}
				if s != 0 {
					to[i] = (float32(c) - zero) * s
				}
			}
			at += inner
		}
	}
	for i := range scale {
		if scale[i] == 0 {
			scale[i] = 1
			z.r.Count("scales of 0", 1)
		}
	}
	q.scale = scale
	for _, suffix := range []string{"_codes", "_packed", "_quantized", "_q"} {
		if s, ok := strings.CutSuffix(name, suffix); ok && s != "" {
			name = s
			break
		}
	}
	v := z.names.add(name, ir.Of(w, shape...))
	return z.quantise(before, v, q, scaleName, name+"_zero_point")
}

// turned makes negative scales positive: code c then stands for lowest + highest - c.
func (z *raiser) turned(q grid) grid {
	if !slices.ContainsFunc(q.scale, func(s float32) bool { return s < 0 }) {
		return q
	}
	lo, hi := q.bounds()
	scale, zero, turn := slices.Clone(q.scale), make([]float32, len(q.scale)), make([]bool, len(q.scale))
	copy(zero, q.zero)
	for i, s := range scale {
		if s < 0 {
			scale[i], turn[i] = -s, true
			zero[i] = float32(lo+hi) - zero[i]
			z.r.Count("negative scales", 1)
		}
	}
	q.scale, q.zero, q.turn = scale, zero, turn
	return q.settled()
}

// floats reads a constant of floats that are float32.
func floats(v *ir.Value) ([]float32, bool) {
	if !v.IsConst() || v.Const.Elem != ir.Float32 {
		return nil, false
	}
	return v.Const.F32(), true
}

// numbers reads a constant as float32; nil when there is none.
func numbers(v *ir.Value) []float32 {
	if v == nil {
		return nil
	}
	out := make([]float32, v.Const.Len())
	for i := range out {
		out[i] = float32(v.Const.Float(i))
	}
	return out
}

// finish ends a raising pass.
func (z *raiser) finish(changed bool) {
	if changed {
		dropDead(z.g, &Report{Pass: z.r.Pass})
		z.names.settle()
	}
}
