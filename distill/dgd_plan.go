package distill

import (
	"fmt"
	"strings"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/runtime"
)

// dgdPlan computes the DGD of one tap for a shard: the matrix products are two
// small graphs of the runtime, all images and heads at once, and the coefficients
// between them are dgd.go's.
type dgdPlan struct {
	tapShape
	channels        bool
	products, apply *runtime.Program
	p, a            *ir.Graph
}

// tapShape describes q or k of one attention in a shard: count matrices
// [tokens, d] of the student and [tokens, dT] of the teacher.
type tapShape struct{ count, tokens, d, dT int }

// dgdState is the memory of a plan in one goroutine.
type dgdState struct {
	products, apply *runtime.State
	normed, stats   []float32 // of TeacherNorm
}

const dgdTokenGraphs = `graph "products" {
  input %%x: f32[%[1]d,%[2]d,%[3]d]
  input %%y: f32[%[1]d,%[2]d,%[4]d]
  %%xt: f32[%[1]d,%[3]d,%[2]d] = Transpose(%%x) {perm=[0, 2, 1]i}
  %%yt: f32[%[1]d,%[4]d,%[2]d] = Transpose(%%y) {perm=[0, 2, 1]i}
  %%s: f32[%[1]d,%[2]d,%[2]d] = MatMul(%%x, %%xt)
  %%t: f32[%[1]d,%[2]d,%[2]d] = MatMul(%%y, %%yt)
  output %%s
  output %%t
}
|graph "apply" {
  input %%x: f32[%[1]d,%[2]d,%[3]d]
  input %%ds: f32[%[1]d,%[2]d,%[2]d]
  %%dx: f32[%[1]d,%[2]d,%[3]d] = MatMul(%%ds, %%x)
  output %%dx
}
`

const dgdChannelGraphs = `graph "products" {
  input %%x: f32[%[1]d,%[2]d,%[3]d]
  input %%y: f32[%[1]d,%[2]d,%[4]d]
  %%xt: f32[%[1]d,%[3]d,%[2]d] = Transpose(%%x) {perm=[0, 2, 1]i}
  %%yt: f32[%[1]d,%[4]d,%[2]d] = Transpose(%%y) {perm=[0, 2, 1]i}
  %%a: f32[%[1]d,%[3]d,%[3]d] = MatMul(%%xt, %%x)
  %%b: f32[%[1]d,%[4]d,%[4]d] = MatMul(%%yt, %%y)
  %%m: f32[%[1]d,%[4]d,%[3]d] = MatMul(%%yt, %%x)
  output %%a
  output %%b
  output %%m
}
|graph "apply" {
  input %%x: f32[%[1]d,%[2]d,%[3]d]
  input %%y: f32[%[1]d,%[2]d,%[4]d]
  input %%da: f32[%[1]d,%[3]d,%[3]d]
  input %%dm: f32[%[1]d,%[4]d,%[3]d]
  %%dx: f32[%[1]d,%[2]d,%[3]d] = MatMul(%%x, %%da)
  %%dy: f32[%[1]d,%[2]d,%[3]d] = MatMul(%%y, %%dm)
  output %%dx
  output %%dy
}
`

// newDGDPlan chooses the form with fewer multiply-adds; rows can only be
// normalised in the token form.
func newDGDPlan(o DGD, s tapShape) (*dgdPlan, error) {
	n, d, dT := s.tokens, s.d, s.dT
	p := &dgdPlan{tapShape: s}
	p.channels = o.Mode != DGDRowwise && n*(2*d+dT) > 2*d*d+dT*dT+2*d*dT
	return p, p.compile()
}

func (p *dgdPlan) compile() error {
	text := dgdTokenGraphs
	if p.channels {
		text = dgdChannelGraphs
	}
	products, apply, _ := strings.Cut(fmt.Sprintf(text, p.count, p.tokens, p.d, p.dT), "|")
	var err error
	if p.p, p.products, err = compileText(products); err != nil {
		return err
	}
	p.a, p.apply, err = compileText(apply)
	return err
}

func compileText(text string) (*ir.Graph, *runtime.Program, error) {
	g, err := ir.Parse(text, ir.ParseOptions{})
	if err != nil {
		return nil, nil, fmt.Errorf("DGD: %w", err)
	}
	p, err := runtime.Compile(g, runtime.Config{})
	if err != nil {
		return nil, nil, fmt.Errorf("DGD: %w", err)
	}
	return g, p, nil
}

func (p *dgdPlan) newState() *dgdState {
	return &dgdState{products: p.products.NewState(), apply: p.apply.NewState()}
}

// run gives the sum of the losses of all matrices of x (student) and y (teacher)
// and adds w times its gradient to seed. A nil seed is left out.
func (p *dgdPlan) run(o DGD, st *dgdState, x, y []float32, w float64, seed []float32) (sum float64, err error) {
	in, ap := p.p.Inputs, p.a.Inputs
	if o.TeacherNorm {
		rows := p.count * p.tokens
		if st.normed == nil {
			st.normed, st.stats = make([]float32, rows*p.dT), make([]float32, 2*rows)
		}
		runtime.NormaliseRows(st.normed, st.stats, y, rows, p.dT, dgdNormEps)
		y = st.normed
	}
	give(st.products, in[0], x)
	give(st.products, in[1], y)
	if err := st.products.Forward(); err != nil {
		return 0, err
	}
	// The coefficients take the place of the products.
	var out [3][]float32
	for i, v := range p.p.Outputs {
		out[i] = st.products.Value(v)
	}
	of := func(i, k, size int) []float32 { return out[i][k*size : (k+1)*size] }
	for k := range p.count {
		if p.channels {
			a, m := of(0, k, p.d*p.d), of(2, k, p.dT*p.d)
			sum += channelCoefficients(o.Mode, a, of(1, k, p.dT*p.dT), m, p.tokens, w, a, m)
		} else {
			nn := p.tokens * p.tokens
			s := of(0, k, nn)
			sum += tokenCoefficients(o.Mode, s, of(1, k, nn), p.tokens, w, s)
		}
	}
	if seed == nil || !finite(sum) {
		return sum, nil
	}
	give(st.apply, ap[0], x)
	if p.channels {
		give(st.apply, ap[1], y)
		give(st.apply, ap[2], out[0])
		give(st.apply, ap[3], out[2])
	} else {
		give(st.apply, ap[1], out[0])
	}
	if err := st.apply.Forward(); err != nil {
		return 0, err
	}
	for _, v := range p.a.Outputs {
		runtime.AddTo(seed, st.apply.Value(v))
	}
	return sum, nil
}

// give lets a state read an input where it lies.
func give(st *runtime.State, v *ir.Value, x []float32) {
	if !st.Bind(v, x) {
		copy(st.Input(v), x)
	}
}
