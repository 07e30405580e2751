package passes

import (
	"math"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// FuseGelu finds GELU however it is spelled.
var FuseGelu = Pass{
	Name: "fuse-gelu",
	Doc: `fuse the spellings of GELU into Gelu

Around every Erf, Tanh or Sigmoid the pass looks for a value x and a later value
y that is a function of x alone, made of elementwise operators and scalars. When
y equals x*Phi(x) (approximate="none") or its tanh form (approximate="tanh") on a
grid of points, one Gelu node takes the place of them all. The order of factors,
Div or Mul, 0.5 early or late: none of it matters.`,
	Run: fuseGelu,
}

func fuseGelu(g *ir.Graph, r *Report) (bool, error) {
	if _, err := ops.Infer(g); err != nil {
		return false, err
	}
	changed := false
	for n := range g.Nodes() {
		if !n.Is("Erf") && !n.Is("Tanh") {
			continue
		}
		x, root, approx := matchGelu(n)
		if root == nil {
			continue
		}
		gelu := g.InsertBefore(root, "", "Gelu", ir.Attrs{"approximate": approx}, []*ir.Value{x}, root.Out().Name)
		gelu.Out().Type = root.Out().Type
		r.inherit(gelu, root)
		substitute(g, root.Out(), gelu.Out())
		r.Count("fused", 1)
		changed = true
	}
	if changed {
		dropDead(g, &Report{Pass: r.Pass})
	}
	return changed, nil
}

// geluReach bounds how far from the Erf or Tanh the ends may lie.
const geluReach = 8

// matchGelu finds x behind n and root after it with root = gelu(x).
func matchGelu(n *ir.Node) (x *ir.Value, root *ir.Node, approx string) {
	starts := behind(n.Inputs[0], geluReach)
	ends := forward(n.Out(), geluReach)
	for _, x := range starts {
		for _, end := range ends {
			if !end.Is("Mul") && !end.Is("Div") {
				continue // GELU ends in a product
			}
			if a := geluForm(x, end.Out()); a != "" && x.Type.Rank() == end.Out().Type.Rank() {
				return x, end, a
			}
		}
	}
	return nil, nil, ""
}

// behind lists v and the values from which elementwise nodes make it, nearest
// first.
func behind(v *ir.Value, depth int) []*ir.Value {
	out := []*ir.Value{v}
	seen := map[*ir.Value]bool{v: true}
	for i, end := 0, 1; i < len(out) && depth > 0; depth-- {
		for ; i < end; i++ {
			n := out[i].Def
			if n == nil || n.Domain != "" || !elementwise[n.Op] {
				continue
			}
			for _, in := range n.Inputs {
				if in != nil && !in.IsConst() && !seen[in] {
					seen[in] = true
					out = append(out, in)
				}
			}
		}
		end = len(out)
	}
	return out
}

// forward lists the elementwise nodes after v, nearest first.
func forward(v *ir.Value, depth int) []*ir.Node {
	var out []*ir.Node
	seen := map[*ir.Node]bool{}
	front := []*ir.Value{v}
	for range depth {
		var next []*ir.Value
		for _, v := range front {
			for _, n := range users(v) {
				if !seen[n] && n.Domain == "" && elementwise[n.Op] {
					seen[n] = true
					out = append(out, n)
					next = append(next, n.Out())
				}
			}
		}
		front = next
	}
	return out
}

// elementwise lists the operators that the scalar evaluator knows.
var elementwise = map[string]bool{
	"Add": true, "Sub": true, "Mul": true, "Div": true, "Pow": true, "Neg": true, "Sqrt": true,
	"Erf": true, "Tanh": true, "Sigmoid": true, "Exp": true, "Reciprocal": true, "Identity": true,
}

// geluPoints are where candidate functions are compared.
var geluPoints = []float64{-7.3, -4.1, -2.9, -2.2, -1.7, -1.1, -0.8, -0.31, -0.05, 0, 0.02, 0.27, 0.6, 0.95, 1.4, 1.9, 2.6, 3.3, 5.2, 8.1}

// geluForm says which GELU y is as a function of x: "none", "tanh" or neither.
func geluForm(x, y *ir.Value) string {
	none, tanh := true, true
	for _, p := range geluPoints {
		got, ok := evalScalar(y, map[*ir.Value]float64{x: p}, 24)
		if !ok {
			return ""
		}
		tol := 2e-6 * (1 + math.Abs(p))
		none = none && math.Abs(got-GeluErf(p)) <= tol
		tanh = tanh && math.Abs(got-GeluTanh(p)) <= tol
		if !none && !tanh {
			return ""
		}
	}
	if none {
		return "none"
	}
	return "tanh"
}

// GeluErf is x*Phi(x), Gelu with approximate="none".
func GeluErf(x float64) float64 { return 0.5 * x * (1 + math.Erf(x/math.Sqrt2)) }

// GeluTanh is Gelu with approximate="tanh".
func GeluTanh(x float64) float64 {
	return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
}

// evalScalar evaluates v where the values in known have the values given; false
// when v is not made of them by a few elementwise operators and scalars.
func evalScalar(v *ir.Value, known map[*ir.Value]float64, depth int) (float64, bool) {
	if f, ok := known[v]; ok {
		return f, true
	}
	if depth == 0 {
		return 0, false
	}
	if v.IsConst() {
		if v.Const.Len() != 1 || v.Const.Elem == ir.String {
			return 0, false
		}
		return v.Const.Float(0), true
	}
	n := v.Def
	if n == nil || n.Domain != "" || !elementwise[n.Op] {
		return 0, false
	}
	var in [2]float64
	for i, w := range n.Inputs {
		if w == nil || i > 1 {
			return 0, false
		}
		f, ok := evalScalar(w, known, depth-1)
		if !ok {
			return 0, false
		}
		in[i] = f
	}
	known[v] = applyScalar(n.Op, in[0], in[1])
	return known[v], true
}

func applyScalar(op string, a, b float64) float64 {
	switch op {
	case "Add":
		return a + b
	case "Sub":
		return a - b
	case "Mul":
		return a * b
	case "Div":
		return a / b
	case "Pow":
		return math.Pow(a, b)
	case "Neg":
		return -a
	case "Sqrt":
		return math.Sqrt(a)
	case "Erf":
		return math.Erf(a)
	case "Tanh":
		return math.Tanh(a)
	case "Sigmoid":
		return 1 / (1 + math.Exp(-a))
	case "Exp":
		return math.Exp(a)
	case "Reciprocal":
		return 1 / a
	}
	return a // Identity
}
