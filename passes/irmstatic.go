package passes

import (
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// static builds gamma*(x - mean)/spread + beta on q and k with constants that
// calibration sets: mean and spread [H,1,1], gamma and beta [H,1,d].
func (e *irmEdit) static() {
	norm := func(v *ir.Value, name string) *ir.Value {
		heads, shape := 1, []int{1, 1}
		rows := []int{e.width}
		if e.heads > 1 {
			heads, shape, rows = e.heads, []int{e.heads, 1, 1}, []int{e.heads, 1, e.width}
		}
		fill := func(suffix string, x float32, n int, shape []int) *ir.Value {
			d := make([]float32, n)
			for i := range d {
				d[i] = x
			}
			return e.g.AddConst(name+suffix, ir.Of(d, shape...))
		}
		c := e.add("Sub", name+".centred", nil, v.Type, v, fill(".mean", 0, heads, shape))
		n := e.add("Div", name+".norm", nil, v.Type, c, fill(".spread", 1, heads, shape))
		m := e.add("Mul", name+".mul", nil, v.Type, n, fill(".gamma", 1, heads*e.width, rows))
		return e.add("Add", name, nil, v.Type, m, fill(".beta", 0, heads*e.width, rows))
	}
	e.place(norm(e.scores.Inputs[0], e.name+".irm_q"), norm(e.trans.Inputs[0], e.name+".irm_k"))
}

// FoldIRM moves the IRM of the form static out of a trained student: gain and
// offset of each channel of q and k go into the weight, its scales and the bias
// of the projection. Codes of weights stay what they are. An IRM whose gain is
// not above zero everywhere, or whose projection serves something else beside
// it, stays. FoldIRM gives the numbers of those moved and left.
func FoldIRM(g *ir.Graph) (moved, left int, err error) {
	if _, err := ops.Infer(g); err != nil {
		return 0, 0, err
	}
	var ends []*ir.Node
	for n := range g.Nodes() {
		if n.Role.Kind == ir.RoleIRMQ || n.Role.Kind == ir.RoleIRMK {
			ends = append(ends, n)
		}
	}
	for _, n := range ends {
		s, ok := staticOf(n)
		if !ok {
			continue
		}
		if f := s.into(); f != nil && f.apply(g, s) {
			moved++
		} else {
			left++
		}
	}
	g.DropUnusedConsts()
	return moved, left, nil
}

// staticIRM is a chain Sub, Div, Mul, Add by constants.
type staticIRM struct {
	x        *ir.Value // what it reads
	end      *ir.Node  // the Add
	gain     []float64 // by head and channel, or by channel
	offset   []float64
	perHead  bool
	channels int
}

func staticOf(end *ir.Node) (s staticIRM, ok bool) {
	at, s := end, staticIRM{end: end}
	var c [4]*ir.Tensor
	for i, op := range []string{"Add", "Mul", "Div", "Sub"} {
		if !at.Is(op) || !at.Inputs[1].IsConst() || at.Inputs[1].Const.Elem != ir.Float32 || at != end && soleUser(at.Out()) == nil {
			return s, false
		}
		c[i], s.x = at.Inputs[1].Const, at.Inputs[0]
		at = s.x.Def
	}
	beta, gamma, spread, mean := c[0].F32(), c[1].F32(), c[2].F32(), c[3].F32()
	s.channels = known(s.x, -1)
	s.perHead = len(mean) > 1
	if len(gamma) != len(beta) || len(spread) != len(mean) || s.channels < 1 || len(gamma) != s.channels*len(mean) {
		return s, false
	}
	for i := range gamma {
		h := i / s.channels
		f := float64(gamma[i]) / float64(spread[h])
		s.gain = append(s.gain, f)
		s.offset = append(s.offset, float64(beta[i])-float64(mean[h])*f)
	}
	return s, true
}

// fold says which columns of a linear layer make which channels.
type fold struct {
	linear  *ir.Node
	columns []int // by head and channel, or by channel
}

// into finds the columns of the projection that s normalises. The numbers of
// the columns are sent through the nodes between, and must arrive at s alone, in
// the same order for every token.
func (s staticIRM) into() *fold {
	linear := newEnds().behind(s.x)
	if linear == nil {
		return nil
	}
	out := linear.Out()
	if add, _ := linearBias(linear); add != nil {
		out = add.Out()
	}
	width := weightOf(linear).Const.Shape[1]
	start := columnNumbers(out.Type, width)
	if start == nil {
		return nil
	}
	taken := make([]int, width)
	for i := range taken {
		taken[i] = -1
	}
	f := &fold{linear: linear}
	var columns []float32
	var others [][]float32
	var follow func(v *ir.Value, t *ir.Tensor) bool
	follow = func(v *ir.Value, t *ir.Tensor) bool {
		for _, n := range users(v) {
			if !moves(n) || n.Inputs[0] != v {
				if v == s.x {
					columns = t.F32()
					f.columns = headColumns(t, s)
				} else {
					others = append(others, t.F32())
				}
				continue
			}
			in := []*ir.Tensor{t}
			for _, c := range n.Inputs[1:] {
				if c == nil {
					in = append(in, nil)
				} else {
					in = append(in, c.Const)
				}
			}
			made, err := ops.Eval(n, in)
			if err != nil {
				return false
			}
			for i, o := range n.Outputs {
				if o != nil && !follow(o, made[i]) {
					return false
				}
			}
		}
		return true
	}
	if !follow(out, start) || f.columns == nil || len(users(s.x)) != 1 {
		return nil
	}
	for _, c := range columns {
		taken[int(c)] = 1
	}
	for _, o := range others {
		for _, c := range o {
			if taken[int(c)] == 1 {
				return nil // somebody else reads it
			}
		}
	}
	return f
}

// moves tells whether n moves numbers about and no more, as constants say.
func moves(n *ir.Node) bool {
	if n.Domain != "" {
		return false
	}
	switch n.Op {
	case "Reshape", "Transpose", "Split", "Gather", "Slice", "Squeeze", "Unsqueeze", "Flatten", "Identity":
	default:
		return false
	}
	for _, v := range n.Inputs[1:] {
		if v != nil && !v.IsConst() {
			return false
		}
	}
	return true
}

// columnNumbers is a tensor of a linear layer's output, open sizes taken as 1,
// in which every row counts its columns.
func columnNumbers(t ir.Type, width int) *ir.Tensor {
	if t.Rank() < 2 {
		return nil
	}
	shape := make([]int, t.Rank())
	n := 1
	for i, d := range t.Shape {
		shape[i] = max(1, int(d.Size))
		n *= shape[i]
	}
	if shape[len(shape)-1] != width || n > ops.MaxElems {
		return nil
	}
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(i % width)
	}
	return ir.Of(x, shape...)
}

// headColumns reads the columns of each head and channel off a tensor [..,H,N,d];
// nil where the tokens differ.
func headColumns(t *ir.Tensor, s staticIRM) []int {
	r := len(t.Shape)
	if r < 3 || t.Shape[r-1] != s.channels {
		return nil
	}
	tokens, heads := t.Shape[r-2], 1
	if s.perHead {
		heads = len(s.gain) / s.channels
		if r < 4 || t.Shape[r-3] != heads {
			return nil
		}
	}
	columns := make([]int, heads*s.channels)
	x := t.F32()
	for i, v := range x {
		at := i/(tokens*s.channels)%heads*s.channels + i%s.channels
		if i/(tokens*s.channels) < heads && i/s.channels%tokens == 0 {
			columns[at] = int(v)
		} else if columns[at] != int(v) {
			return nil
		}
	}
	return columns
}

// apply scales the columns and their bias, and takes the chain out.
func (f *fold) apply(g *ir.Graph, s staticIRM) bool {
	for _, x := range s.gain {
		if !(x > 0) {
			return false
		}
	}
	n := f.linear
	w := weightOf(n)
	if len(w.Uses()) != 1 {
		return false
	}
	rows, width := w.Const.Shape[0], w.Const.Shape[1]
	data := append([]float32(nil), w.Const.F32()...)
	if q := n.Inputs[1].Def; q != nil {
		set, err := quantOf(n.Inputs[1])
		if err != nil || set == nil || set.axis != 1 || set.zeroPoint != nil || len(q.Inputs[1].Uses()) != 1 {
			return false
		}
		codes := set.codes(w.Const)
		scales := append([]float32(nil), set.scale...)
		for i, c := range f.columns {
			scales[c] = float32(float64(scales[c]) * s.gain[i])
			for r := range rows { // on the grid: no code can change by a rounding
				data[r*width+c] = float32(codes[r*width+c]) * scales[c]
			}
		}
		q.Inputs[1].SetConst(ir.Of(scales, width))
	} else {
		for i, c := range f.columns {
			for r := range rows {
				data[r*width+c] = float32(float64(data[r*width+c]) * s.gain[i])
			}
		}
	}
	bias := make([]float32, width)
	add, old := linearBias(n)
	if add == nil {
		hold := g.InsertAfter(n, "", "Add", nil, []*ir.Value{n.Out(), g.AddConst(n.Name+".bias", ir.Of(bias, width))}, n.Out().Name+".biased")
		hold.Out().Type = n.Out().Type
		g.ReplaceUses(n.Out(), hold.Out())
		hold.SetInput(0, n.Out())
		add, old = hold, hold.Inputs[1]
	} else {
		copy(bias, old.Const.F32())
	}
	for i, c := range f.columns {
		bias[c] = float32(float64(bias[c])*s.gain[i] + s.offset[i])
	}
	w.SetConst(ir.Of(data, rows, width))
	add.SetInput(1, replaceConst(g, old, ir.Of(bias, width)))
	g.ReplaceUses(s.end.Out(), s.x)
	for at := s.end; at.Out() != s.x; {
		before := at.Inputs[0].Def
		g.Remove(at)
		at = before
	}
	return true
}
