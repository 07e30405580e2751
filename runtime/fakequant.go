package runtime

import (
	"fmt"
	"math"

	"github.com/qvitc/qvitc/internal/kernel"
	"github.com/qvitc/qvitc/ir"
)

// fakeQuant is the quantiser of method.md 2.4, forward and straight-through
// gradient (2.3). Groups are the slices of x along one axis; without an axis
// there is one group.
type fakeQuant struct {
	base
	x, scale, zero, y int // zero: -1 where left out
	dxg, dsg, dzg     grad
	zr                int // rounded zero points, where there are any
	outer, groups     int
	inner             int
	qn, qp            float32
	node              *ir.Node

	u8, s8, weight int    // codes that integer products read; -1: none
	cols, ld       int    // rows of u8: codes, and bytes from one to the next
	flat           int    // scratch of a weight
	columns        int    // of a weight
	gelu           bool   // what is quantised is the GELU of x; codes alone are wanted
	fixed          []int8 // codes of a weight that cannot change
	watch          bool   // an argument that is not finite is an error
}

func buildFakeQuant(c *compiler, n *ir.Node) (bool, error) {
	x := n.Inputs[0]
	if !isFloat(x) || !isFloat(n.Inputs[1]) || (n.Input(2) != nil && !isFloat(n.Input(2))) {
		return false, nil
	}
	in := c.shape(x)
	s := &fakeQuant{outer: 1, groups: 1, inner: size(in), node: n}
	if n.Attrs.Has("axis") && len(in) > 0 {
		a := wrapAxis(n.Attrs.Int("axis", 0), len(in))
		s.outer, s.groups, s.inner = size(in[:a]), in[a], size(in[a+1:])
	}
	if size(c.shape(n.Inputs[1])) != s.groups {
		return false, n.Errorf("the scale has shape %v for an input of shape %v: want %d values", c.shape(n.Inputs[1]), in, s.groups)
	}
	s.qn, s.qp = quantRange(n.Attrs.Int("bits", 8), n.Attrs.Int("signed", 0) != 0)
	c.quants[n] = s
	r := c.codeReaders(n.Out())
	if r.weight {
		s.columns = in[len(in)-1]
	}
	if (r == codeReaders{weight: true}) && c.fixed(x) != nil && c.fixed(n.Inputs[1]) != nil {
		s.x, s.scale, s.zero, s.zr, s.y, s.weight = c.value(x), c.value(n.Inputs[1]), -1, -1, c.value(n.Out()), -1
		c.p.values[s.y].kind = ghost
		return true, c.fixedWeight(s, n)
	}
	if err := c.addFakeQuant(n, s, c.value(x), c.value(n.Inputs[1]), c.value(n.Input(2))); err != nil {
		return true, err
	}
	c.addCodes(s, r)
	return true, nil
}

// addFakeQuant completes and emits a quantiser whose layout and range are set.
func (c *compiler) addFakeQuant(n *ir.Node, s *fakeQuant, x, scale, zero int) error {
	s.x, s.scale, s.zero, s.y = x, scale, zero, c.value(n.Out())
	s.u8, s.s8, s.weight = -1, -1, -1
	s.in, s.out, s.keep = []int{x, scale}, []int{s.y}, []int{x, scale}
	s.dxg.id, s.dsg.id, s.dzg.id = x, scale, zero
	s.dx = []*grad{&s.dxg, &s.dsg}
	s.zr = -1
	if zero >= 0 {
		s.in = append(s.in, zero)
		s.dx = append(s.dx, &s.dzg)
		s.zr = c.temp(&s.base, s.groups, untilBack)
	}
	s.watch = c.cfg.Train && n.Inputs[0].Const == nil
	c.p.f64 = max(c.p.f64, 2*s.groups)
	c.emit(n, s)
	return nil
}

// quantRange gives Qn and Qp for a width in bits.
func quantRange(bits int, signed bool) (qn, qp float32) {
	if signed {
		return -float32(int(1) << (bits - 1)), float32(int(1)<<(bits-1) - 1)
	}
	return 0, float32(int(1)<<bits - 1)
}

func (s *fakeQuant) checkScale(scale []float32) error {
	for i, a := range scale {
		if !(a > 0) || math.IsInf(float64(a), 1) {
			return s.node.Errorf("scale %d is %v: the quantiser is not calibrated", i, a)
		}
	}
	return nil
}

// NotFiniteError says that a quantiser in training was given a number that is not finite,
// which would have become a code like any other.
type NotFiniteError struct {
	Node, Tensor string // the quantiser and its argument
	Index        int    // element of it
	Value        float32
}

func (e *NotFiniteError) Error() string {
	return fmt.Sprintf("node %s: element %d of tensor %s is %v, which has no code", ir.Quote(e.Node), e.Index, ir.Quote(e.Tensor), e.Value)
}

func (s *fakeQuant) notFinite(i int, v float32) error {
	return &NotFiniteError{Node: s.node.Label(), Tensor: s.node.Inputs[0].Name, Index: i, Value: v}
}

func (s *fakeQuant) forward(st *State) error {
	x, y, scale := st.v[s.x], st.v[s.y], st.v[s.scale]
	zr, err := s.grid(st)
	if err != nil {
		return err
	}
	if s.u8 >= 0 || s.s8 >= 0 {
		err = s.encode(st)
	} else {
		err = s.check(st, 0, x)
	}
	if err != nil {
		return err
	}
	if s.weight >= 0 {
		s.encodeWeight(st)
	}
	if y != nil {
		s.floats(y, x, scale, zr)
	}
	return nil
}

// check looks for the first number that is not finite in x, which begins at element at.
func (s *fakeQuant) check(st *State, at int, x []float32) error {
	if s.watch {
		if i := st.w.NotFinite(x); i >= 0 {
			return s.notFinite(at+i, x[i])
		}
	}
	return nil
}

// grid checks the scale and gives the rounded zero points, nil where there are none.
func (s *fakeQuant) grid(st *State) ([]float32, error) {
	zr := opt(st.v, s.zr)
	for i := range zr {
		zr[i] = float32(math.RoundToEven(float64(st.v[s.zero][i])))
	}
	return zr, s.checkScale(st.v[s.scale])
}

// floats writes the values on the grid.
func (s *fakeQuant) floats(y, x, scale, zr []float32) {
	if s.inner == 1 && s.groups > 1 {
		kernel.FakeQuantCols(y, x, scale, zr, s.qn, s.qp, s.outer, s.groups)
		return
	}
	for i := range s.outer * s.groups {
		g := i % s.groups
		var z float32
		if zr != nil {
			z = zr[g]
		}
		kernel.FakeQuant(y[i*s.inner:][:s.inner], x[i*s.inner:], scale[g], z, s.qn, s.qp)
	}
}

func (s *fakeQuant) backward(st *State) {
	x, dy, scale, zr := st.v[s.x], st.g[s.y], st.v[s.scale], opt(st.v, s.zr)
	var dx []float32
	if s.dxg.want {
		dx = st.g[s.x]
	}
	da, dz := st.f64[:s.groups], st.f64[s.groups:2*s.groups]
	clear(da)
	clear(dz)
	if s.gelu {
		da[0], dz[0] = s.geluBackward(st, dx, x, dy, scale[0])
	} else if s.inner == 1 && s.groups > 1 {
		if !s.dzg.want {
			dz = nil
		}
		kernel.FakeQuantColsBackward(dx, x, dy, scale, zr, s.qn, s.qp, da, dz, s.outer, s.groups, s.dxg.acc)
	} else {
		for i := range s.outer * s.groups {
			g := i % s.groups
			var z float32
			if zr != nil {
				z = zr[g]
			}
			at := i * s.inner
			var d []float32
			if dx != nil {
				d = dx[at:][:s.inner]
			}
			a, b := kernel.FakeQuantBackward(d, x[at:][:s.inner], dy[at:], scale[g], z, s.qn, s.qp, s.dxg.acc)
			da[g] += a
			dz[g] += b
		}
	}
	addGroups(target(st, &s.dsg), da)
	addGroups(target(st, &s.dzg), dz)
}

// geluBackward is the gradient through the GELU.
func (s *fakeQuant) geluBackward(st *State, dx, x, dy []float32, alpha float32) (da, dz float64) {
	zero := s.zeroAt(st, 0)
	if dx != nil {
		return kernel.GeluQuantBackward(&st.w, dx, x, dy, alpha, zero, s.qn, s.qp, s.dxg.acc)
	}
	for i := 0; i < len(x); i += geluRun {
		n := min(geluRun, len(x)-i)
		kernel.Gelu(st.tmp[:n], x[i:])
		a, z := kernel.FakeQuantBackward(nil, st.tmp[:n], dy[i:], alpha, zero, s.qn, s.qp, false)
		da, dz = da+a, dz+z
	}
	return da, dz
}

func addGroups(g []float32, sums []float64) {
	for i := range g {
		g[i] += float32(sums[i])
	}
}
