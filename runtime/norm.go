package runtime

import (
	"github.com/qvitc/qvitc/internal/kernel"
	"github.com/qvitc/qvitc/ir"
)

// layerNorm normalises the trailing axes (ONNX LayerNormalization-17), or the
// last one where the graph spells it out (see spelled).
type layerNorm struct {
	base
	x, gamma, beta, y int  // gamma and beta: -1 where left out
	mean, rstd        int  // one number a row
	meanOut           bool // other steps read mean
	spread            int  // 1/rstd for other steps; -1: nobody reads it
	dxg, dgamma, dbet grad
	rows, n           int
	eps               float32
}

func buildLayerNorm(c *compiler, n *ir.Node) (bool, error) {
	x := n.Inputs[0]
	in := c.shape(x)
	axis := wrapAxis(n.Attrs.Int("axis", -1), len(in))
	s := &layerNorm{rows: size(in[:axis]), n: size(in[axis:]), eps: n.Attrs.Float("epsilon", 1e-5), spread: -1}
	for i := range n.Outputs {
		if o := n.Outputs[i]; i > 0 && o != nil && (c.users(o) > 0 || c.kept(o)) {
			return false, nil
		}
	}
	for _, v := range n.Inputs[1:] {
		if v != nil && size(c.shape(v)) != s.n {
			return false, nil
		}
	}
	s.x, s.gamma, s.beta, s.y = c.value(x), c.value(n.Input(1)), c.value(n.Input(2)), c.value(n.Out())
	c.addLayerNorm(n, s)
	return true, nil
}

// addLayerNorm completes and emits a step whose operands are set.
func (c *compiler) addLayerNorm(n *ir.Node, s *layerNorm) {
	if !s.meanOut {
		s.mean = c.temp(&s.base, s.rows, untilBack)
	}
	s.rstd = c.temp(&s.base, s.rows, untilBack)
	s.in, s.out = []int{s.x}, append(s.out, s.y)
	s.keep = append(s.keep, s.x)
	s.dxg.id, s.dgamma.id, s.dbet.id = s.x, s.gamma, s.beta
	s.dx = []*grad{&s.dxg}
	if s.gamma >= 0 {
		s.in, s.keep, s.dx = append(s.in, s.gamma), append(s.keep, s.gamma), append(s.dx, &s.dgamma)
	}
	if s.beta >= 0 {
		s.in, s.dx = append(s.in, s.beta), append(s.dx, &s.dbet)
	}
	c.emit(n, s)
}

// opt is a value's data, or nil for one that is left out.
func opt(data [][]float32, id int) []float32 {
	if id < 0 {
		return nil
	}
	return data[id]
}

func (s *layerNorm) forward(st *State) error {
	kernel.LayerNorm(st.v[s.y], st.v[s.mean], st.v[s.rstd], st.v[s.x], opt(st.v, s.gamma), opt(st.v, s.beta), s.rows, s.n, s.eps)
	if s.spread >= 0 {
		rstd := st.v[s.rstd]
		for i := range st.v[s.spread] {
			st.v[s.spread][i] = 1 / rstd[i]
		}
	}
	return nil
}

func (s *layerNorm) backward(st *State) {
	var dx []float32
	if s.dxg.want {
		dx = st.g[s.x]
	}
	var dmean, dspread []float32 // where other steps read them
	if s.meanOut {
		dmean = st.g[s.mean]
	}
	if s.spread >= 0 {
		dspread = st.g[s.spread]
	}
	kernel.LayerNormBackward(dx, target(st, &s.dgamma), target(st, &s.dbet), st.g[s.y], st.v[s.x], opt(st.v, s.gamma),
		st.v[s.mean], st.v[s.rstd], dmean, dspread, s.rows, s.n, s.dxg.acc)
}

// target is the gradient that a kernel adds to, cleared where it is the first to
// write; nil where nobody wants it.
func target(st *State, d *grad) []float32 {
	if !d.want {
		return nil
	}
	g := st.g[d.id]
	if !d.acc {
		clear(g)
	}
	return g
}
