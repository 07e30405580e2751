package passes

import (
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// CanonicalAttention gives every attention one form.
var CanonicalAttention = Pass{
	Name: "canonical-attention",
	Doc: `write every attention as MatMul(q, Transpose(k)), Mul, Softmax, MatMul(p, v)

q, k and v become [..., heads, tokens, width]: batch and heads that an exporter
merged into one axis are taken apart. Scalar factors on q or k move behind the
product, so that normalisation and quantisation see q and k as projected. k·qᵀ
with a softmax over columns is turned round. What stands between the scores and
the softmax (mask, position bias) stays as it is.`,
	Run: canonicalAttention,
}

func canonicalAttention(g *ir.Graph, r *Report) (bool, error) {
	if _, err := ops.Infer(g); err != nil {
		return false, err
	}
	changed := false
	for _, a := range findAttention(g) {
		e := attentionEdit{g: g, r: r, a: a}
		e.moveScale()
		if e.a.softmax.Out().Type.Rank() >= 3 {
			e.turnRound()
			e.contextOrder()
			e.splitHeads()
			e.transposeK()
		}
		changed = changed || e.changed
	}
	if changed {
		dropDead(g, &Report{Pass: r.Pass})
	}
	return changed, nil
}

// attentionEdit rewrites one attention step by step; a stays up to date.
type attentionEdit struct {
	g       *ir.Graph
	r       *Report
	a       *attention
	changed bool
}

func (e *attentionEdit) did(counter string) {
	e.r.Count(counter, 1)
	e.changed = true
}

// add makes a node before ref with the type t (f32 when not known).
func (e *attentionEdit) add(ref *ir.Node, op, name string, attrs ir.Attrs, t ir.Type, in ...*ir.Value) *ir.Value {
	n := e.r.rewrote(e.g.InsertBefore(ref, "", op, attrs, in, name))
	n.Out().Type = t
	return n.Out()
}

// swap gives v with its last two axes swapped, undoing a Transpose where there
// is one.
func (e *attentionEdit) swap(ref *ir.Node, v *ir.Value, name string) *ir.Value {
	p := swapLast(v.Type.Rank())
	if t := def(v, "Transpose"); t != nil {
		v, p = t.Inputs[0], compose(perm(t), p)
	}
	if isIdentityPerm(p) {
		return v
	}
	return e.add(ref, "Transpose", name, ir.Attrs{"perm": ir.Int64s(p...)}, permuted(v.Type, p), v)
}

// moveScale takes scalar factors off q and k and puts their product behind the
// scores.
func (e *attentionEdit) moveScale() {
	factor := 1.0
	moved := false
	for side := range 2 {
		for {
			n, v, f := scaleBehind(e.g, e.a.scores.Inputs[side], e.a.scores)
			if n == nil {
				break
			}
			e.g.ReplaceUses(n.Out(), v)
			e.g.Remove(n)
			factor *= f
			moved = true
		}
	}
	if !moved {
		return
	}
	// join a factor that already stands there
	out := e.a.scores.Out()
	if n := soleUser(out); n != nil && !e.g.IsOutput(out) {
		if f, ok := scalarFactor(n, out); ok {
			factor *= f
			e.g.ReplaceUses(n.Out(), out)
			e.g.Remove(n)
		}
	}
	e.putScale(factor)
	e.did("scale moved")
}

func (e *attentionEdit) putScale(factor float64) {
	if factor == 1 {
		return
	}
	out := e.a.scores.Out()
	c := e.g.AddConst(out.Name+".scale", ir.Scalar(float32(factor)))
	n := e.r.rewrote(e.g.InsertAfter(e.a.scores, "", "Mul", nil, []*ir.Value{out}, out.Name+".scaled"))
	n.Out().Type = out.Type
	e.g.ReplaceUses(out, n.Out())
	n.SetInput(0, out)
	n.SetInput(1, c)
}

// scaleBehind finds a Mul or Div by a scalar on the way from a projection to
// the reader, where every value on the way has one reader only. It gives the
// node, its data input and the factor.
func scaleBehind(g *ir.Graph, v *ir.Value, reader *ir.Node) (*ir.Node, *ir.Value, float64) {
	for {
		n := v.Def
		if n == nil || soleUser(v) != reader || g.IsOutput(v) {
			return nil, nil, 0
		}
		for i, in := range n.Inputs {
			if f, ok := scalarFactor(n, in); ok && i < 2 {
				return n, in, f
			}
		}
		switch {
		case n.Is("Transpose"), n.Is("Reshape"), n.Is("Squeeze"), n.Is("Unsqueeze"), n.Is("Identity"), n.Is("Gather"), n.Is("Slice"):
			v, reader = n.Inputs[0], n
		default:
			return nil, nil, 0
		}
	}
}

// scalarFactor reports the factor by which n scales its input v: Mul by a
// scalar, or Div of v by one. The scalar must not raise the rank.
func scalarFactor(n *ir.Node, v *ir.Value) (float64, bool) {
	if len(n.Inputs) != 2 || n.Inputs[0] == n.Inputs[1] || v.IsConst() {
		return 0, false
	}
	c := other(n, v)
	f, ok := scalar(c)
	if !ok || len(c.Const.Shape) > max(0, v.Type.Rank()) {
		return 0, false
	}
	switch {
	case n.Is("Mul"):
		return f, true
	case n.Is("Div") && n.Inputs[0] == v && f != 0:
		return 1 / f, true
	}
	return 0, false
}

// turnRound rewrites k·qᵀ with a softmax over columns as q·kᵀ.
func (e *attentionEdit) turnRound() {
	a := e.a
	if a.qSide == 0 {
		return
	}
	old := a.scores
	name := old.Out().Name
	q := e.swap(old, a.q(), name+".q")
	k := e.swap(old, a.k(), name+".k")
	rank := old.Out().Type.Rank()
	t := permuted(old.Out().Type, swapLast(rank))
	mm := e.g.InsertBefore(old, "", "MatMul", nil, []*ir.Value{q, k}, name+".scores")
	mm.Out().Type = t
	e.r.inherit(mm, old)
	a.scores, a.qSide = mm, 0
	e.did("turned round")

	// scale and softmax commute with the transposition: where nothing else stands
	// between, the whole chain turns round
	chain := []*ir.Node{}
	v := old.Out()
	for n := soleUser(v); n != nil && n != a.softmax; n = soleUser(v) {
		if _, ok := scalarFactor(n, v); !ok {
			break
		}
		chain = append(chain, n)
		v = n.Out()
	}
	after := soleUser(a.softmax.Out())
	if soleUser(v) == a.softmax && after.Is("Transpose") && samePerm(perm(after), swapLast(rank)) {
		first := a.softmax
		if len(chain) > 0 {
			first = chain[0]
		}
		for i, in := range first.Inputs {
			if in == old.Out() {
				first.SetInput(i, mm.Out())
			}
		}
		for _, n := range append(chain, a.softmax) {
			n.Out().Type = t
			e.r.rewrote(n)
		}
		a.softmax.Attrs["axis"] = int64(-1)
		e.g.ReplaceUses(after.Out(), a.softmax.Out())
		e.g.Remove(after)
		e.g.Remove(old)
		return
	}
	back := e.add(old, "Transpose", name+".t", ir.Attrs{"perm": ir.Int64s(swapLast(rank)...)}, old.Out().Type, mm.Out())
	substitute(e.g, old.Out(), back)
	e.g.Remove(old)
}

func samePerm(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// contextOrder rewrites vᵀ·pᵀ as the transpose of p·v.
func (e *attentionEdit) contextOrder() {
	a := e.a
	if a.probSide == 0 {
		return
	}
	old := a.context
	name := old.Out().Name
	rank := old.Out().Type.Rank()
	if rank < 2 {
		return
	}
	p := e.swap(old, old.Inputs[1], name+".p")
	v := e.swap(old, old.Inputs[0], name+".v")
	t := permuted(old.Out().Type, swapLast(rank))
	mm := e.g.InsertBefore(old, "", "MatMul", nil, []*ir.Value{p, v}, name+".context")
	mm.Out().Type = t
	e.r.inherit(mm, old)
	back := e.add(old, "Transpose", name, ir.Attrs{"perm": ir.Int64s(swapLast(rank)...)}, old.Out().Type, mm.Out())
	substitute(e.g, old.Out(), back)
	e.g.Remove(old)
	a.context, a.probSide = mm, 0
	e.did("context turned")
}

// transposeK makes the second operand of the scores a Transpose of k that swaps
// the last two axes and nothing else.
func (e *attentionEdit) transposeK() {
	a := e.a
	kT := a.scores.Inputs[1]
	rank := kT.Type.Rank()
	if rank < 3 {
		return
	}
	if t := def(kT, "Transpose"); t != nil && samePerm(perm(t), swapLast(rank)) {
		return
	}
	name := a.scores.Out().Name
	k := e.swap(a.scores, kT, name+".k")
	a.scores.SetInput(1, e.add(a.scores, "Transpose", name+".kT", ir.Attrs{"perm": ir.Int64s(swapLast(rank)...)}, kT.Type, k))
	e.did("k transposed")
}

// splitHeads takes apart an axis that holds batch and heads together.
func (e *attentionEdit) splitHeads() {
	a := e.a
	q, v := a.q(), a.v()
	if q.Type.Rank() != 3 || a.k().Type.Rank() != 3 || v.Type.Rank() != 3 || a.heads < 1 || a.scores.Out().Type.Rank() != 3 {
		return
	}
	kT := a.k()
	n, m, d, dv := known(q, 1), known(kT, 2), a.dim, known(v, 2)
	if n < 0 || m < 0 || dv < 0 || !mergesHeads(dim(q, 0), a.heads) {
		e.r.Note(a.scores, "batch and heads stay merged: the shape of q is %v", q.Type)
		return
	}
	name := a.scores.Out().Name
	split := func(ref *ir.Node, v *ir.Value, name string, rows, cols int) *ir.Value {
		return e.reshape(ref, v, name, -1, a.heads, rows, cols)
	}
	k3 := e.swap(a.scores, kT, name+".k3")
	q4 := split(a.scores, q, name+".q", n, d)
	k4 := split(a.scores, k3, name+".k", m, d)
	lead := q4.Type.Shape[0]
	kT4 := e.add(a.scores, "Transpose", name+".kT", ir.Attrs{"perm": ir.Int64s(swapLast(4)...)},
		ir.TensorType(ir.Float32, ir.Shape{lead, ir.D(a.heads), ir.D(d), ir.D(m)}), k4)

	mm := e.g.InsertBefore(a.scores, "", "MatMul", nil, []*ir.Value{q4, kT4}, name)
	scores4 := ir.TensorType(ir.Float32, ir.Shape{lead, ir.D(a.heads), ir.D(n), ir.D(m)})
	mm.Out().Type = scores4
	e.r.inherit(mm, a.scores)

	// only scale and softmax in between: they run on four axes too
	old := a.scores.Out()
	out := old
	var chain []*ir.Node
	for u := soleUser(out); u != nil; u = soleUser(out) {
		if _, ok := scalarFactor(u, out); !ok && u != a.softmax {
			break
		}
		chain = append(chain, u)
		out = u.Out()
		if u == a.softmax {
			break
		}
	}
	var p4 *ir.Value
	if k := len(chain); k > 0 && chain[k-1] == a.softmax && soleUser(a.softmax.Out()) == a.context && !e.g.IsOutput(a.softmax.Out()) {
		for i, in := range chain[0].Inputs {
			if in == old {
				chain[0].SetInput(i, mm.Out())
			}
		}
		for _, u := range chain {
			u.Out().Type = scores4
			e.r.rewrote(u)
		}
		a.softmax.Attrs["axis"] = int64(-1)
		p4 = a.softmax.Out()
		e.g.Remove(a.scores)
	} else {
		flat := e.reshape(a.scores, mm.Out(), name+".merged", -1, n, m)
		flat.Type = old.Type
		substitute(e.g, old, flat)
		e.g.Remove(a.scores)
		p4 = split(a.context, a.context.Inputs[0], a.context.Out().Name+".p", n, m)
	}
	v4 := split(a.context, v, a.context.Out().Name+".v", m, dv)
	ctx := e.g.InsertBefore(a.context, "", "MatMul", nil, []*ir.Value{p4, v4}, a.context.Out().Name+".heads")
	ctx.Out().Type = ir.TensorType(ir.Float32, ir.Shape{lead, ir.D(a.heads), ir.D(n), ir.D(dv)})
	e.r.inherit(ctx, a.context)
	merged := e.reshape(a.context, ctx.Out(), a.context.Out().Name+".merged", -1, n, dv)
	merged.Type = a.context.Out().Type
	substitute(e.g, a.context.Out(), merged)
	e.g.Remove(a.context)
	a.scores, a.context = mm, ctx
	e.did("heads split")
}

// mergesHeads reports whether d can be batch times heads.
func mergesHeads(d ir.Dim, heads int) bool {
	return !d.Known() || int(d.Size)%heads == 0
}

func (e *attentionEdit) reshape(ref *ir.Node, v *ir.Value, name string, dims ...int) *ir.Value {
	target := e.g.AddConst(name+".shape", ir.Of(ir.Int64s(dims...), len(dims)))
	shape := make(ir.Shape, len(dims))
	rest := 1
	for i, d := range dims {
		shape[i] = ir.D(d)
		if d < 0 {
			shape[i] = ir.UnknownDim
		} else {
			rest *= d
		}
	}
	if all, ok := v.Type.Shape.Ints(); ok && v.Type.Ranked {
		total, err := ir.NumElems(all)
		for i, d := range dims {
			if d < 0 && err == nil {
				shape[i] = ir.D(total / rest)
			}
		}
	}
	return e.add(ref, "Reshape", name, nil, ir.TensorType(ir.Float32, shape), v, target)
}
