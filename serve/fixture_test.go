package serve_test

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/qvitc/qvitc/dataset"
	"github.com/qvitc/qvitc/export"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/passes"
	"github.com/qvitc/qvitc/quantize"
	"github.com/qvitc/qvitc/runtime"
	"github.com/qvitc/qvitc/serve"
	"github.com/qvitc/qvitc/zoo"
)

var shape = dataset.Shape{C: 3, H: 16, W: 16}

// models draws a small DeiT and its 4-bit form, once.
var models = sync.OnceValues(func() (float, packed *ir.Graph) {
	g, err := zoo.DeiT{Dim: 24, Depth: 2, Heads: 3, Patch: 4, Image: 16, Channels: 3, Classes: 10}.Graph(context.Background())
	check(err)
	_, err = (&passes.Driver{}).Run(g, passes.Clean)
	check(err)
	student, _ := g.Clone()
	_, err = (&passes.Driver{}).Run(student, passes.Quantize(passes.DefaultPlan(4, 4)))
	check(err)
	split, err := dataset.Synthetic(shape, 8, 0, 0).Split(dataset.Train)
	check(err)
	l, err := dataset.NewLoader(split, dataset.Preprocess{}, shape, dataset.LoaderOptions{Batch: 8})
	check(err)
	b, err := l.Batch(0, 0)
	check(err)
	_, err = quantize.Calibrate(context.Background(), student, func(i int) ([]float32, int, bool) { return b.X, b.N, i == 0 }, quantize.CalibrateOptions{})
	check(err)
	packed, err = export.Packed(student)
	check(err)
	return g, packed
})

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func packedModel() serve.Model {
	_, p := models()
	return serve.Model{Name: "tiny.w4a4.onnx", Bytes: 12345, Graph: p, Shape: shape, Preprocess: dataset.Preprocess{Mean: []float32{0.5}, Std: []float32{0.25}}}
}

func floatModel() *serve.Model {
	f, _ := models()
	return &serve.Model{Name: "tiny.onnx", Bytes: 54321, Graph: f, Shape: shape, Preprocess: dataset.Preprocess{Mean: []float32{0.5}, Std: []float32{0.25}}}
}

// listen starts a server on the loopback; stop ends it and gives what Serve returned.
func listen(t testing.TB, o serve.Options) (url string, stop func() error) {
	t.Helper()
	s, err := serve.New(packedModel(), o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	var once sync.Once
	var result error
	stop = func() error {
		once.Do(func() {
			cancel()
			select {
			case result = <-ended:
			case <-time.After(30 * time.Second):
				panic("the server does not end")
			}
		})
		return result
	}
	t.Cleanup(func() { _ = stop() })
	return "http://" + l.Addr().String(), stop
}

// picture draws a PNG of the given size.
func picture(w, h int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 0))
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	base := [3]int{r.IntN(256), r.IntN(256), r.IntN(256)}
	for y := range h {
		for x := range w {
			v := func(k int) uint8 { return uint8((base[k] + 9*x*(k+1) + 5*y + r.IntN(40)) % 256) }
			img.Set(x, y, color.RGBA{v(0), v(1), v(2), 255})
		}
	}
	var b bytes.Buffer
	check(png.Encode(&b, img))
	return b.Bytes()
}

// logitsOf runs the packed model on a picture, alone.
func logitsOf(t testing.TB, body []byte) []float32 {
	t.Helper()
	m := packedModel()
	img, _, err := dataset.DecodeImage(body)
	check(err)
	x, err := m.Preprocess.Apply(img, shape)
	check(err)
	s, err := runtime.NewSession(m.Graph, runtime.Options{})
	check(err)
	out, err := s.Run(context.Background(), map[string]*ir.Tensor{"input": ir.Of(x, 1, 3, 16, 16)})
	check(err)
	return out["logits"].F32()
}
