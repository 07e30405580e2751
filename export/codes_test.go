package export_test

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/dataset"
	"github.com/qvitc/qvitc/distill"
	"github.com/qvitc/qvitc/export"
	"github.com/qvitc/qvitc/internal/kernel"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/passes"
	"github.com/qvitc/qvitc/quantize"
	"github.com/qvitc/qvitc/runtime"
)

// codesDir, in the environment, is where a child of TestCodesOfEveryQuantiser finds the
// students and writes what the kernel set that it was started with makes of them.
const codesDir = "QVITC_TEST_CODES"

const codesImages = 100

// TestCodesOfEveryQuantiser takes 100 images through the student, as it is trained, and
// through the fused integer program of its file, and wants the same code from every
// quantiser for every element, with each kernel set. Between the sets, whose softmax and
// normalisation may differ in the last bits and so by a code where a number lies halfway
// between two, fewer than one code in 100,000 may be the first to differ in its image.
func TestCodesOfEveryQuantiser(t *testing.T) {
	if dir := os.Getenv(codesDir); dir != "" {
		if kernel.EnvError() != nil {
			return
		}
		eachStudent(t, func(t *testing.T, name string) {
			path := filepath.Join(dir, name+".onnx")
			if _, err := os.Stat(path); err != nil {
				t.Skip("the model or its images are not in this checkout")
			}
			g, err := onnxio.Load(path, onnxio.Options{})
			must(t, err)
			var codes bytes.Buffer
			must(t, gob.NewEncoder(&codes).Encode(studentAgainstFile(t, g, fashion(t, g, dataset.Eval, codesImages), codesImages, codesImages/4)))
			must(t, os.WriteFile(filepath.Join(dir, name+"."+kernel.Name()), codes.Bytes(), 0o600))
		})
		return
	}
	if testing.Short() {
		t.Skip("-short: calibrates whole models")
	}
	dir := t.TempDir()
	eachStudent(t, func(t *testing.T, name string) { saveStudent(t, dir, name) })
	if t.Failed() {
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var sets []string
	all := []string{"avx512", "avx2", "portable"}
	if goruntime.GOARCH == "arm64" {
		all = []string{"neon", "portable"}
	}
	for _, set := range all {
		cmd := exec.Command(self, "-test.run", "^TestCodesOfEveryQuantiser$")
		cmd.Env = append(os.Environ(), codesDir+"="+dir, "QVITC_CPU="+set)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("QVITC_CPU=%s: %v\n%s", set, err, out)
		}
		if _, err := os.Stat(filepath.Join(dir, "deit-fmnist-4."+set)); err == nil {
			sets = append(sets, set)
		} else {
			t.Logf("no answers of the set %s on this machine and build", set)
		}
	}
	if len(sets) == 0 {
		return
	}
	eachStudent(t, func(t *testing.T, name string) {
		for _, set := range sets[1:] {
			sameAnswers(t, read(t, dir, name+"."+sets[0]), read(t, dir, name+"."+set), sets[0]+" and "+set)
		}
	})
}

// eachStudent calls f with the name of every model and width.
func eachStudent(t *testing.T, f func(t *testing.T, name string)) {
	for _, model := range []string{"deit-fmnist", "swin-fmnist"} {
		for _, bits := range []string{"4", "3", "2"} {
			t.Run(model+"-"+bits, func(t *testing.T) { f(t, model+"-"+bits) })
		}
	}
}

// fashion gives the first n images of a split as the model takes them.
func fashion(t *testing.T, g *ir.Graph, split string, n int) []float32 {
	t.Helper()
	size := int(g.Inputs[0].Type.Shape[3].Size)
	set, err := dataset.Open(filepath.Join("..", "testdata", "fashion-mnist"), dataset.OpenOptions{})
	if err != nil {
		t.Skipf("not in this checkout: %v", err)
	}
	t.Cleanup(func() { set.Close() })
	shape := dataset.Shape{C: 1, H: size, W: size}
	prep, err := dataset.Resolve("auto", set, shape)
	if err != nil {
		t.Fatal(err)
	}
	part, err := set.Split(split)
	if err != nil {
		t.Fatal(err)
	}
	l, err := dataset.NewLoader(part.Take(n, 0), prep, shape, dataset.LoaderOptions{Batch: n})
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Batch(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return b.X
}

// saveStudent calibrates a student and writes it to dir.
func saveStudent(t *testing.T, dir, name string) {
	model, width, _ := strings.Cut(name, "-fmnist-")
	bits := int(width[0] - '0')
	path := filepath.Join("..", "testdata", "onnx", model+"-fmnist.onnx")
	if _, err := os.Stat(path); err != nil {
		t.Skipf("not in this checkout: %v", err)
	}
	g, err := onnxio.Load(path, onnxio.Options{})
	must(t, err)
	const n = 32
	calibrated(t, g, bits, fashion(t, g, dataset.Train, n), n)
	must(t, onnxio.Save(filepath.Join(dir, name+".onnx"), g, onnxio.WriteOptions{}))
}

// calibrated makes a student of g on n images.
func calibrated(t *testing.T, g *ir.Graph, bits int, x []float32, n int) {
	t.Helper()
	var d passes.Driver
	_, err := d.Run(g, passes.Clean)
	must(t, err)
	plan := passes.DefaultPlan(bits, bits)
	plan.IRM = passes.IRMRescale
	_, err = d.Run(g, passes.Quantize(plan))
	must(t, err)
	_, err = quantize.Calibrate(context.Background(), g, quantize.SliceBatches(x, len(x)/n, n), quantize.CalibrateOptions{Method: quantize.MinMax, Weights: quantize.MinMax})
	must(t, err)
}

// TestCodesOfEveryQuantiserFullSize does the same with a model of full size.
func TestCodesOfEveryQuantiserFullSize(t *testing.T) {
	path := filepath.Join("..", "..", "shared", "models", "vit-tiny-in1k", "model.onnx")
	if _, err := os.Stat(path); err != nil || testing.Short() {
		t.Skip("-short, or the model is not there")
	}
	g, err := onnxio.Load(path, onnxio.Options{})
	must(t, err)
	const n = 2
	x := make([]float32, n*3*224*224)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range x {
		x[i] = float32(math.Sin(float64(i)/37)) + 0.5*float32(r.NormFloat64())
	}
	calibrated(t, g, 4, x, n)
	studentAgainstFile(t, g, x, n, 1)
}

// studentAgainstFile compares the codes of n images, batch at a time, and gives those of
// the file: of each image what every quantiser makes, in order, and the class.
func studentAgainstFile(t *testing.T, g *ir.Graph, x []float32, n, batch int) [][][]byte {
	packed, err := export.Packed(g)
	must(t, err)
	layer := map[string]string{}
	for n := range g.Nodes() {
		layer[n.Label()] = passes.LayerName(n)
	}
	var params []*ir.Value
	for _, p := range distill.Params(g) {
		params = append(params, p.Value)
	}
	student := program(t, g, runtime.Config{Batch: batch, Train: true, Params: params, KeepCodes: true})
	file := program(t, packed, runtime.Config{Batch: batch, KeepCodes: true})
	images, parts := make([][][]byte, n), n/batch
	must(t, runtime.Parallel(parts, 0, func(i int) error {
		at := x[i*len(x)/parts:][:len(x)/parts]
		want, _, err := codesOf(student, at)
		if err != nil {
			return err
		}
		have, logits, err := codesOf(file, at)
		if err != nil {
			return err
		}
		if err := sameCodes(layer, want, have); err != nil {
			return err
		}
		for b := range batch {
			image := &images[i*batch+b]
			for _, c := range have {
				size := len(c.Data) / batch
				*image = append(*image, slices.Clone(c.Data[b*size:][:size]))
			}
			row := logits[b*len(logits)/batch:][:len(logits)/batch]
			*image = append(*image, []byte{uint8(slices.Index(row, slices.Max(row)))})
		}
		return nil
	}))
	return images
}

func program(t *testing.T, g *ir.Graph, c runtime.Config) *runtime.Program {
	t.Helper()
	p, err := runtime.Compile(g, c)
	must(t, err)
	return p
}

func codesOf(p *runtime.Program, x []float32) ([]runtime.Codes, []float32, error) {
	s := p.NewState()
	copy(s.Input(p.Inputs()[0]), x)
	err := s.Forward()
	return s.Codes(), s.Value(p.Outputs()[0]), err
}

// sameCodes wants the same products, operands and codes. Layers have the names of
// their nodes in the student and their own in the file.
func sameCodes(layer map[string]string, want, have []runtime.Codes) error {
	if len(want) != len(have) || len(want) < 10 {
		return fmt.Errorf("the student has %d quantised operands, its file %d", len(want), len(have))
	}
	var wrong []error
	for i, w := range want {
		h := have[i]
		if h.Product != w.Product && !strings.HasPrefix(h.Product, layer[w.Product]) || h.Operand != w.Operand || h.Cols != w.Cols || len(h.Data) != len(w.Data) {
			return fmt.Errorf("quantiser %d is operand %d of %q in the student, %d of %q in its file", i, w.Operand, w.Product, h.Operand, h.Product)
		}
		if n := differences(w.Data, h.Data); n > 0 {
			wrong = append(wrong, fmt.Errorf("operand %d of %s: %d of %d codes differ", h.Operand, h.Product, n, len(h.Data)))
		}
	}
	return errors.Join(wrong...)
}

func differences(a, b []byte) int {
	n := 0
	for i, x := range a {
		if x != b[i] {
			n++
		}
	}
	return n
}

// sameAnswers compares what two kernel sets give. A code that differs changes what comes
// after it in its image, so the first quantiser of an image that differs is what counts.
func sameAnswers(t *testing.T, a, b [][][]byte, sets string) {
	t.Helper()
	const share = 1e-5
	var first, all, codes int
	for i, image := range a {
		met := false
		for k, q := range image {
			if len(q) != len(b[i][k]) {
				t.Fatalf("%s: %d and %d codes of quantiser %d", sets, len(q), len(b[i][k]), k)
			}
			n := differences(q, b[i][k])
			if !met {
				first += n
			}
			met = met || n > 0
			codes, all = codes+len(q), all+n
		}
	}
	t.Logf("%s: %d of %d codes differ, %d of them in the first quantiser of their image", sets, all, codes, first)
	if float64(first) > share*float64(codes) {
		t.Errorf("%s: %d of %d codes differ in the first quantiser of their image: more than %g", sets, first, codes, share)
	}
}

func read(t *testing.T, dir, name string) (images [][][]byte) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	must(t, err)
	must(t, gob.NewDecoder(bytes.NewReader(b)).Decode(&images))
	return images
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
