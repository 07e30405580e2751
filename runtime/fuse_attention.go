package runtime

import (
	"slices"

	"github.com/qvitc/qvitc/internal/kernel"
)

// rowOp is one elementwise step between the scores and their softmax, on a row of
// logits at a time: what = logits (kind) operand. The operand is one number a row
// (col 0), one row of numbers (col 1), or the product of the two.
type rowOp struct {
	kind  binaryKind
	by    spreadOf
	outer bool     // the operand is by·across
	cross spreadOf // varies along the row
}

// spreadOf is a value broadcast over the rows of many matrices.
type spreadOf struct {
	id       int
	at       []int32 // offset by matrix; nil: 0
	row, col int     // strides
}

func (s *spreadOf) offset(matrix, row int) int {
	at := row * s.row
	if s.at != nil {
		at += int(s.at[matrix])
	}
	return at
}

// attention makes one step of scores, softmax and context, found around a softmax
// between two products of codes.
func (f *fuser) attention(s step) bool {
	sm, ok := s.(*softmax)
	if !ok || sm.log || sm.inner > 1 {
		return false
	}
	var ctx *qmatmul
	if r := f.readers[f.root(sm.y)]; len(r) == 1 {
		ctx, _ = r[0].(*qmatmul)
	}
	if ctx == nil || !f.whole(ctx.a) || f.maker(ctx.a, ctx) != step(sm) || f.root(ctx.b) == f.root(ctx.a) {
		return false
	}
	mats := len(ctx.products)
	ops, scores := f.logits(sm.x, sm, mats*ctx.m*ctx.k)
	if scores == nil || scores.m != ctx.m || scores.n != ctx.k || len(scores.products) != mats || !scores.turned || ctx.turned ||
		scores.zb != 0 || ctx.zb != 0 || ctx.za != 0 || !scores.dense() || !ctx.dense() || ctx.m*ctx.k*ctx.n*scores.k == 0 {
		return false
	}
	for _, op := range ops {
		if op.by.id < 0 {
			return false
		}
	}
	a := &attend{
		mats: mats, rows: ctx.m, keys: ctx.k, depth: scores.k, width: ctx.n, ops: ops, y: ctx.y, codes: -1, kept: -1, scores: scores.name,
		zq: scores.za, probs: ctx.gridA, kbits: scores.bbits, qbits: scores.abits, vbits: ctx.bbits, pbits: ctx.abits,
	}
	scales := map[float32][]float32{}
	for i := range mats {
		a.factor = append(a.factor, scores.products[i].as*scores.products[i].bs)
		k := ctx.products[i].as * ctx.products[i].bs
		columns := scales[k]
		if columns == nil {
			columns = slices.Repeat([]float32{k}, kernel.PanelWidth)
			scales[k] = columns
		}
		a.scale = append(a.scale, columns)
	}
	a.plain(f)
	q := f.operand(scores.a, scores, mats, a.rows, a.depth, scores.gridA)
	k := f.operand(scores.b, scores, mats, a.keys, a.depth, scores.gridB)
	v := f.operand(ctx.b, ctx, mats, a.keys, a.width, ctx.gridB)
	a.q, a.k, a.v = q.codes, k.codes, v.codes
	a.in, a.out = []int{q.codes, k.codes, v.codes}, []int{a.y}
	for _, op := range ops {
		a.in = append(a.in, op.by.id)
		if op.outer {
			a.in = append(a.in, op.cross.id)
		}
	}
	a.name, a.op = ctx.name, "Attention"
	f.plan(a)
	f.replace(ctx, a)
	return true
}

// dense reports whether the matrices of both operands follow each other.
func (s *qmatmul) dense() bool {
	for i, p := range s.products {
		if p.a != i*s.m*s.k || p.b != i*s.k*s.n {
			return false
		}
	}
	return true
}

// logits walks from the argument of a softmax back to the product of codes it is
// made of, over elementwise steps on n elements that nothing else reads.
func (f *fuser) logits(id int, reader step, n int) ([]rowOp, *qmatmul) {
	if f.p.values[id].n != n {
		return nil, nil
	}
	switch s := f.maker(id, reader).(type) {
	case *qmatmul:
		return nil, s
	case *binary:
		sides := [][2]int{{s.a, s.b}}
		if s.kind == opAdd || s.kind == opMul {
			sides = append(sides, [2]int{s.b, s.a})
		}
		for _, d := range sides {
			ops, scores := f.logits(d[0], s, n)
			if scores == nil {
				continue
			}
			op, ok := f.rowOp(s, d[1])
			if !ok {
				return nil, nil
			}
			return append(ops, op), scores
		}
	}
	return nil, nil
}

// rowOp describes the step s by its operand other than the logits.
func (f *fuser) rowOp(s *binary, other int) (rowOp, bool) {
	if m, ok := f.maker(other, s).(*binary); ok && m.kind == opMul && f.p.values[other].n == f.p.values[s.y].n {
		a, okA := f.spread(m.y, m.a)
		b, okB := f.spread(m.y, m.b)
		if okA && okB && a.col != b.col {
			if a.col == 1 {
				a, b = b, a
			}
			return rowOp{kind: s.kind, by: a, outer: true, cross: b}, true
		}
	}
	by, ok := f.spread(s.y, other)
	return rowOp{kind: s.kind, by: by}, ok
}

// spread describes how b is read as broadcast to the matrices of y.
func (f *fuser) spread(y, b int) (spreadOf, bool) {
	ys, bs := f.p.values[y].shape, f.p.values[b].shape
	r := len(ys)
	if r < 2 || len(bs) > r {
		return spreadOf{}, false
	}
	st := broadcastStrides(bs, ys)
	s := spreadOf{id: b, row: st[r-2], col: st[r-1]}
	if ys[r-1] == 1 {
		s.col = 1
	}
	if s.col > 1 {
		return spreadOf{}, false
	}
	for i := range size(ys[:r-2]) {
		at, rest := 0, i
		for d := r - 3; d >= 0; d-- {
			at += rest % ys[d] * st[d]
			rest /= ys[d]
		}
		s.at = append(s.at, int32(at))
	}
	if !slices.ContainsFunc(s.at, func(at int32) bool { return at != 0 }) {
		s.at = nil
	}
	return s, true
}

// operand puts a step in front of reader that makes the codes of one side of a
// product: rows × width of each of the matrices of id. A normalisation in
// front of the quantiser (IRM, method.md 5) is done there too.
func (f *fuser) operand(id int, reader step, mats, rows, width int, grids []kernel.Grid) *headCodes {
	h := &headCodes{mats: mats, rows: rows, width: width, grids: grids, gamma: -1, beta: -1, mean: -1, spread: -1}
	h.codes = f.c.codeRows(mats*rows, width)
	h.name, h.op = reader.plan().name, "Heads"
	source, place := id, reader
	if l, ok := f.made[f.root(id)].(*layerNorm); ok && l.n == width && f.root(l.y) == f.root(id) && f.whole(l.y) && f.whole(id) &&
		f.onlyFor(origin{root: f.root(id)}, reader) {
		h.norm, h.gamma, h.beta, h.eps = true, l.gamma, l.beta, l.eps
		if l.meanOut {
			h.mean = l.mean
		}
		h.spread = l.spread
		source, place = l.x, l
		h.name = l.name
	}
	o := f.trace(source)
	h.from = f.units(o, source, width)
	h.x = o.root
	if h.from == nil {
		h.x = source
	} else if identity(h.from) && f.p.values[o.root].n == f.p.values[source].n {
		h.from = nil
	}
	h.in, h.out = []int{h.x}, []int{h.codes}
	for _, id := range []int{h.gamma, h.beta} {
		if id >= 0 {
			h.in = append(h.in, id)
		}
	}
	for _, id := range []int{h.mean, h.spread} {
		if id >= 0 {
			h.out = append(h.out, id)
		}
	}
	f.c.p.hand.ask(0, headRows*(width+2), 0)
	at := slices.Index(f.p.steps, place)
	if h.norm {
		f.p.steps[at] = h
	} else {
		f.p.steps = slices.Insert(f.p.steps, at, step(h))
	}
	return h
}

// contextCodes lets an attention write the codes of the linear layer that reads it.
func (f *fuser) contextCodes(s step) bool {
	q, ok := s.(*quantise)
	if !ok {
		return false
	}
	o := f.trace(q.x)
	a, ok := f.made[o.root].(*attend)
	if !ok || a.codes >= 0 || f.root(a.y) != o.root || !f.whole(a.y) || q.k%a.width != 0 || !f.onlyFor(o, q) {
		return false
	}
	to := inverse(f.units(o, q.x, a.width), a.mats*a.rows)
	if to == nil {
		return false
	}
	a.to, a.perRow, a.codes, a.grid = to, q.k/a.width, q.y, f.c.kernelGrid(q.grid)
	a.out = []int{q.y}
	f.remove(a)
	f.replace(q, a)
	return true
}
