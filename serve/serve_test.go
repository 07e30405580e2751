package serve_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/dataset"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/serve"
)

type topClass struct {
	Class int
	Name  string
	P     float64
	Logit float32
}

type classified struct {
	Top     []topClass
	Batch   int
	RunMs   float64 `json:"run_ms"`
	TotalMs float64 `json:"total_ms"`
	Error   string
}

// post sends a body and reads the JSON that comes back into v.
func post(t testing.TB, url, kind string, body []byte, v any) (code int, text string) {
	t.Helper()
	r, err := http.Post(url, kind, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	if v != nil {
		if err := json.Unmarshal(b, v); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
	}
	return r.StatusCode, string(b)
}

func TestClassify(t *testing.T) {
	url, _ := listen(t, serve.Options{Labels: []string{"zero", "one", "two"}})
	body := picture(40, 30, 1)
	want := logitsOf(t, body)
	for _, kind := range []string{"image/png", "application/octet-stream", ""} {
		var a classified
		if code, text := post(t, url+"/v1/classify?top=10", kind, body, &a); code != 200 || len(a.Top) != 10 || a.Batch != 1 || a.TotalMs <= 0 {
			t.Fatalf("%d %s", code, text)
		}
		sum := 0.0
		for i, c := range a.Top {
			if c.Logit != want[c.Class] {
				t.Errorf("class %d has logit %v, the model says %v", c.Class, c.Logit, want[c.Class])
			}
			if i > 0 && c.Logit > a.Top[i-1].Logit {
				t.Error("the classes are not in order")
			}
			if name := map[int]string{0: "zero", 1: "one", 2: "two"}[c.Class]; name != c.Name {
				t.Errorf("class %d is called %q", c.Class, c.Name)
			}
			sum += c.P
		}
		if sum < 0.9999 || sum > 1.0001 {
			t.Errorf("probabilities add up to %v", sum)
		}
	}
	var a classified
	if post(t, url+"/v1/classify", "image/png", body, &a); len(a.Top) != 5 {
		t.Errorf("%d classes by default", len(a.Top))
	}
}

// A tensor that is preprocessed by the client gets the answer of the image.
func TestClassifyTensors(t *testing.T) {
	url, _ := listen(t, serve.Options{})
	body := picture(16, 16, 2)
	img, _, err := dataset.DecodeImage(body)
	check(err)
	x, err := packedModel().Preprocess.Apply(img, shape)
	check(err)
	var want classified
	post(t, url+"/v1/classify", "image/png", body, &want)
	asJSON := func(shape ...int) []byte {
		b, err := json.Marshal(map[string]any{"shape": shape, "data": x})
		check(err)
		return b
	}
	for name, b := range map[string][]byte{"json": asJSON(3, 16, 16), "json with batch": asJSON(1, 3, 16, 16), "npy": npy(x, "(1, 3, 16, 16)")} {
		kind := "application/json"
		if name == "npy" {
			kind = "application/octet-stream"
		}
		var a classified
		if code, text := post(t, url+"/v1/classify", kind, b, &a); code != 200 || fmt.Sprint(a.Top) != fmt.Sprint(want.Top) {
			t.Errorf("%s: %d %s, want %v", name, code, text, want.Top)
		}
	}
}

// npy writes a NPY file.
func npy(x []float32, shape string) []byte {
	head := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': %s, }", shape)
	head += strings.Repeat(" ", 118-len(head)-1) + "\n"
	b := append([]byte("\x93NUMPY\x01\x00\x76\x00"), head...)
	t := ir.Of(x, len(x))
	for i := range x {
		v := uint32(0)
		v = floatBits(t.F32()[i])
		b = append(b, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
	}
	return b
}

func TestAttention(t *testing.T) {
	url, _ := listen(t, serve.Options{Float: floatModel()})
	body := picture(33, 21, 3)
	var a struct {
		Models []struct {
			Name   string
			Top    []topClass
			RunMs  float64 `json:"run_ms"`
			Blocks []struct {
				Block, Side int
				Kind        string
				Map         []float32
			}
		}
	}
	code, text := post(t, url+"/v1/attention", "image/png", body, &a)
	if code != 200 || len(a.Models) != 2 {
		t.Fatalf("%d %s", code, text)
	}
	want := logitsOf(t, body)
	for i, name := range []string{"tiny.w4a4.onnx", "tiny.onnx"} {
		m := a.Models[i]
		if m.Name != name || len(m.Blocks) != 2 || len(m.Top) != 5 || m.RunMs <= 0 {
			t.Fatalf("model %d: %+v", i, m)
		}
		if i == 0 && m.Top[0].Logit != want[m.Top[0].Class] {
			t.Errorf("the tapped model gives another logit: %v, %v", m.Top[0].Logit, want[m.Top[0].Class])
		}
		for k, b := range m.Blocks {
			var high float32
			for _, v := range b.Map {
				high = max(high, v)
				if v < 0 {
					t.Errorf("attention %v", v)
				}
			}
			if b.Block != k || b.Kind != "class token" || b.Side != 4 || len(b.Map) != 16 || high != 1 {
				t.Errorf("block %d: %+v", k, b)
			}
		}
	}
}

func TestOtherPaths(t *testing.T) {
	url, _ := listen(t, serve.Options{Float: floatModel(), Kernels: "avx"})
	get := func(path string) (int, string, http.Header) {
		r, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, _ := io.ReadAll(r.Body)
		return r.StatusCode, string(b), r.Header
	}
	if code, text, h := get("/"); code != 200 || !strings.Contains(text, "Drop an image") || !strings.Contains(h.Get("Content-Security-Policy"), "default-src 'self'") {
		t.Errorf("page: %d %s", code, text)
	}
	for _, p := range []string{"/app.js", "/style.css", "/favicon.svg"} {
		if code, text, _ := get(p); code != 200 || strings.Contains(text, "https://") {
			t.Errorf("%s: %d, or it loads something from elsewhere", p, code)
		}
	}
	if code, text, _ := get("/v1/model"); code != 200 || !strings.Contains(text, `"name":"tiny.w4a4.onnx"`) || !strings.Contains(text, `"float":"tiny.onnx"`) {
		t.Errorf("model: %d %s", code, text)
	}
	if code, text, _ := get("/healthz"); code != 200 || text != "ok\n" {
		t.Errorf("health: %d %q", code, text)
	}
	if code, _, _ := get("/v1/classify"); code != 405 {
		t.Errorf("GET of an endpoint for POST: %d", code)
	}
	for _, p := range []string{"/nothing", "/web/index.html", "/../serve.go"} {
		if code, _, _ := get(p); code != 404 {
			t.Errorf("%s: %d", p, code)
		}
	}
	post(t, url+"/v1/classify", "", picture(8, 8, 1), nil)
	post(t, url+"/v1/classify", "", []byte("x"), nil)
	_, text, h := get("/metrics")
	for _, want := range []string{
		`qvitc_requests_total{endpoint="classify",code="200"} 1`, `qvitc_requests_total{endpoint="classify",code="400"} 1`,
		`qvitc_request_seconds_count{endpoint="classify"} 2`, `qvitc_batch_images_bucket{le="1"} 1`, "qvitc_run_seconds_count 1", "qvitc_queue_length 0", "qvitc_memory_bytes ",
	} {
		if !strings.Contains(text, want+"\n") && !strings.Contains(text, want) {
			t.Errorf("metrics have no %q:\n%s", want, text)
		}
	}
	if !strings.HasPrefix(h.Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Error(h.Get("Content-Type"))
	}
}

func TestModelsThatCannotBeServed(t *testing.T) {
	f, p := models()
	other := floatModel()
	other.Shape = dataset.Shape{C: 3, H: 8, W: 8}
	parse := func(text string) *ir.Graph {
		g, err := ir.Parse(text, ir.ParseOptions{})
		check(err)
		return g
	}
	for _, c := range []struct {
		m    serve.Model
		o    serve.Options
		want string
	}{
		{serve.Model{Name: "m", Graph: p, Shape: dataset.Shape{C: 1, H: 16, W: 16}}, serve.Options{}, `m: input "input" is f32[batch,3,16,16]`},
		{serve.Model{Name: "m", Graph: parse("graph \"g\" {\n  input %x: f32[2,3,16,16]\n  %y: f32[2,3,16,16] = Relu(%x)\n  output %y\n}\n"), Shape: shape}, serve.Options{}, "fixed batch of 2"},
		{serve.Model{Name: "m", Graph: parse("graph \"g\" {\n  input %x: f32[n,3,16,16]\n  %y: f32[n,3,16,16] = Relu(%x)\n  output %y\n}\n"), Shape: shape}, serve.Options{}, "want f32 logits"},
		{packedModel(), serve.Options{Float: other}, `tiny.onnx: input`},
		{serve.Model{Name: "m", Graph: f, Shape: shape}, serve.Options{Queue: -1}, "must be positive"},
	} {
		if _, err := serve.New(c.m, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}

func Example() {
	m := packedModel()
	s, err := serve.New(m, serve.Options{Labels: []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}})
	if err != nil {
		panic(err)
	}
	defer s.Close()
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest("POST", "/v1/classify?top=1", bytes.NewReader(picture(20, 20, 1))))
	var answer struct{ Top []struct{ Name string } }
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		panic(err)
	}
	fmt.Println(w.Code, len(answer.Top), len(answer.Top[0].Name))
	// Output: 200 1 1
}
