package ops

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/ir"
)

// single makes a graph of one node over the given operands (nil: left out).
func single(op string, attrs ir.Attrs, outs int, in ...*ir.Tensor) *ir.Node {
	g := ir.New("test")
	domain := ""
	if d, name, ok := strings.Cut(op, "::"); ok {
		domain, op = d, name
	}
	var vals []*ir.Value
	for i, t := range in {
		if t == nil {
			vals = append(vals, nil)
		} else {
			vals = append(vals, g.AddInput(fmt.Sprintf("x%d", i), t.Type()))
		}
	}
	var names []string
	for k := range outs {
		names = append(names, fmt.Sprintf("y%d", k))
	}
	n := g.InsertBefore(nil, domain, op, attrs, vals, names...)
	n.Name = "n"
	return n
}

// opCase is one evaluation with hand-computed results; err is part of the
// message wanted instead.
type opCase struct {
	op    string
	attrs ir.Attrs
	in    []*ir.Tensor
	want  []*ir.Tensor
	err   string
}

func runCases(t *testing.T, cases []opCase) {
	t.Helper()
	for i, c := range cases {
		outs := max(len(c.want), 1)
		got, err := Eval(single(c.op, c.attrs, outs, c.in...), c.in)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) || !strings.HasPrefix(err.Error(), `node "n" (`) {
				t.Errorf("%d %s: got error %v, want %q", i, c.op, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%d %s: %v", i, c.op, err)
			continue
		}
		for k, w := range c.want {
			if d := differ(got[k], w); d != "" {
				t.Errorf("%d %s %v output %d: %s", i, c.op, c.attrs, k, d)
			}
		}
	}
}

// differ compares bit for bit, but for NaN, which equals NaN.
func differ(got, want *ir.Tensor) string {
	if got.Elem != want.Elem || !slices.Equal(got.Shape, want.Shape) {
		return fmt.Sprintf("got %v, want %v", got.Type(), want.Type())
	}
	for i := range want.Len() {
		if want.Elem == ir.String {
			if a, b := ir.Data[string](got)[i], ir.Data[string](want)[i]; a != b {
				return fmt.Sprintf("[%d] got %q, want %q", i, a, b)
			}
			continue
		}
		a, b := got.Float(i), want.Float(i)
		if want.Elem.IsInt() && got.Int(i) != want.Int(i) || a != b && (a == a || b == b) || math.Signbit(a) != math.Signbit(b) && a == a {
			return fmt.Sprintf("[%d] got %v, want %v (all: %v)", i, a, b, got.Raw())
		}
	}
	return ""
}

func f(v ...float32) *ir.Tensor { return ir.Of(v, len(v)) }
func i(v ...int64) *ir.Tensor   { return ir.Of(v, len(v)) }
func b(v ...bool) *ir.Tensor    { return ir.Of(v, len(v)) }

// typed packs numbers as element type e.
func typed(e ir.Elem, shape []int, v ...float64) *ir.Tensor {
	t, err := pack(e, shape, v)
	if err != nil {
		panic(err)
	}
	return t
}

func ts(t ...*ir.Tensor) []*ir.Tensor { return t }
