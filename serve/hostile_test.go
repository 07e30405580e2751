package serve_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/qvitc/qvitc/serve"
)

func floatBits(v float32) uint32 { return math.Float32bits(v) }

// bomb is a PNG header that claims w x h pixels and holds none.
func bomb(w, h uint32) []byte {
	b := []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR")
	b = binary.BigEndian.AppendUint32(b, w)
	b = binary.BigEndian.AppendUint32(b, h)
	b = append(b, 16, 6, 0, 0, 0)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[12:]))
}

// Whatever is sent, the answer is a 4xx in one line of JSON.
func TestHostileBodies(t *testing.T) {
	url, _ := listen(t, serve.Options{MaxBody: 64 << 10, MaxPixels: 1 << 16, Float: floatModel()})
	good := picture(40, 40, 1)
	floats := make([]float32, 3*16*16)
	withNaN := append([]float32(nil), floats...)
	withNaN[7] = float32(math.NaN())
	cases := []struct {
		name, kind string
		body       []byte
		code       int
		want       string
	}{
		{"nothing", "", nil, 400, "the body is empty"},
		{"text", "", []byte("hello"), 400, "not a PNG"},
		{"cut image", "image/png", good[:len(good)/2], 400, "damaged"},
		{"damaged image", "image/png", append(append([]byte(nil), good[:60]...), bytes.Repeat([]byte{7}, 500)...), 400, "damaged"},
		{"too many bytes", "image/png", make([]byte, 64<<10+1), 413, "the limit is 65536"},
		{"too many pixels", "image/png", picture(300, 300, 1)[:60000], 400, "300 x 300 pixels"},
		{"pixel bomb", "image/png", bomb(1<<15, 1<<12), 400, "32768 x 4096 pixels"},
		{"form", "multipart/form-data; boundary=x", []byte("--x\r\n\r\n--x--"), 415, "curl --data-binary"},
		{"no JSON", "application/json", []byte("{"), 400, "the JSON is no"},
		{"JSON of something else", "application/json", []byte(`{"image": "abc"}`), 400, "unknown field"},
		{"two objects", "application/json", []byte(`{"shape":[3,16,16],"data":[]} {}`), 400, "something follows"},
		{"deep JSON", "application/json", []byte(strings.Repeat("[", 60000)), 400, "the JSON is no"},
		{"JSON of another shape", "application/json", []byte(`{"shape":[3,8,8],"data":[1]}`), 400, "want one image [3 16 16]"},
		{"two images", "application/json", []byte(`{"shape":[2,3,16,16],"data":[1]}`), 400, "want one image"},
		{"too few numbers", "application/json", []byte(`{"shape":[3,16,16],"data":[1,2,3]}`), 400, "has 3 numbers, its shape needs 768"},
		{"infinite", "application/json", []byte(`{"shape":[3,16,16],"data":[1e99]}`), 400, "the JSON is no"},
		{"huge shape", "application/json", []byte(`{"shape":[99999999999999999999],"data":[]}`), 400, "the JSON is no"},
		{"NPY with NaN", "", npy(withNaN, "(3, 16, 16)"), 400, "number 7 of the tensor is NaN"},
		{"NPY that lies", "", npy(floats, "(3, 16, 1600000)"), 400, "the NPY array is damaged"},
		{"cut NPY", "", npy(floats, "(3, 16, 16)")[:700], 400, "the NPY array is damaged"},
		{"newlines", "application/json", []byte("{\"a\nb\": 1}"), 400, ""},
	}
	for _, endpoint := range []string{"/v1/classify", "/v1/attention"} {
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				var a classified
				code, text := post(t, url+endpoint, c.kind, c.body, &a)
				if code != c.code || a.Error == "" || !strings.Contains(a.Error, c.want) || strings.Count(text, "\n") != 1 || len(text) > 600 {
					t.Errorf("%d %q, want %d and %q", code, text, c.code, c.want)
				}
			})
		}
	}
	for _, top := range []string{"0", "-1", "11", "x", "1e9", "%00"} {
		var a classified
		if code, text := post(t, url+"/v1/classify?top="+top, "", good, &a); code != 400 || a.Error == "" {
			t.Errorf("top=%s: %d %s", top, code, text)
		}
	}
	var a classified
	if code, text := post(t, url+"/v1/classify", "", good, &a); code != 200 {
		t.Errorf("afterwards: %d %s", code, text)
	}
}

// Mutants of images, arrays and JSON never bring a 5xx or more than a line.
func TestMutants(t *testing.T) {
	url, _ := listen(t, serve.Options{MaxBody: 64 << 10, MaxPixels: 1 << 16})
	data, err := json.Marshal(map[string]any{"shape": []int{3, 16, 16}, "data": make([]float32, 768)})
	check(err)
	seeds := [][]byte{picture(20, 20, 1), npy(make([]float32, 768), "(3, 16, 16)"), data}
	r := rand.New(rand.NewPCG(5, 5))
	for i := range 600 {
		b := append([]byte(nil), seeds[i%3]...)
		for range 1 + r.IntN(4) {
			b[r.IntN(min(len(b), 200))] = byte(r.IntN(256))
		}
		if r.IntN(4) == 0 {
			b = b[:r.IntN(len(b))]
		}
		kind := []string{"", "", "application/json"}[i%3]
		var a classified
		if code, text := post(t, url+"/v1/classify", kind, b, &a); code >= 500 || code != 200 && a.Error == "" || strings.Count(text, "\n") != 1 {
			t.Fatalf("mutant %d: %d %q", i, code, text)
		}
	}
}

// Large bodies sent by many clients at once do not stay in memory.
func TestMemoryIsBounded(t *testing.T) {
	url, _ := listen(t, serve.Options{MaxBody: 1 << 20, Queue: 8})
	body := make([]byte, 1<<20) // zeros: no image
	errs := make(chan error, 150)
	for range 150 {
		go func() {
			r, err := http.Post(url+"/v1/classify", "image/png", bytes.NewReader(body))
			if err == nil {
				_, _ = io.Copy(io.Discard, r.Body)
				r.Body.Close()
				if r.StatusCode != 400 && r.StatusCode != 503 {
					err = fmt.Errorf("status %d", r.StatusCode)
				}
			}
			errs <- err
		}()
	}
	var high uint64
	for done := 0; done < 150; {
		select {
		case err := <-errs:
			done++
			if err != nil && !strings.Contains(err.Error(), "reset") && !strings.Contains(err.Error(), "broken pipe") {
				t.Error(err)
			}
		case <-time.After(5 * time.Millisecond):
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			high = max(high, m.HeapAlloc)
		}
	}
	if high > 60<<20 { // 8 bodies of 1 MiB, each twice while it grows, the collector's slack, and the clients; 150 would be 300
		t.Errorf("the heap grew to %d MiB", high>>20)
	}
}

// A client that sends slowly is cut off, and its place is free again.
func TestSlowClient(t *testing.T) {
	url, _ := listen(t, serve.Options{Deadline: 300 * time.Millisecond, Queue: 1})
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	check(err)
	defer c.Close()
	fmt.Fprintf(c, "POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
	b, err := io.ReadAll(c)
	if err != nil && !strings.Contains(err.Error(), "reset") {
		t.Fatal(err)
	}
	if len(b) > 0 && !strings.HasPrefix(string(b), "HTTP/1.1 400") {
		t.Errorf("answer %q", b)
	}
	var a classified
	if code, text := post(t, url+"/v1/classify", "", picture(9, 9, 1), &a); code != 200 {
		t.Errorf("afterwards: %d %s", code, text)
	}
}
