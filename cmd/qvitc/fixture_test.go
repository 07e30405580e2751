package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"image"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/ops"
	"github.com/qvitc/qvitc/runtime"
)

// The fixture of all tests here: a vision transformer of a few kB with made-up
// weights, and pictures labelled by what that model itself answers, so that the
// float model is right on every one and a low-bit one is not.
const (
	tinySide    = 8
	tinyClasses = 3
	tinyTrain   = 96
	tinyEval    = 48
	tinySeed    = 300 // of the weights: every class occurs among the pictures
)

// tinyText is the model: patches of 4x4, four tokens of width 8, two blocks of
// two heads, three classes.
func tinyText() string {
	var consts, nodes strings.Builder
	seed := tinySeed
	weight := func(name, shape string) {
		seed++
		fmt.Fprintf(&consts, "  const %%%s: f32[%s] = rand(%d)\n", name, shape, seed)
	}
	node := func(format string, args ...any) { fmt.Fprintf(&nodes, "  "+format+"\n", args...) }
	linear := func(name, x string, in, out int) string {
		weight(name+".weight", fmt.Sprintf("%d,%d", in, out))
		weight(name+".bias", fmt.Sprint(out))
		node("%%%s.mm = MatMul(%%%s, %%%s.weight) #%q", name, x, name, "/"+strings.ReplaceAll(name, ".", "/")+"/MatMul")
		node("%%%s = Add(%%%s.mm, %%%s.bias)", name, name, name)
		return name
	}
	norm := func(name, x string) string {
		weight(name+".weight", "8")
		weight(name+".bias", "8")
		node("%%%s = LayerNormalization(%%%s, %%%s.weight, %%%s.bias) {axis=-1, epsilon=1e-6f}", name, x, name, name)
		return name
	}
	weight("patch_embed.weight", "8,1,4,4")
	weight("patch_embed.bias", "8")
	weight("pos", "1,4,8")
	node("%%patches = Conv(%%image, %%patch_embed.weight, %%patch_embed.bias) {kernel_shape=[4, 4]i, strides=[4, 4]i} #\"patch_embed\"")
	node("%%bright = Mul(%%patches, %%gain)")
	node("%%columns = Reshape(%%bright, %%flat)")
	node("%%tokens = Transpose(%%columns) {perm=[0, 2, 1]i}")
	node("%%x0 = Add(%%tokens, %%pos)")
	x := "x0"
	for b := range 2 {
		at := fmt.Sprintf("blocks.%d.", b)
		for i, l := range []string{"q", "k", "v"} {
			if i == 0 {
				norm(at+"norm1", x)
			}
			linear(at+"attn."+l, at+"norm1", 8, 8)
			node("%%%s%s4 = Reshape(%%%sattn.%s, %%split)", at, l, at, l)
			node("%%%s%sh = Transpose(%%%s%s4) {perm=[0, 2, %s]i}", at, l, at, l, []string{"1, 3", "3, 1", "1, 3"}[i])
		}
		node("%%%sqk = MatMul(%%%sqh, %%%skh)", at, at, at)
		node("%%%sscaled = Mul(%%%sqk, %%half)", at, at)
		node("%%%sprobs = Softmax(%%%sscaled) {axis=-1}", at, at)
		node("%%%sctx = MatMul(%%%sprobs, %%%svh)", at, at, at)
		node("%%%sctx4 = Transpose(%%%sctx) {perm=[0, 2, 1, 3]i}", at, at)
		node("%%%sctx3 = Reshape(%%%sctx4, %%merge)", at, at)
		node("%%%sres1 = Add(%%%s, %%%s)", at, x, linear(at+"attn.proj", at+"ctx3", 8, 8))
		linear(at+"mlp.fc1", norm(at+"norm2", at+"res1"), 8, 16)
		node("%%%sact = Gelu(%%%smlp.fc1)", at, at)
		node("%%%sres2 = Add(%%%sres1, %%%s)", at, at, linear(at+"mlp.fc2", at+"act", 16, 8))
		x = at + "res2"
	}
	node("%%pooled = ReduceMean(%%%s, %%one) {keepdims=0}", norm("norm", x))
	weight("head.weight", "8,3")
	node("%%logits: f32[batch,3] = Gemm(%%pooled, %%head.weight) #\"head\"")
	return `graph "tiny" {
  meta "qvitc.preprocess" = "mean=0.5 std=0.25"
  input %image: f32[batch,1,8,8]
  const %flat: i64[3] = [0, 8, 4]
  const %split: i64[4] = [0, 4, 2, 4]
  const %merge: i64[3] = [0, 4, 8]
  const %one: i64[1] = [1]
  const %half: f32[] = [0.5]
  const %gain: f32[] = [3]
` + consts.String() + nodes.String() + "  output %logits\n}\n"
}

// saveText writes a graph in text form as an ONNX file.
func saveText(text, path string) error {
	g, err := ir.Parse(text, ir.ParseOptions{})
	if err != nil {
		return err
	}
	if _, err := ops.Infer(g); err != nil {
		return err
	}
	return onnxio.Save(path, g, onnxio.WriteOptions{})
}

// tinyImages gives n pictures of 8x8 bytes: a ramp in a random direction under noise.
func tinyImages(seed uint64, n int) [][]byte {
	r := rand.New(rand.NewPCG(seed, 0))
	out := make([][]byte, n)
	for i := range out {
		dx, dy, base := r.Float64()*40-20, r.Float64()*40-20, r.Float64()*255
		px := make([]byte, tinySide*tinySide)
		for k := range px {
			v := base + dx*float64(k%tinySide-4) + dy*float64(k/tinySide-4) + r.Float64()*40
			px[k] = byte(min(255, max(0, v)))
		}
		out[i] = px
	}
	return out
}

// answers gives the class that the model puts each picture in, preprocessed as
// the model file says.
func answers(model string, images [][]byte) ([]byte, error) {
	g, err := onnxio.Load(model, onnxio.Options{})
	if err != nil {
		return nil, err
	}
	s, err := runtime.NewSession(g, runtime.Options{})
	if err != nil {
		return nil, err
	}
	var x []float32
	for _, px := range images {
		for _, b := range px {
			x = append(x, (float32(b)/255-0.5)/0.25)
		}
	}
	out, err := s.Run(context.Background(), map[string]*ir.Tensor{"image": ir.Of(x, len(images), 1, tinySide, tinySide)})
	if err != nil {
		return nil, err
	}
	logits := out["logits"].F32()
	labels := make([]byte, len(images))
	for i := range labels {
		row := logits[i*tinyClasses:]
		for c := range tinyClasses {
			if row[c] > row[labels[i]] {
				labels[i] = byte(c)
			}
		}
	}
	return labels, nil
}

func writeIDX(path string, dims []int, data []byte) error {
	b := []byte{0, 0, 8, byte(len(dims))}
	for _, d := range dims {
		b = binary.BigEndian.AppendUint32(b, uint32(d))
	}
	return os.WriteFile(path, append(b, data...), 0o666)
}

// makeFixture writes tiny.onnx and the IDX folder data into dir.
func makeFixture(dir string) error {
	model := filepath.Join(dir, "tiny.onnx")
	if err := saveText(tinyText(), model); err != nil {
		return err
	}
	data := filepath.Join(dir, "data")
	if err := os.MkdirAll(data, 0o777); err != nil {
		return err
	}
	for seed, part := range []struct {
		name string
		n    int
	}{{"train", tinyTrain}, {"t10k", tinyEval}} {
		images := tinyImages(uint64(seed), part.n)
		labels, err := answers(model, images)
		if err != nil {
			return err
		}
		var pixels []byte
		for _, px := range images {
			pixels = append(pixels, px...)
		}
		if err := writeIDX(filepath.Join(data, part.name+"-images-idx3-ubyte"), []int{part.n, tinySide, tinySide}, pixels); err != nil {
			return err
		}
		if err := writeIDX(filepath.Join(data, part.name+"-labels-idx1-ubyte"), []int{part.n}, labels); err != nil {
			return err
		}
	}
	return nil
}

// writePictures writes n pictures as PNG files: a folder for each class, or one
// flat folder.
func writePictures(model, dir string, n int, flat bool) error {
	images := tinyImages(7, n)
	labels, err := answers(model, images)
	if err != nil {
		return err
	}
	for i, px := range images {
		to := dir
		if !flat {
			to = filepath.Join(dir, fmt.Sprintf("class%d", labels[i]))
		}
		if err := os.MkdirAll(to, 0o777); err != nil {
			return err
		}
		f, err := os.Create(filepath.Join(to, fmt.Sprintf("%03d.png", i)))
		if err != nil {
			return err
		}
		err = png.Encode(f, &image.Gray{Pix: px, Stride: tinySide, Rect: image.Rect(0, 0, tinySide, tinySide)})
		if err := f.Close(); err != nil {
			return err
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// The labels are what the tests rest on: every class occurs often enough.
func TestFixtureHasAllClasses(t *testing.T) {
	dir := t.TempDir()
	if err := makeFixture(dir); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "data", "t10k-labels-idx1-ubyte"))
	if err != nil {
		t.Fatal(err)
	}
	var count [tinyClasses]int
	for _, c := range b[8:] {
		count[c]++
	}
	for c, n := range count {
		if n < tinyEval/10 {
			t.Errorf("class %d has %d of %d pictures: choose other seeds", c, n, tinyEval)
		}
	}
}
