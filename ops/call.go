package ops

import (
	"github.com/qvitc/qvitc/ir"
)

// MaxElems is the largest number of elements of a tensor that Eval makes.
const MaxElems = 1 << 28

// maxContent is the largest tensor whose content inference follows.
const maxContent = 1024

// call is one node together with what is known of its inputs. Inference fills
// out; evaluation, where every input tensor is at hand, also fills res. Both
// use the same infer function, so a shape rule is written once.
type call struct {
	*ir.Node
	op  *Op
	in  []fact
	out []fact
	res []*ir.Tensor
}

// fact is what is known of one value.
type fact struct {
	have   bool // the optional parameter is given
	elem   ir.Elem
	ranked bool
	dims   []num
	vals   []num      // symbolic content, row-major; nil when not followed
	tensor *ir.Tensor // the content itself, when known
}

func (f *fact) typ() ir.Type {
	t := ir.Type{Elem: f.elem, Ranked: f.ranked}
	if f.ranked {
		t.Shape = make(ir.Shape, len(f.dims))
		for i, d := range f.dims {
			t.Shape[i] = d.dim()
		}
	}
	return t
}

func (f *fact) setType(t ir.Type) {
	f.elem, f.ranked, f.dims = t.Elem, t.Ranked, nil
	if t.Ranked {
		f.dims = make([]num, len(t.Shape))
		for i, d := range t.Shape {
			f.dims[i] = fromDim(d)
		}
	}
}

func tensorFact(t *ir.Tensor) fact {
	f := fact{have: true, elem: t.Elem, ranked: true, tensor: t, dims: make([]num, len(t.Shape))}
	for i, d := range t.Shape {
		f.dims[i] = known(int64(d))
	}
	return f
}

// size is the number of elements; false when it is not known or overflows.
func (f *fact) size() (int64, bool) {
	if !f.ranked {
		return 0, false
	}
	n := known(1)
	for _, d := range f.dims {
		if n = n.mul(d); !n.isConst() {
			return 0, false
		}
	}
	return n.c, true
}

// content gives the elements of a small tensor as nums; nil when not followed.
func (f *fact) content() []num {
	if f.vals != nil || f.tensor == nil {
		return f.vals
	}
	n := f.tensor.Len()
	if n > maxContent || f.elem == ir.String {
		return nil
	}
	out := make([]num, n)
	for i := range out {
		if f.elem.IsFloat() {
			if v := f.tensor.Float(i); v == float64(int64(v)) && v > -1<<24 && v < 1<<24 {
				out[i] = known(int64(v))
			}
			continue
		}
		if f.elem == ir.Uint64 && f.tensor.Int(i) < 0 {
			continue
		}
		out[i] = known(f.tensor.Int(i))
	}
	return out
}

// given reports whether input i is there.
func (c *call) given(i int) bool { return i < len(c.in) && c.in[i].have }

// wanted reports whether output k is asked for.
func (c *call) wanted(k int) bool { return k < len(c.Outputs) && c.Outputs[k] != nil }

// arg gives input i; an absent one, and any negative i, has have == false.
func (c *call) arg(i int) *fact {
	if i >= 0 && i < len(c.in) {
		return &c.in[i]
	}
	return &fact{}
}

// shape sets the shape of output k.
func (c *call) shape(k int, dims ...num) {
	if k < len(c.out) {
		c.out[k].ranked, c.out[k].dims = true, dims
	}
}

// like gives output k the shape of input i.
func (c *call) like(k, i int) {
	if k < len(c.out) {
		c.out[k].ranked, c.out[k].dims = c.in[i].ranked, c.in[i].dims
	}
}

// intAttr reads an integer attribute, or the default of the signature.
func (c *call) intAttr(name string) int {
	if v, ok := c.Attrs[name].(int64); ok {
		return int(v)
	}
	v, _ := c.op.Attr(name).Default.(int64)
	return int(v)
}

func (c *call) floatAttr(name string) float64 {
	if v, ok := c.Attrs[name].(float32); ok {
		return float64(v)
	}
	v, _ := c.op.Attr(name).Default.(float32)
	return float64(v)
}

func (c *call) strAttr(name string) string {
	if v, ok := c.Attrs[name].(string); ok {
		return v
	}
	v, _ := c.op.Attr(name).Default.(string)
	return v
}

// axisOf brings an axis into [0, rank).
func (c *call) axisOf(axis, rank int) (int, error) {
	a := axis
	if a < 0 {
		a += rank
	}
	if a < 0 || a >= rank {
		return 0, c.Errorf("axis %d is out of range for rank %d", axis, rank)
	}
	return a, nil
}

// axisAttr reads attribute "axis" for input i, which must be ranked.
func (c *call) axisAttr(i int) (int, error) {
	return c.axisOf(c.intAttr("axis"), len(c.in[i].dims))
}

// axes normalises a list of axes and refuses repeated ones.
func (c *call) axes(list []num, rank int) ([]int, error) {
	seen := make([]bool, rank)
	out := make([]int, len(list))
	for i, v := range list {
		a, err := c.axisOf(int(v.c), rank)
		if err != nil {
			return nil, err
		}
		if seen[a] {
			return nil, c.Errorf("axis %d is given twice", a)
		}
		seen[a] = true
		out[i] = a
	}
	return out, nil
}

// constants gives the content of input i when every element is a known
// constant; nil, false otherwise.
func (c *call) constants(i int) ([]num, bool) {
	v := c.arg(i).content()
	if v == nil {
		return nil, false
	}
	for _, x := range v {
		if !x.isConst() {
			return nil, false
		}
	}
	return v, true
}

// vector checks that input i, when its rank is known, is 1-D.
func (c *call) vector(i int) error {
	f := c.arg(i)
	if f.have && f.ranked && len(f.dims) != 1 {
		return c.Errorf("input %d (%s) must be 1-D, has shape %v", i, param(c.op.In, i).Name, f.typ().Shape)
	}
	return nil
}

// single checks that input i, when its shape is known, has exactly one element.
func (c *call) single(i int) error {
	f := c.arg(i)
	if n, ok := f.size(); f.have && ok && n != 1 {
		return c.Errorf("input %d (%s) must hold one element, has shape %v", i, param(c.op.In, i).Name, f.typ().Shape)
	}
	return nil
}

// wantRank checks the rank of input i when it is known.
func (c *call) wantRank(i, lo, hi int) error {
	f := c.arg(i)
	if !f.have || !f.ranked || len(f.dims) >= lo && (hi < 0 || len(f.dims) <= hi) {
		return nil
	}
	want := "rank " + arityText(lo, hi)
	return c.Errorf("input %d (%s) has rank %d, wants %s", i, param(c.op.In, i).Name, len(f.dims), want)
}

// t is the tensor of input i during evaluation; nil when left out.
func (c *call) t(i int) *ir.Tensor {
	if i < len(c.in) {
		return c.in[i].tensor
	}
	return nil
}

// sizes is the shape of output k during evaluation.
func (c *call) sizes(k int) []int {
	s := make([]int, len(c.out[k].dims))
	for i, d := range c.out[k].dims {
		s[i] = int(d.c)
	}
	return s
}
