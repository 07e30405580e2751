package serve_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/qvitc/qvitc/serve"
)

// load sends n requests over 50 connections and checks every answer against
// what the model says of that image alone.
func load(t *testing.T, url string, n int) {
	t.Helper()
	const connections, images = 50, 40
	bodies, want := make([][]byte, images), make([][]float32, images)
	for i := range bodies {
		bodies[i] = picture(16+i, 20, uint64(i))
		want[i] = logitsOf(t, bodies[i])
	}
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections}, Timeout: time.Minute}
	defer client.CloseIdleConnections()
	var next, wrong, lost, batched atomic.Int64
	var wg sync.WaitGroup
	var first sync.Once
	start := time.Now()
	for range connections {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				k := i * 7 % images
				a, err := ask(client, url+"/v1/classify?top=10", bodies[k])
				if err != nil {
					lost.Add(1)
					first.Do(func() { t.Error(err) })
					continue
				}
				if a.Batch > 1 {
					batched.Add(1)
				}
				ok := len(a.Top) == 10
				for _, c := range a.Top {
					ok = ok && c.Logit == want[k][c.Class]
				}
				if !ok {
					wrong.Add(1)
				}
			}
		})
	}
	wg.Wait()
	d := time.Since(start)
	t.Logf("%d requests over %d connections in %v: %.0f a second; %d wrong, %d lost, %d ran with others", n, connections, d.Round(time.Millisecond), float64(n)/d.Seconds(), wrong.Load(), lost.Load(), batched.Load())
	if wrong.Load() > 0 || lost.Load() > 0 {
		t.Errorf("%d of %d answers are wrong, %d are lost", wrong.Load(), n, lost.Load())
	}
	if batched.Load() == 0 {
		t.Error("no request ran with others")
	}
}

func ask(c *http.Client, url string, body []byte) (*classified, error) {
	r, err := c.Post(url, "image/png", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if r.StatusCode != 200 {
		return nil, fmt.Errorf("%d %s", r.StatusCode, b)
	}
	a := &classified{}
	return a, json.Unmarshal(b, a)
}

// Every one of many requests over 50 connections gets its own right answer.
// QVITC_SERVE_REQUESTS asks for more than the 1,000 of go test.
func TestLoad(t *testing.T) {
	n := 1000
	if text := os.Getenv("QVITC_SERVE_REQUESTS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	url, stop := listen(t, serve.Options{Threads: 2})
	load(t, url, n)
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// Requests that were accepted are answered although the server is ending; later
// ones are refused.
func TestGracefulEnd(t *testing.T) {
	url, stop := listen(t, serve.Options{Threads: 1})
	body := picture(60, 50, 1)
	const n = 8
	answers := make(chan error, n)
	var writers []*io.PipeWriter
	for range n { // half of the body now, the rest when the server is ending
		r, w := io.Pipe()
		writers = append(writers, w)
		go func() {
			req, err := http.NewRequest("POST", url+"/v1/classify", r)
			check(err)
			req.ContentLength = int64(len(body))
			resp, err := http.DefaultClient.Do(req)
			if err == nil {
				if resp.Body.Close(); resp.StatusCode != 200 {
					err = fmt.Errorf("status %d", resp.StatusCode)
				}
			}
			answers <- err
		}()
		_, err := w.Write(body[:len(body)/2])
		check(err)
	}
	for text := ""; !strings.Contains(text, fmt.Sprintf("qvitc_requests_in_flight %d\n", n)); {
		r, err := http.Get(url + "/metrics")
		check(err)
		b, err := io.ReadAll(r.Body)
		check(err)
		r.Body.Close()
		text = string(b)
	}
	ended := make(chan error)
	go func() { ended <- stop() }()
	for { // until no connection is taken any more
		if _, err := ask(&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, url+"/v1/classify", body); err != nil {
			break
		}
	}
	for _, w := range writers {
		if _, err := w.Write(body[len(body)/2:]); err != nil {
			t.Error(err)
		}
		w.Close()
	}
	for range n {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A full server refuses at once and says when to come again.
func TestBusy(t *testing.T) {
	url, _ := listen(t, serve.Options{Threads: 1, Queue: 1})
	var wg sync.WaitGroup
	var busy, ok atomic.Int64
	body := picture(250, 250, 1)
	for range 20 {
		wg.Go(func() {
			r, err := http.Post(url+"/v1/classify", "", bytes.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			defer r.Body.Close()
			switch {
			case r.StatusCode == 200:
				ok.Add(1)
			case r.StatusCode == 503 && r.Header.Get("Retry-After") == "1":
				busy.Add(1)
			default:
				t.Errorf("status %d", r.StatusCode)
			}
		})
	}
	wg.Wait()
	if ok.Load() == 0 || busy.Load() == 0 {
		t.Errorf("%d answered, %d refused", ok.Load(), busy.Load())
	}
}
