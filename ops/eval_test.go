package ops

import (
	"bufio"
	"os"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/ir"
)

func TestEvalGraphCallsFunctions(t *testing.T) {
	g := parse(t, `graph "g" {
  input %x: f32[batch,2]
  %h = my.domain::Twice(%x)
  %y = my.domain::Twice(%h)
  output %y
}`)
	body := parse(t, `graph "Twice" {
  input %a: f32
  %b = Add(%a, %a)
  output %b
}`)
	g.Functions = []*ir.Function{{Domain: "my.domain", Name: "Twice", Body: body}}
	out, err := EvalGraph(g, map[string]*ir.Tensor{"x": m(1, 2, 1, 2)})
	if err != nil {
		t.Fatal(err)
	}
	if d := differ(out["y"], m(1, 2, 4, 8)); d != "" {
		t.Error(d)
	}
	all, err := EvalAll(g, map[string]*ir.Tensor{"x": m(1, 2, 1, 2)})
	if err != nil || differ(all[g.Value("h")], m(1, 2, 2, 4)) != "" {
		t.Error(err, all)
	}
	// a function that calls itself ends with an error
	body.Nodes()(func(n *ir.Node) bool {
		r := body.InsertAfter(n, "my.domain", "Twice", nil, []*ir.Value{n.Out()}, "c")
		body.Outputs[0] = r.Out()
		return false
	})
	if _, err = EvalGraph(g, map[string]*ir.Tensor{"x": m(1, 2, 1, 2)}); err == nil || !strings.Contains(err.Error(), "call each other") {
		t.Errorf("got %v", err)
	}
}

func TestEvalGraphChecksInputs(t *testing.T) {
	g := parse(t, `graph "g" {
  input %x: f32[batch,2]
  input %z: f32[batch,2]
  %y = Add(%x, %z)
  output %y
}`)
	two, one := m(2, 2, 1, 2, 3, 4), m(1, 2, 1, 2)
	for _, c := range []struct {
		x, z *ir.Tensor
		want string
	}{
		{two, two, ""},
		{two, nil, `tensor "z": graph input is missing`},
		{two, one, `tensor "z": graph input is declared f32[batch,2], the data is f32[1,2]`},
		{two, ir.Of([]int64{1, 2}, 1, 2), "the data is i64[1,2]"},
	} {
		_, err := EvalGraph(g, map[string]*ir.Tensor{"x": c.x, "z": c.z})
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
	n := g.First()
	if _, err := Eval(n, ts(two)); err == nil {
		t.Error("a missing operand must be an error")
	}
	if _, err := Eval(n, ts(two, nil)); err == nil {
		t.Error("a nil operand must be an error")
	}
	n.Op = "Strange"
	if _, err := Eval(n, ts(two, two)); err == nil || !strings.Contains(err.Error(), `unknown operator "Strange"`) {
		t.Errorf("got %v", err)
	}
}

func TestTable(t *testing.T) {
	list := All()
	for k, o := range list {
		if k > 0 && (o.Domain < list[k-1].Domain || o.Domain == list[k-1].Domain && o.Name <= list[k-1].Name) {
			t.Errorf("%s is out of order", o.Name)
		}
		if Lookup(o.Domain, o.Name) != o {
			t.Errorf("Lookup does not find %s", o.Name)
		}
		for _, p := range append(append([]Param(nil), o.In...), o.Out...) {
			if p.Types == 0 || p.Name == "" {
				t.Errorf("%s: parameter %q has no types or no name", o.Name, p.Name)
			}
		}
		for _, a := range o.Attrs {
			if a.Required == (a.Default != nil) && a.Default != nil || a.Default != nil && kindOf(a.Default) != a.Kind {
				t.Errorf("%s: attribute %s has a default of the wrong kind", o.Name, a.Name)
			}
		}
	}
}

func TestPurity(t *testing.T) {
	x := f(1)
	if !IsPure(single("Relu", nil, 1, x)) || IsPure(single("RandomNormalLike", nil, 1, x)) || IsPure(single("Strange", nil, 1, x)) {
		t.Error("Relu is pure, random and unknown operators are not")
	}
	g := ir.New("g")
	in := g.AddInput("x", x.Type())
	ratio, zero, on := g.AddConst("r", ir.Scalar(float32(0.5))), g.AddConst("z", ir.Scalar(float32(0))), g.AddConst("t", ir.Scalar(true))
	for _, c := range []struct {
		in   []*ir.Value
		pure bool
	}{{[]*ir.Value{in}, true}, {[]*ir.Value{in, ratio}, true}, {[]*ir.Value{in, ratio, on}, false}, {[]*ir.Value{in, zero, on}, true}} {
		if got := IsPure(g.Add("Dropout", "y", nil, c.in...)); got != c.pure {
			t.Errorf("Dropout of %d inputs: pure is %v", len(c.in), got)
		}
	}
}

// Every operator of the ONNX node tests has an entry.
func TestTableCoversNodeTests(t *testing.T) {
	file, err := os.Open("../../shared/onnx-node-tests/index.tsv")
	if err != nil {
		t.Skip("the ONNX node tests are not here: ", err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Scan() // the header
	for lines.Scan() {
		op, _, _ := strings.Cut(lines.Text(), "\t")
		if op != "Constant" && Lookup("", op) == nil { // onnxio turns Constant into values
			t.Errorf("%s is not in the table", op)
		}
	}
}
