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
type dgdState struct{ products, apply *runtime.State }

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
  %%sum: f32[%[1]d,%[2]d,%[3]d] = Add(%%dx, %%dy)
  output %%sum
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
	return &dgdState{p.products.NewState(), p.apply.NewState()}
}

// run gives the sum of the losses of all matrices of x (student) and y (teacher)
// and adds w times its gradient to seed. A nil seed is left out.
func (p *dgdPlan) run(o DGD, st *dgdState, x, y []float32, w float64, seed []float32) (sum float64, err error) {
	in, ap := p.p.Inputs, p.a.Inputs
	copy(st.products.Input(in[0]), x)
	ty := st.products.Input(in[1])
	if o.TeacherNorm {
		normTokens(ty, y, p.count*p.tokens, p.dT)
	} else {
		copy(ty, y)
	}
	if err := st.products.Forward(); err != nil {
		return 0, err
	}
	out := func(i, k, size int) []float32 {
		return st.products.Value(p.p.Outputs[i])[k*size : (k+1)*size]
	}
	into := func(i, k, size int) []float32 { return st.apply.Input(ap[i])[k*size : (k+1)*size] }
	for k := range p.count {
		if p.channels {
			dd, bb, md := p.d*p.d, p.dT*p.dT, p.dT*p.d
			sum += channelCoefficients(o.Mode, out(0, k, dd), out(1, k, bb), out(2, k, md), p.tokens, w, into(2, k, dd), into(3, k, md))
		} else {
			nn := p.tokens * p.tokens
			sum += tokenCoefficients(o.Mode, out(0, k, nn), out(1, k, nn), p.tokens, w, into(1, k, nn))
		}
	}
	if seed == nil || !finite(sum) {
		return sum, nil
	}
	copy(st.apply.Input(ap[0]), x)
	if p.channels {
		copy(st.apply.Input(ap[1]), ty)
	}
	if err := st.apply.Forward(); err != nil {
		return 0, err
	}
	for i, g := range st.apply.Value(p.a.Outputs[0]) {
		seed[i] += g
	}
	return sum, nil
}
