package onnxgo

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/owulveryck/onnx-go"
	"gorgonia.org/tensor"

	"github.com/qvitc/qvitc/export"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/passes"
)

func load(t *testing.T, path string) *ir.Graph {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Skipf("%s is not here", path)
	}
	g, err := onnxio.Load(path, onnxio.Options{})
	must(t, err)
	return g
}

func run(t *testing.T, g *ir.Graph, list []passes.Pass) {
	t.Helper()
	d := passes.Driver{}
	_, err := d.Run(g, list)
	must(t, err)
}

// random makes an input for v with this batch.
func random(v *ir.Value, batch int) *ir.Tensor {
	r := rand.New(rand.NewPCG(1, uint64(batch)))
	shape := make([]int, len(v.Type.Shape))
	n := 1
	for i, d := range v.Type.Shape {
		if shape[i] = int(d.Size); !d.Known() {
			shape[i] = batch
		}
		n *= shape[i]
	}
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return ir.Of(x, shape...)
}

// quantised is a clean model with the quantisers of w and a bits, their scales
// made up.
func quantised(t *testing.T, path string, w, a int) *ir.Graph {
	t.Helper()
	g := load(t, path)
	run(t, g, passes.Clean)
	run(t, g, passes.Quantize(passes.DefaultPlan(w, a)))
	k := 0
	for n := range g.Nodes() {
		if !n.IsOwn("FakeQuant") {
			continue
		}
		for i := range n.Inputs[1].Const.F32() {
			n.Inputs[1].Const.F32()[i] = 0.11 + 0.01*float32(k%7)
			k++
		}
	}
	return g
}

const (
	blockPath = "../../testdata/onnx/vit-block.onnx"
	deitPath  = "../../testdata/onnx/deit-fmnist.onnx"
)

// Packed low-bit models, students with FakeQuant, and cleaned float models.
func TestQuantisedModels(t *testing.T) {
	for _, bits := range [][2]int{{2, 2}, {3, 3}, {4, 4}, {2, 8}, {8, 8}, {4, 3}} {
		t.Run(fmt.Sprintf("w%da%d", bits[0], bits[1]), func(t *testing.T) {
			student := quantised(t, blockPath, bits[0], bits[1])
			packed, err := export.Packed(student)
			must(t, err)
			for _, g := range []*ir.Graph{student, packed} {
				x := random(g.Inputs[0], 3)
				b, err := Lower(g, 3)
				must(t, err)
				checkDecodes(t, b)
				compare(t, g, b, x)
			}
		})
	}
	t.Run("deit-fmnist", func(t *testing.T) {
		g, err := export.Packed(quantised(t, deitPath, 4, 4))
		must(t, err)
		b, err := Lower(g, 2)
		must(t, err)
		checkDecodes(t, b)
		compare(t, g, b, random(g.Inputs[0], 2))
		file, err := onnxio.Encode(g, onnxio.WriteOptions{})
		must(t, err)
		if !strings.Contains(string(b), "QLinearW4A4") || !strings.Contains(string(b), "QMatMulA4B4") {
			t.Error("the lowered model has no packed operators")
		}
		if len(b) > len(file)+len(file)/4 {
			t.Errorf("the lowered model takes %d bytes, the packed file %d: are the weights still packed?", len(b), len(file))
		}
		if _, err := through(file, random(g.Inputs[0], 2)); !errorHas(err, "Unknown type") {
			t.Errorf("onnx-go reads a packed file that was not lowered (%v): is Unpack still needed?", err)
		}
	})
}

// Every model of the project's collection, in float.
func TestSharedModels(t *testing.T) {
	if testing.Short() {
		t.Skip("runs every shared model")
	}
	paths, _ := filepath.Glob("../../../shared/models/*/model.onnx")
	if len(paths) == 0 {
		t.Skip("../shared/models is not here")
	}
	for _, path := range paths {
		t.Run(filepath.Base(filepath.Dir(path)), func(t *testing.T) {
			g := load(t, path)
			x, _, err := onnxio.ReadTensor(filepath.Join(filepath.Dir(path), "test_data_set_0", "input_0.pb"))
			must(t, err)
			b, err := Lower(g, x.Shape[0])
			must(t, err)
			checkDecodes(t, b)
			compare(t, g, b, x)
			run(t, g, passes.Clean)
			b, err = Lower(g, x.Shape[0])
			must(t, err)
			compare(t, g, b, x)
		})
	}
}

// Files that were not lowered run where nothing is lost that matters: the batch
// is that of the input, a repeated operand keeps both edges.
func TestNotLowered(t *testing.T) {
	g := parse(t, `graph "g" {
  input %x: f32[batch,3]
  const %max: f32[] = [2]
  %a = Clip(%x, _, %max)
  %b = Mul(%a, %a)
  %y = Softmax(%b) {axis=-1}
  output %y
}`)
	plain, err := onnxio.Encode(g, onnxio.WriteOptions{MinOpset: 17})
	must(t, err)
	compare(t, g, plain, random(g.Inputs[0], 4))
}

// One model on inputs of several shapes; results that a run does not keep.
func TestRunAgain(t *testing.T) {
	g := parse(t, `graph "g" {
  input %x: f32[batch,2]
  const %one: f32[] = [1]
  %a = Add(%x, %one)
  %y = Neg(%a)
  output %y
}`)
	b, err := Lower(g, 2)
	must(t, err)
	backend := NewBackend()
	m := onnx.NewModel(backend)
	must(t, m.UnmarshalBinary(b))
	if s := m.GetInputTensors()[0].Shape(); !slices.Equal(s, []int{2, 2}) {
		t.Errorf("the input is declared as %v", s)
	}
	if err := backend.Run(); !errorHas(err, `"x"`) || !errorHas(err, "SetInput") {
		t.Errorf("an input that is not set: %v", err)
	}
	a, _ := m.GetNodeByName("a")
	var first tensor.Tensor
	for _, rows := range []int{2, 3, 2} {
		x := random(g.Inputs[0], rows)
		y, err := toTensor(x)
		must(t, err)
		must(t, m.SetInput(0, y))
		must(t, backend.Run())
		out, err := m.GetOutputTensors()
		must(t, err)
		inner := a.(onnx.DataCarrier).GetTensor()
		for i, v := range x.F32() {
			if got, mid := out[0].Data().([]float32)[i], inner.Data().([]float32)[i]; got != -(v+1) || mid != v+1 {
				t.Fatalf("%d rows: x[%d] = %v gives a = %v, y = %v", rows, i, v, mid, got)
			}
		}
		if first == nil {
			first = out[0]
		}
	}
	if first.Shape()[0] != 2 {
		t.Error("a later run changed an earlier result")
	}
}

// Tensors of every layout that gorgonia has.
func TestInputLayouts(t *testing.T) {
	g := parse(t, "graph g { input %x: f32[3,2] %y = Neg(%x) output %y }")
	b, err := Lower(g, 0)
	must(t, err)
	backend := NewBackend()
	m := onnx.NewModel(backend)
	must(t, m.UnmarshalBinary(b))
	turned := tensor.New(tensor.WithShape(2, 3), tensor.WithBacking([]float32{1, 3, 5, 2, 4, 6}))
	must(t, turned.T())
	wide := tensor.New(tensor.WithShape(3, 3), tensor.WithBacking([]float32{1, 2, 0, 3, 4, 0, 5, 6, 0}))
	cut, err := wide.Slice(nil, span{0, 2})
	must(t, err)
	for _, x := range []tensor.Tensor{turned, cut} {
		must(t, m.SetInput(0, x))
		must(t, backend.Run())
		out, err := m.GetOutputTensors()
		must(t, err)
		if got := out[0].Data().([]float32); !slices.Equal(got, []float32{-1, -2, -3, -4, -5, -6}) {
			t.Errorf("%v gives %v", x, got)
		}
	}
	for want, x := range map[string]tensor.Tensor{
		"column-major": tensor.NewDense(tensor.Float32, tensor.Shape{3, 2}, tensor.AsFortran(nil)),
		"*tensor.CS":   tensor.CSRFromCoord(tensor.Shape{3, 2}, []int{0}, []int{1}, []float32{1}),
		"int":          tensor.New(tensor.WithShape(3, 2), tensor.Of(tensor.Int)),
	} {
		must(t, m.SetInput(0, x))
		if err := backend.Run(); !errorHas(err, `"x"`) || !errorHas(err, want) {
			t.Errorf("want an error about %s: %v", want, err)
		}
	}
	if err := m.SetInput(0, nil); !errorHas(err, `"x"`) {
		t.Errorf("nil input: %v", err)
	}
}

type span struct{ from, to int }

func (s span) Start() int { return s.from }
func (s span) End() int   { return s.to }
func (s span) Step() int  { return 1 }

// Models that no decoder should have let through are errors, not panics.
func TestBrokenModels(t *testing.T) {
	if err := NewBackend().Run(); !errorHas(err, "no model") {
		t.Errorf("an empty backend: %v", err)
	}
	g := parse(t, `graph "g" {
  input %x: f32[1]
  %y = Neg(%x)
  %z = Neg(%y)
  output %z
}`)
	b, err := Lower(g, 0)
	must(t, err)
	for want, edit := range map[string]func(m *onnxio.Model){
		"before it is computed": func(m *onnxio.Model) { m.Proto.Graph.Node[0].Input[0] = "z" },
		`"nowhere" has no data`: func(m *onnxio.Model) { m.Proto.Graph.Node[1].Input[0] = "nowhere" },
		"defined twice":         func(m *onnxio.Model) { m.Proto.Graph.Node[1].Output[0] = "y" },
		"no results":            func(m *onnxio.Model) { m.Proto.Graph.Node[1].Output = nil },
		"lower the model again": func(m *onnxio.Model) { m.Proto.Graph.Initializer[0].RawData[0]-- },
		"wants 1":               func(m *onnxio.Model) { m.Proto.Graph.Node[1].Input = []string{"y", "x"} },
	} {
		m, err := onnxio.ReadModel(b, onnxio.Options{})
		must(t, err)
		edit(m)
		broken, err := m.Bytes()
		must(t, err)
		if _, err := through(broken, ir.Of([]float32{1}, 1)); !errorHas(err, want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

// Words hold any tensor.
func TestWords(t *testing.T) {
	for _, x := range []*ir.Tensor{
		ir.Of([]uint8{1, 2, 255, 4, 5}, 5), ir.Of([]int8{-128, 127}, 2, 1), ir.Of([]bool{true, false, true}, 3),
		ir.Of([]uint64{1 << 63, 5}, 2), ir.Of([]int16{-1}, 1), ir.Scalar(uint8(9)), ir.Of([]float32{}, 0, 3), ir.Of([]int32{7}, 1),
	} {
		w, err := toWords(x)
		must(t, err)
		y, err := fromWords(w, x.Elem, x.Shape)
		must(t, err)
		if fmt.Sprint(x.Raw(), x.Shape) != fmt.Sprint(y.Raw(), y.Shape) {
			t.Errorf("%v %v came back as %v", x.Type(), x.Raw(), y.Raw())
		}
		if _, err := fromWords(w, x.Elem, append([]int{9}, x.Shape...)); err == nil && x.Len() > 0 {
			t.Errorf("%v: another shape is accepted", x.Type())
		}
	}
	for _, shape := range [][]int{{-1}, {1 << 30, 1 << 30, 1 << 30}} {
		if _, err := fromWords(ir.Of([]int32{0}, 1), ir.Uint8, shape); err == nil {
			t.Errorf("shape %v is accepted", shape)
		}
	}
	if _, err := toWords(ir.Of([]string{"a"}, 1)); err == nil {
		t.Error("strings are accepted")
	}
}
