package doctor

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/onnxio/onnxpb"
	"github.com/qvitc/qvitc/ops"
)

var writeTo = flag.String("write", "", "write the crafted files as ONNX test folders into this one (make matrix runs them)")

// crafted reads a text file as a model that went through bytes, and the hazards
// that its first line names.
func crafted(t *testing.T, path string) (m *onnxio.Model, finds []string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	first, rest, _ := strings.Cut(string(text), "\n")
	opset := 17
	if strings.HasPrefix(rest, "// opset 21\n") {
		opset = 21
	}
	names, ok := strings.CutPrefix(first, "// finds:")
	if !ok {
		t.Fatalf("%s does not say what is to be found", path)
	}
	g, err := ir.Parse(string(text), ir.ParseOptions{})
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if _, err := ops.Infer(g); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	b, err := onnxio.Encode(g, onnxio.WriteOptions{MinOpset: opset, MinIR: 8})
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if *writeTo != "" {
		writeCase(t, g, b, filepath.Join(*writeTo, strings.TrimSuffix(filepath.Base(path), ".ir")))
	}
	if m, err = onnxio.ReadModel(b, onnxio.Options{Name: path}); err != nil {
		t.Fatal(err)
	}
	return m, strings.Fields(names)
}

// writeCase writes a test folder: the model, random inputs and, where the exact
// evaluator knows the operators, the outputs.
func writeCase(t *testing.T, g *ir.Graph, model []byte, dir string) {
	t.Helper()
	data := filepath.Join(dir, "test_data_set_0")
	if err := os.MkdirAll(data, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "model.onnx"), model, 0o666); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	in := map[string]*ir.Tensor{}
	for i, v := range g.Inputs {
		n, dims := 1, make([]int, v.Type.Rank())
		for k, d := range v.Type.Shape {
			dims[k] = 3
			if d.Known() {
				dims[k] = int(d.Size)
			}
			n *= dims[k]
		}
		x := make([]float32, n)
		for k := range x {
			x[k] = float32(r.NormFloat64())
		}
		in[v.Name] = ir.Of(x, dims...)
		if err := onnxio.WriteTensor(filepath.Join(data, fmt.Sprintf("input_%d.pb", i)), in[v.Name], v.Name); err != nil {
			t.Fatal(err)
		}
	}
	out, err := ops.EvalGraph(g, in)
	if err != nil {
		t.Logf("%s: without outputs: %v", dir, err)
		return
	}
	for i, v := range g.Outputs {
		if err := onnxio.WriteTensor(filepath.Join(data, fmt.Sprintf("output_%d.pb", i)), out[v.Name], v.Name); err != nil {
			t.Fatal(err)
		}
	}
}

func ids(found []Finding) (out []string) {
	for _, f := range found {
		out = append(out, f.Hazard)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func TestCrafted(t *testing.T) {
	files, err := filepath.Glob("testdata/*.ir")
	if err != nil || len(files) < 15 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	met := map[string]bool{}
	for _, path := range files {
		m, want := crafted(t, path)
		found, needs, err := Check(m, Target{})
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		slices.Sort(want)
		if !slices.Equal(ids(found), want) {
			t.Errorf("%s: found %v (%v), want %v", path, found, needs, want)
		}
		for _, f := range found {
			met[f.Hazard] = true
			if f.Fix == "" || f.Message == "" || f.Node == "" {
				t.Errorf("%s: %+v", path, f)
			}
		}
	}
	for _, id := range []string{needsNewer, irTooHigh, overload, noValue} { // TestCraftedMessages
		met[id] = true
	}
	for _, h := range Hazards() {
		if !met[h.ID] {
			t.Errorf("no crafted file for %s", h.ID)
		}
	}
}

// Forms that the text of a graph cannot show.
func TestCraftedMessages(t *testing.T) {
	check := func(target string, change func(p *onnxpb.ModelProto), want ...string) {
		t.Helper()
		m, _ := crafted(t, "testdata/sound-gemm.ir")
		change(m.Proto)
		to, err := ParseTarget(target)
		if err != nil {
			t.Fatal(err)
		}
		found, _, err := Check(m, to)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(ids(found), want) {
			t.Errorf("found %v, want %v", found, want)
		}
	}
	keep := func(*onnxpb.ModelProto) {}
	check("ort=1.20", keep)
	check("ort>=1.20", keep)
	check("ort=1.18", keep, needsNewer) // no INT4
	check("ort=1.16", keep, needsNewer) // nor opset 21
	check("ort=1.16", func(p *onnxpb.ModelProto) {
		*p.IrVersion = 13
	}, irTooHigh, needsNewer)
	check("ort=1.30", func(p *onnxpb.ModelProto) { *p.OpsetImport[0].Version = 27 }, needsNewer)
	check("ort=1.32", func(p *onnxpb.ModelProto) {
		for _, n := range p.Graph.Node {
			for _, a := range n.Attribute {
				if a.GetName() == "axis" {
					a.I = nil
				}
			}
		}
	}, noValue)
	check("", func(p *onnxpb.ModelProto) {
		for _, s := range []string{"", "other"} {
			p.Functions = append(p.Functions, &onnxpb.FunctionProto{
				Domain: new("own"), Name: new("Double"), Overload: &s, Input: []string{"a"}, Output: []string{"b"},
				OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: new(""), Version: new(int64(21))}},
				Node:        []*onnxpb.NodeProto{{OpType: new("Add"), Input: []string{"a", "a"}, Output: []string{"b"}}},
			})
		}
		p.OpsetImport = append(p.OpsetImport, &onnxpb.OperatorSetIdProto{Domain: new("own"), Version: new(int64(1))})
	}, overload)
}
