package passes

import (
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// irmEpsilon is the eps of the released code (method.md 5.2).
const irmEpsilon = 1e-5

// InsertIRM makes the pass that puts the information rectification module of
// the plan on q and k.
func InsertIRM(p Plan) Pass {
	return Pass{
		Name: "insert-irm",
		Doc: `put the information rectification module on q and k (method.md 5)

layernorm: q and k pass through a LayerNormalization over the head width, gamma 1
and beta 0. rescale: q and k are normalised to n and m, and the scores become
(n.m)*s*t + d*mu*nu with the statistics taken off before, which is the same
function in float as long as gamma is 1 and beta is 0. static: mean and spread are
constants a head that calibration sets, with gamma and beta a channel that first
undo them; FoldIRM moves all four into the projection. The nodes that make the
rectified values have the roles irm_q and irm_k.`,
		Run: func(g *ir.Graph, r *Report) (bool, error) { return insertIRM(g, r, p) },
	}
}

func insertIRM(g *ir.Graph, r *Report, p Plan) (bool, error) {
	layers, err := p.Resolve(g)
	if err != nil || p.IRM == IRMOff {
		return false, err
	}
	if _, err := ops.Infer(g); err != nil {
		return false, err
	}
	changed := false
	for _, l := range layers {
		if l.Role != ir.RoleScores || l.Float() || !l.Node.Is("MatMul") {
			continue
		}
		e := irmEdit{g: g, r: r, scores: l.Node, block: l.Block, name: parentName(l.Name), perHead: p.IRMPerHead}
		if e.present() {
			continue
		}
		if !e.fits() {
			r.Note(l.Node, "no IRM: the shape of q is %v", l.Node.Inputs[0].Type)
			continue
		}
		switch p.IRM {
		case IRMLayerNorm:
			e.layerNorm()
		case IRMStatic:
			e.static()
		default:
			e.rescale()
		}
		r.Count(p.IRM, 1)
		changed = true
	}
	return changed, nil
}

type irmEdit struct {
	g       *ir.Graph
	r       *Report
	scores  *ir.Node
	block   int
	name    string
	perHead bool

	trans *ir.Node // the Transpose of k
	width int
	heads int
}

func (e *irmEdit) present() bool {
	for _, v := range []*ir.Value{e.scores.Inputs[0], beforeTranspose(e.scores.Inputs[1])} {
		if d := beforeQuant(v).Def; d != nil && (d.Role.Kind == ir.RoleIRMQ || d.Role.Kind == ir.RoleIRMK) {
			return true
		}
	}
	return false
}

func beforeTranspose(v *ir.Value) *ir.Value {
	if t := def(v, "Transpose"); t != nil {
		return t.Inputs[0]
	}
	return v
}

func (e *irmEdit) fits() bool {
	q := e.scores.Inputs[0]
	e.trans = def(e.scores.Inputs[1], "Transpose")
	if e.trans == nil || !samePerm(perm(e.trans), swapLast(e.scores.Inputs[1].Type.Rank())) {
		return false
	}
	rank := q.Type.Rank()
	e.width = known(q, -1)
	if rank >= 4 {
		e.heads = known(q, rank-3)
	}
	return e.width > 0 && rank >= 3 && !(e.perHead && e.heads < 1)
}

// add makes a node before the scores.
func (e *irmEdit) add(op, name string, attrs ir.Attrs, t ir.Type, in ...*ir.Value) *ir.Value {
	n := e.r.rewrote(e.g.InsertBefore(e.scores, "", op, attrs, in, name))
	n.Name = name
	n.Out().Type = t
	return n.Out()
}

// row makes a constant of the head width (or one row a head) filled with x.
func (e *irmEdit) row(name string, x float32) *ir.Value {
	shape := []int{e.width}
	n := e.width
	if e.perHead {
		shape = []int{e.heads, 1, e.width}
		n *= e.heads
	}
	d := make([]float32, n)
	for i := range d {
		d[i] = x
	}
	return e.g.AddConst(name, ir.Of(d, shape...))
}

// place puts the rectified values in front of the product and gives them roles.
func (e *irmEdit) place(q, k *ir.Value) {
	q.Def.Role = ir.Role{Kind: ir.RoleIRMQ, Block: e.block}
	k.Def.Role = ir.Role{Kind: ir.RoleIRMK, Block: e.block}
	e.scores.SetInput(0, q)
	if len(e.trans.Out().Uses()) > 1 {
		t := e.add("Transpose", e.name+".irm_k.t", ir.Attrs{"perm": ir.Int64s(perm(e.trans)...)}, e.trans.Out().Type, k)
		e.scores.SetInput(1, t)
		return
	}
	e.trans.SetInput(0, k)
	e.g.MoveBefore(e.trans, e.scores)
	e.r.rewrote(e.scores)
}

func (e *irmEdit) layerNorm() {
	norm := func(v *ir.Value, name string) *ir.Value {
		if !e.perHead {
			return e.add("LayerNormalization", name, ir.Attrs{"axis": int64(-1), "epsilon": float32(irmEpsilon)}, v.Type,
				v, e.row(name+".gamma", 1), e.row(name+".beta", 0))
		}
		one := make([]float32, e.width)
		for i := range one {
			one[i] = 1
		}
		n := e.add("LayerNormalization", name+".norm", ir.Attrs{"axis": int64(-1), "epsilon": float32(irmEpsilon)}, v.Type,
			v, e.g.AddConst(name+".ones", ir.Of(one, e.width)))
		return e.affine(n, name)
	}
	e.place(norm(e.scores.Inputs[0], e.name+".irm_q"), norm(e.trans.Inputs[0], e.name+".irm_k"))
}

// affine applies gamma (1) and beta (0).
func (e *irmEdit) affine(v *ir.Value, name string) *ir.Value {
	g := e.add("Mul", name+".mul", nil, v.Type, v, e.row(name+".gamma", 1))
	return e.add("Add", name, nil, v.Type, g, e.row(name+".beta", 0))
}

// rescale builds method.md 5.5: with mu, s the mean and spread of a row of q
// and nu, t those of k, q.k = s*t*(n.m) + d*mu*nu.
func (e *irmEdit) rescale() {
	stats := func(v *ir.Value, name string) (mean, spread, normed *ir.Value) {
		col := v.Type
		col.Shape = append(ir.Shape(nil), v.Type.Shape...)
		col.Shape[len(col.Shape)-1] = ir.D(1)
		axes := e.g.AddConst(name+".axes", ir.Of([]int64{-1}, 1))
		keep := ir.Attrs{"keepdims": int64(1)}
		mean = e.add("ReduceMean", name+".mean", keep.Clone(), col, v, axes)
		c := e.add("Sub", name+".centred", nil, v.Type, v, mean)
		sq := e.add("Mul", name+".square", nil, v.Type, c, c)
		va := e.add("ReduceMean", name+".var", keep.Clone(), col, sq, axes)
		va = e.add("Add", name+".var_eps", nil, col, va, e.g.AddConst(name+".eps", ir.Scalar(float32(irmEpsilon))))
		spread = e.add("Sqrt", name+".spread", nil, col, va)
		normed = e.affine(e.add("Div", name+".norm", nil, v.Type, c, spread), name)
		return mean, spread, normed
	}
	out := e.scores.Out()
	mu, s, n := stats(e.scores.Inputs[0], e.name+".irm_q")
	nu, t, m := stats(e.trans.Inputs[0], e.name+".irm_k")
	row := permuted(nu.Type, swapLast(nu.Type.Rank()))
	swap := ir.Attrs{"perm": ir.Int64s(swapLast(nu.Type.Rank())...)}
	tT := e.add("Transpose", e.name+".irm_k.spread_t", swap.Clone(), row, t)
	nuT := e.add("Transpose", e.name+".irm_k.mean_t", swap.Clone(), row, nu)
	e.place(n, m)

	after := e.scores.Next()
	add := func(op, name string, a, b *ir.Value) *ir.Value {
		k := e.r.rewrote(e.g.InsertBefore(after, "", op, nil, []*ir.Value{a, b}, e.name+name))
		k.Name = e.name + name
		k.Out().Type = out.Type
		return k.Out()
	}
	d := e.g.AddConst(e.name+".irm.width", ir.Scalar(float32(e.width)))
	// made first, so that later readers of the scores are all redirected
	hold := e.g.InsertBefore(after, "", "Identity", nil, []*ir.Value{out}, e.name+".hold")
	hold.Out().Type = out.Type
	e.g.ReplaceUses(out, hold.Out())
	hold.SetInput(0, out)
	x := add("Mul", ".irm.rows", out, s)
	x = add("Mul", ".irm.columns", x, tT)
	mean := add("Mul", ".irm.mean_d", mu, d)
	mean.Type = mu.Type
	mean = add("Mul", ".irm.mean", mean, nuT)
	x = add("Add", ".irm.scores", x, mean)
	e.g.ReplaceUses(hold.Out(), x)
	e.g.Remove(hold)
}
