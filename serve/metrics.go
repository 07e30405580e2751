package serve

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	rtmetrics "runtime/metrics"
	"slices"
	"sync"
	"time"
)

// metrics are the numbers of GET /metrics, in the text format of Prometheus
// (version 0.0.4).
type metrics struct {
	waiting  func() int // images in the queue
	inFlight func() int // requests that have a place

	mu       sync.Mutex
	requests map[requestKind]int
	latency  map[string]*histogram // by endpoint, seconds
	batches  histogram             // images
	runs     histogram             // seconds
}

type requestKind struct {
	endpoint string
	code     int
}

// histogram counts values up to each bound, and all of them.
type histogram struct {
	bounds []float64
	counts []int // values ≤ bounds[i]
	n      int
	sum    float64
}

func (h *histogram) add(v float64) {
	if h.counts == nil {
		h.counts = make([]int, len(h.bounds))
	}
	for i, b := range h.bounds {
		if v <= b {
			h.counts[i]++
		}
	}
	h.n++
	h.sum += v
}

var (
	seconds = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}
	sizes   = []float64{1, 2, 4, 8, 16, 32, 64}
)

func newMetrics() *metrics {
	return &metrics{requests: map[requestKind]int{}, latency: map[string]*histogram{}, batches: histogram{bounds: sizes}, runs: histogram{bounds: seconds},
		waiting: func() int { return 0 }, inFlight: func() int { return 0 }}
}

func (m *metrics) request(endpoint string, code int, d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests[requestKind{endpoint, code}]++
	if m.latency[endpoint] == nil {
		m.latency[endpoint] = &histogram{bounds: seconds}
	}
	m.latency[endpoint].add(d.Seconds())
}

func (m *metrics) batch(n int, d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.batches.add(float64(n))
	m.runs.add(d.Seconds())
}

func (m *metrics) write(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	m.mu.Lock()
	defer m.mu.Unlock()
	head := func(name, kind, help string) { fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind) }
	head("qvitc_requests_total", "counter", "Requests by endpoint and status.")
	kinds := slices.SortedFunc(maps.Keys(m.requests), func(a, b requestKind) int {
		if a.endpoint != b.endpoint {
			return map[bool]int{true: -1, false: 1}[a.endpoint < b.endpoint]
		}
		return a.code - b.code
	})
	for _, k := range kinds {
		fmt.Fprintf(w, "qvitc_requests_total{endpoint=%q,code=\"%d\"} %d\n", k.endpoint, k.code, m.requests[k])
	}
	head("qvitc_request_seconds", "histogram", "Time from the request's header to its answer.")
	for _, e := range slices.Sorted(maps.Keys(m.latency)) {
		m.latency[e].write(w, "qvitc_request_seconds", fmt.Sprintf("endpoint=%q,", e))
	}
	head("qvitc_batch_images", "histogram", "Images that ran together.")
	m.batches.write(w, "qvitc_batch_images", "")
	head("qvitc_run_seconds", "histogram", "Time of a batch in the model.")
	m.runs.write(w, "qvitc_run_seconds", "")
	head("qvitc_queue_length", "gauge", "Images that wait for a batch.")
	fmt.Fprintf(w, "qvitc_queue_length %d\n", m.waiting())
	head("qvitc_requests_in_flight", "gauge", "Requests in the server.")
	fmt.Fprintf(w, "qvitc_requests_in_flight %d\n", m.inFlight())
	head("qvitc_memory_bytes", "gauge", "Memory that the process has from the system.")
	fmt.Fprintf(w, "qvitc_memory_bytes %d\n", memory())
}

func (h *histogram) write(w io.Writer, name, labels string) {
	for i, b := range h.bounds {
		n := 0
		if h.counts != nil {
			n = h.counts[i]
		}
		fmt.Fprintf(w, "%s_bucket{%sle=\"%v\"} %d\n", name, labels, b, n)
	}
	fmt.Fprintf(w, "%s_bucket{%sle=\"+Inf\"} %d\n", name, labels, h.n)
	braces := ""
	if labels != "" {
		braces = "{" + labels[:len(labels)-1] + "}"
	}
	fmt.Fprintf(w, "%s_sum%s %v\n%s_count%s %d\n", name, braces, h.sum, name, braces, h.n)
}

// memory is what the Go runtime has mapped less what it gave back.
func memory() uint64 {
	s := []rtmetrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	rtmetrics.Read(s)
	return s[0].Value.Uint64() - s[1].Value.Uint64()
}
