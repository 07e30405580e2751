package export

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/ops"
)

var update = flag.Bool("update", false, "rewrite testdata/conformance")

const conformance = "../testdata/conformance"

// conformanceCase is one folder: a model of one packed operator, inputs, and the
// outputs that the formulas of docs/formats.md give, computed here with integers.
type conformanceCase struct {
	name   string
	text   string // the student
	inputs []*ir.Tensor
	want   *ir.Tensor
}

// grid is a quantiser of the formulas: codes 0 to 2^bits-1 around zero.
type grid struct {
	bits  int
	zero  int
	scale []float32 // one, or one a head
}

func (g grid) code(x float32, head int) int {
	s := g.scale[head%len(g.scale)]
	return int(min(max(math.RoundToEven(float64(x/s))+float64(g.zero), 0), float64(int(1)<<g.bits-1))) - g.zero
}

// fakeQuant writes the quantiser as a node of the student. The codes of signed
// ones are stored shifted by half the range.
func (g grid) fakeQuant(b *strings.Builder, out, in, name string, signed bool) {
	axis, dims := "", ""
	if len(g.scale) > 1 {
		axis, dims = "axis=1, ", fmt.Sprint(len(g.scale))
	}
	zero, s := g.zero, 0
	if signed {
		zero, s = g.zero-1<<(g.bits-1), 1
	}
	fmt.Fprintf(b, "  const %%%s_scale: f32[%s] = %s\n", name, dims, list(g.scale))
	z := make([]float32, len(g.scale))
	for i := range z {
		z[i] = float32(zero)
	}
	fmt.Fprintf(b, "  const %%%s_zero: f32[%s] = %s\n", name, dims, list(z))
	fmt.Fprintf(b, "  %%%s = ai.qvitc::FakeQuant(%%%s, %%%s_scale, %%%s_zero) {%sbits=%d, signed=%d} #%q\n", out, in, name, name, axis, g.bits, s, out)
}

func list(v []float32) string { return strings.ReplaceAll(fmt.Sprint(v), " ", ", ") }

// activations are ramps beyond both ends of the grid, halves that round
// to even, zeros of both signs, and random values.
func activations(r *rand.Rand, n int, g grid, inner, heads int) []float32 {
	out := make([]float32, n)
	for i := range out {
		s := g.scale[i/inner%heads%len(g.scale)]
		levels := float32(int(1) << g.bits)
		switch i % 5 {
		case 0:
			out[i] = (float32(i%23)/11 - 1) * 1.2 * levels * s
		case 1:
			out[i] = (float32(r.IntN(int(levels))-g.zero) + 0.5) * s
		case 2:
			out[i] = (r.Float32() - 0.5) * levels * s
		case 3:
			out[i] = float32(r.IntN(int(levels))-g.zero) * s
		default:
			out[i] = float32(math.Copysign(0, float64(i%2)-0.5))
		}
	}
	return out
}

// linearCase is QLinearW{w}A{a} with K inputs, N=5 outputs.
func linearCase(name string, w, k int, x grid, signed, biased bool, lead ...int) conformanceCase {
	r := rand.New(rand.NewPCG(uint64(w*1000+k*10+x.bits), uint64(x.zero)))
	const n = 5
	codes := make([]int, n*k)
	ws := []float32{0.1, 0.25, 0.03, 1, 0.007}
	weight := make([]float32, k*n)
	for j := range n {
		for i := range k {
			c := r.IntN(1<<w) - 1<<(w-1)
			codes[j*k+i] = c
			weight[i*n+j] = float32(c) * ws[j]
		}
	}
	bias := []float32{0.5, -1, 0, 2, -0.125}
	rows := 1
	for _, d := range lead {
		rows *= d
	}
	in := activations(r, rows*k, x, 1, 1)
	want := make([]float32, rows*n)
	for i := range rows {
		for j := range n {
			acc := 0
			for l := range k {
				acc += x.code(in[i*k+l], 0) * codes[j*k+l]
			}
			y := float32(acc) * (ws[j] * x.scale[0])
			if biased {
				y += bias[j]
			}
			want[i*n+j] = y
		}
	}
	var b strings.Builder
	dims := strings.Trim(strings.ReplaceAll(fmt.Sprint(lead), " ", ","), "[]")
	fmt.Fprintf(&b, "graph %q {\n  input %%x: f32[%s,%d]\n  const %%w: f32[%d,%d] = %s\n  const %%ws: f32[%d] = %s\n", name, dims, k, k, n, list(weight), n, list(ws))
	x.fakeQuant(&b, "x_quant", "x", "fc.input", signed)
	fmt.Fprintf(&b, "  %%w_quant = ai.qvitc::FakeQuant(%%w, %%ws) {axis=1, bits=%d, signed=1} #\"fc.weight_quant\"\n", w)
	out := "y"
	if biased {
		out = "p"
	}
	fmt.Fprintf(&b, "  %%%s = MatMul(%%x_quant, %%w_quant) #\"fc\"\n", out)
	if biased {
		fmt.Fprintf(&b, "  const %%fc.bias: f32[%d] = %s\n  %%y = Add(%%p, %%fc.bias)\n", n, list(bias))
	}
	b.WriteString("  output %y\n}\n")
	shape := slices.Clone(lead)
	return conformanceCase{name, b.String(), []*ir.Tensor{ir.Of(in, append(slices.Clone(shape), k)...)}, ir.Of(want, append(shape, n)...)}
}

// productCase is QMatMulA{a}B{b} over [1,3,4,k] and [1,3,k,5].
func productCase(name string, k int, x, y grid, signedX, signedY bool) conformanceCase {
	const heads, m, n = 3, 4, 5
	r := rand.New(rand.NewPCG(uint64(x.bits*1000+y.bits*10+k), 2))
	av, bv := activations(r, heads*m*k, x, m*k, heads), activations(r, heads*k*n, y, k*n, heads)
	want := make([]float32, heads*m*n)
	for h := range heads {
		scale := x.scale[h%len(x.scale)] * y.scale[h%len(y.scale)]
		for i := range m {
			for j := range n {
				acc := 0
				for l := range k {
					acc += x.code(av[(h*m+i)*k+l], h) * y.code(bv[(h*k+l)*n+j], h)
				}
				want[(h*m+i)*n+j] = float32(acc) * scale
			}
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "graph %q {\n  input %%a: f32[1,%d,%d,%d]\n  input %%b: f32[1,%d,%d,%d]\n", name, heads, m, k, heads, k, n)
	x.fakeQuant(&b, "a_quant", "a", "attn.a", signedX)
	y.fakeQuant(&b, "b_quant", "b", "attn.b", signedY)
	b.WriteString("  %y = MatMul(%a_quant, %b_quant) #\"attn\"\n  output %y\n}\n")
	return conformanceCase{name, b.String(), []*ir.Tensor{ir.Of(av, 1, heads, m, k), ir.Of(bv, 1, heads, k, n)}, ir.Of(want, 1, heads, m, n)}
}

func conformanceCases() (out []conformanceCase) {
	half := func(bits int) int { return 1 << (bits - 1) }
	for _, w := range []int{2, 3, 4, 8} {
		for _, a := range []int{2, 3, 4, 8} {
			// 13 is no multiple of any group: rows and input are padded
			out = append(out, linearCase(fmt.Sprintf("linear_w%da%d", w, a), w, 13, grid{a, half(a), []float32{0.3}}, true, true, 2, 3))
		}
		out = append(out,
			linearCase(fmt.Sprintf("linear_w%da%d_whole_groups", w, w), w, 16, grid{w, half(w), []float32{0.05}}, true, true, 3),
			linearCase(fmt.Sprintf("linear_w%da%d_one_input", w, w), w, 1, grid{w, half(w), []float32{2}}, true, true, 4),
			linearCase(fmt.Sprintf("linear_w%da%d_unsigned", w, w), w, 13, grid{w, 0, []float32{0.3}}, false, true, 3),
			linearCase(fmt.Sprintf("linear_w%da%d_zero_point", w, w), w, 11, grid{w, 1, []float32{0.17}}, false, false, 3),
		)
	}
	scales := []float32{0.3, 0.02, 1.5}
	for _, p := range [][2]int{{2, 2}, {3, 3}, {4, 4}, {8, 8}, {2, 8}, {3, 4}, {4, 2}, {8, 3}} {
		x, y := grid{p[0], half(p[0]), scales}, grid{p[1], half(p[1]), []float32{0.1, 0.7, 0.25}}
		out = append(out, productCase(fmt.Sprintf("matmul_a%db%d", p[0], p[1]), 7, x, y, true, true))
	}
	for _, b := range []int{2, 3, 4, 8} {
		x, y := grid{b, 0, []float32{0.01, 0.3, 0.05}}, grid{b, half(b), []float32{0.2}}
		out = append(out, productCase(fmt.Sprintf("matmul_a%db%d_unsigned", b, b), 9, x, y, false, true))
	}
	return out
}

// files gives the folder of a case as it is to be on disk, by path.
func (c conformanceCase) files(t *testing.T) map[string][]byte {
	t.Helper()
	student, err := ir.Parse(c.text, ir.ParseOptions{})
	if err != nil {
		t.Fatalf("%s: %v\n%s", c.name, err, c.text)
	}
	if _, err := ops.Infer(student); err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	g, err := Packed(student)
	if err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	model, err := onnxio.Encode(g, onnxio.WriteOptions{MinOpset: 18, MinIR: 8})
	if err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	out := map[string][]byte{filepath.Join(c.name, "model.onnx"): model}
	put := func(name string, v *ir.Value, x *ir.Tensor) {
		b, err := onnxio.EncodeTensor(x, v.Name)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Join(c.name, "test_data_set_0", name)] = b
	}
	for i, x := range c.inputs {
		put(fmt.Sprintf("input_%d.pb", i), g.Inputs[i], x)
	}
	put("output_0.pb", g.Outputs[0], c.want)
	return out
}

// The folder holds what the formulas give, and the exact evaluator gives the
// same numbers from the operators and from their function bodies.
func TestConformance(t *testing.T) {
	want := map[string][]byte{}
	for _, c := range conformanceCases() {
		for path, b := range c.files(t) {
			want[path] = b
		}
		checkCase(t, c, want[filepath.Join(c.name, "model.onnx")])
	}
	if *update {
		old, err := filepath.Glob(filepath.Join(conformance, "*", "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range old {
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
		}
		for path, b := range want {
			to := filepath.Join(conformance, path)
			if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(to, b, 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	total := 0
	err := filepath.WalkDir(conformance, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "README.md" {
			return err
		}
		have, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		total += len(have)
		rel, err := filepath.Rel(conformance, path)
		if err != nil {
			return err
		}
		if b, ok := want[rel]; !ok {
			t.Errorf("%s is not among the cases; go test ./export -run Conformance -update", rel)
		} else if !bytes.Equal(have, b) {
			t.Errorf("%s differs; go test ./export -run Conformance -update", rel)
		}
		delete(want, rel)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for path := range want {
		t.Errorf("%s is missing; go test ./export -run Conformance -update", path)
	}
	if total > 300_000 {
		t.Errorf("%d bytes, the folder is to stay small", total)
	}
}

func checkCase(t *testing.T, c conformanceCase, model []byte) {
	t.Helper()
	for _, through := range []string{"operators", "function bodies"} {
		g, err := onnxio.Decode(model, onnxio.Options{})
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if through == "function bodies" { // as a reader does that does not know the domain
			for n := range g.Nodes() {
				if n.Domain == ir.Domain {
					n.Domain = "some.reader"
				}
			}
			for _, f := range g.Functions {
				f.Domain = "some.reader"
			}
		}
		in := map[string]*ir.Tensor{}
		for i, x := range c.inputs {
			in[g.Inputs[i].Name] = x
		}
		out, err := ops.EvalGraph(g, in)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		y := out[g.Outputs[0].Name]
		if !slices.Equal(y.Shape, c.want.Shape) {
			t.Fatalf("%s: shape %v, want %v", c.name, y.Shape, c.want.Shape)
		}
		for i, w := range c.want.F32() {
			if y.F32()[i] != w {
				t.Errorf("%s, %s: element %d is %v, the formula gives %v", c.name, through, i, y.F32()[i], w)
				break
			}
		}
	}
}
