package runtime

import "slices"

// Fusing in training. Steps between two products that only read and write what lies
// between them are joined, so that it is passed over once; each fused step has its
// gradient, and forward the bits of the single steps.

// fuseTraining joins the steps of a program that trains.
func (c *compiler) fuseTraining() {
	f := &fuser{c: c, p: c.p}
	for _, rewrite := range []func(step) bool{f.logitSoftmax, f.rescaling, f.geluCodes, f.logitCodes} {
		f.index()
		for _, s := range slices.Clone(f.p.steps) {
			if rewrite(s) {
				f.index()
			}
		}
		c.dropDead()
	}
}

// geluCodes lets a quantiser whose codes alone are wanted compute the GELU before it:
// its values are never written, and not kept.
func (f *fuser) geluCodes(s step) bool {
	q, ok := s.(*fakeQuant)
	if !ok || q.gelu || q.groups != 1 || q.u8 < 0 || q.s8 >= 0 || q.weight >= 0 || f.p.values[q.y].kind != ghost {
		return false
	}
	u, ok := f.maker(q.x, q).(*unary)
	if !ok || !u.gelu || f.p.values[u.x].n != f.p.values[q.x].n {
		return false
	}
	for _, ids := range [][]int{q.in, q.keep} {
		ids[slices.Index(ids, q.x)] = u.x
	}
	q.gelu, q.x, q.dxg.id = true, u.x, u.x
	q.op = "Gelu+" + q.op
	f.c.p.tmp = max(f.c.p.tmp, q.cols, geluRun)
	f.remove(u)
	return true
}

// logitCodes lets the softmax of attention write the codes of its quantiser, whose
// gradient it then passes on too.
func (f *fuser) logitCodes(s step) bool {
	q, ok := s.(*fakeQuant)
	if !ok || q.gelu || q.u8 < 0 || q.s8 >= 0 || q.weight >= 0 || f.p.values[q.y].kind != ghost {
		return false
	}
	l, ok := f.maker(q.x, q).(*logits)
	if !ok || !l.softmax || q.cols != l.n || f.p.values[q.x].n != l.mats*l.rows*l.n || q.inner%(l.rows*l.n) != 0 {
		return false
	}
	l.codes = q
	l.in, l.out = append(l.in, q.in[1:]...), q.out
	l.keep = append(l.keep, q.scale)
	// The probabilities are the step's own from here on: they have no gradient.
	y := &f.p.values[l.y]
	y.kind, y.life = temporary, untilBack
	l.tmp = append(append(l.tmp, q.tmp...), l.y)
	l.dx = append(l.dx, q.dx[1:]...)
	f.c.p.f64 = max(f.c.p.f64, 2*q.groups)
	l.op += "+" + q.op
	f.remove(q)
	return true
}
