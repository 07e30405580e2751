package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// answer is what /v1/classify returns.
type answer struct {
	Top     []class `json:"top"`
	Batch   int     `json:"batch"`    // images that ran together
	RunMs   float64 `json:"run_ms"`   // of that batch in the model
	TotalMs float64 `json:"total_ms"` // from the request's header to here
}

// class is one of the best classes.
type class struct {
	Class int     `json:"class"`
	Name  string  `json:"name,omitempty"`
	P     float64 `json:"p"`
	Logit float32 `json:"logit"`
}

// comparison is what /v1/attention returns: the model and, where there is one,
// its float original.
type comparison struct {
	Models []attention `json:"models"`
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/classify", s.counted("classify", s.classify))
	mux.HandleFunc("POST /v1/attention", s.counted("attention", s.attention))
	mux.HandleFunc("GET /v1/model", s.describe)
	mux.HandleFunc("GET /healthz", s.health)
	mux.HandleFunc("GET /metrics", s.metrics.write)
	addPage(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Content-Security-Policy", "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'")
		mux.ServeHTTP(w, r)
	})
}

// counted gives a request its place and its deadline, turns errors into answers,
// and counts both.
func (s *Server) counted(name string, h func(context.Context, http.ResponseWriter, *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		ctx, cancel := context.WithTimeout(r.Context(), s.o.Deadline)
		defer cancel()
		v, err := func() (any, error) {
			select {
			case s.places <- struct{}{}:
				defer func() { <-s.places }()
				return h(ctx, w, r)
			default:
				return nil, errBusy
			}
		}()
		code := http.StatusOK
		if err != nil {
			code, v = s.failure(w, err)
		} else if a, ok := v.(*answer); ok {
			a.TotalMs = ms(time.Since(start))
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(v) // the client may have gone
		s.metrics.request(name, code, time.Since(start))
	}
}

// failure gives the status and the one line that an error answers with.
func (s *Server) failure(w http.ResponseWriter, err error) (int, any) {
	code := http.StatusInternalServerError
	var r *refusal
	switch {
	case errors.As(err, &r):
		code = r.code
	case errors.Is(err, errBusy), errors.Is(err, errClosed):
		code = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "1")
	case errors.Is(err, context.DeadlineExceeded):
		code, err = http.StatusGatewayTimeout, fmt.Errorf("no answer within %v", s.o.Deadline)
	case errors.Is(err, context.Canceled):
		code = 499 // the client went away; nobody reads this
	}
	return code, map[string]string{"error": oneLine(err.Error())}
}

func (s *Server) classify(ctx context.Context, w http.ResponseWriter, r *http.Request) (any, error) {
	top := 5
	if text := r.URL.Query().Get("top"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > s.batcher.classes {
			return nil, refuse(http.StatusBadRequest, "top=%.20q: want a number from 1 to %d", text, s.batcher.classes)
		}
		top = n
	}
	x, err := s.read(ctx, w, r)
	if err != nil {
		return nil, err
	}
	res := s.batcher.run(ctx, x)
	if res.err != nil {
		return nil, res.err
	}
	return &answer{Top: s.best(res.logits, top), Batch: res.batch, RunMs: ms(res.run)}, nil
}

// best lists the n classes of highest logits with their probabilities.
func (s *Server) best(logits []float32, n int) []class {
	order := make([]int, len(logits))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case logits[a] > logits[b]:
			return -1
		case logits[a] < logits[b]:
			return 1
		}
		return 0
	})
	sum, high := 0.0, float64(logits[order[0]])
	for _, v := range logits {
		sum += math.Exp(float64(v) - high)
	}
	var out []class
	for _, c := range order[:min(n, len(order))] {
		k := class{Class: c, P: math.Exp(float64(logits[c])-high) / sum, Logit: logits[c]}
		if c < len(s.o.Labels) {
			k.Name = s.o.Labels[c]
		}
		out = append(out, k)
	}
	return out
}

func (s *Server) attention(ctx context.Context, w http.ResponseWriter, r *http.Request) (any, error) {
	x, err := s.read(ctx, w, r)
	if err != nil {
		return nil, err
	}
	var out comparison
	for _, a := range s.attend {
		m, logits, err := a.run(ctx, x)
		if err != nil {
			return nil, err
		}
		m.Top = s.best(logits, 5)
		out.Models = append(out.Models, *m)
	}
	return &out, nil
}

// described is what /v1/model returns.
type described struct {
	Name       string `json:"name"`
	Bytes      int64  `json:"bytes"`
	Float      string `json:"float,omitempty"` // name of the original, where it is there to compare with
	FloatBytes int64  `json:"float_bytes,omitempty"`
	Input      []int  `json:"input"` // C, H, W
	Classes    int    `json:"classes"`
	Preprocess string `json:"preprocess"`
	Resize     int    `json:"resize"` // of the shorter side, 0: none
	Crop       int    `json:"crop"`
	Pad        int    `json:"pad"`
	Kernels    string `json:"kernels,omitempty"`
	MaxBody    int64  `json:"max_body"`
}

func (s *Server) describe(w http.ResponseWriter, _ *http.Request) {
	m, p := s.model, s.model.Preprocess
	d := described{Name: m.Name, Bytes: m.Bytes, Input: []int{m.Shape.C, m.Shape.H, m.Shape.W}, Classes: s.batcher.classes,
		Preprocess: p.String(), Resize: p.Resize, Crop: p.Crop, Pad: p.Pad, Kernels: s.o.Kernels, MaxBody: s.o.MaxBody}
	if f := s.o.Float; f != nil {
		d.Float, d.FloatBytes = f.Name, f.Bytes
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(d)
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	select {
	case <-s.closing:
		http.Error(w, "shutting down", http.StatusServiceUnavailable)
	default:
		fmt.Fprintln(w, "ok")
	}
}

func ms(d time.Duration) float64 { return math.Round(float64(d)/1e3) / 1e3 }
