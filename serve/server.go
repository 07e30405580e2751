package serve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/qvitc/qvitc/dataset"
	"github.com/qvitc/qvitc/ir"
)

// Model is a network that is served. The graph has one float32 image input
// [batch, C, H, W] and logits [batch, classes] as its first output.
type Model struct {
	Name       string // as shown
	Bytes      int64  // of the file
	Graph      *ir.Graph
	Shape      dataset.Shape
	Preprocess dataset.Preprocess
}

// Options bound what the server does. Zero values stand for the defaults.
type Options struct {
	Float   *Model   // the original, for the comparison on the page; may be nil
	Labels  []string // class names
	Kernels string   // name of the kernel set, as shown

	Threads   int           // cores of a batch, and pictures decoded at once; 1
	MaxBatch  int           // images of a batch, cut to a power of two; 8
	Queue     int           // requests in the server at once, more are refused; 128
	Deadline  time.Duration // of one request from its header to its answer; 10 s
	MaxBody   int64         // bytes of a request; 8 MiB
	MaxPixels int64         // of a picture; 16 Mi
	Drain     time.Duration // for accepted requests at the end; 15 s
}

func (o Options) withDefaults() Options {
	o.Threads = max(1, o.Threads)
	o.MaxBatch = cmp.Or(o.MaxBatch, 8)
	o.Queue = cmp.Or(o.Queue, 128)
	o.Deadline = cmp.Or(o.Deadline, 10*time.Second)
	o.MaxBody = cmp.Or(o.MaxBody, 8<<20)
	o.MaxPixels = cmp.Or(o.MaxPixels, 16<<20)
	o.Drain = cmp.Or(o.Drain, 15*time.Second)
	return o
}

// Server is the service. It is safe for concurrent use.
type Server struct {
	model   Model
	o       Options
	batcher *batcher
	attend  []*attender // of the model and of the float original
	places  chan struct{}
	decodes chan struct{}
	metrics *metrics
	handler http.Handler
	closing chan struct{} // closed when the end begins
}

// New prepares the model and starts the workers; Close ends them. The errors say
// what about the model or the options does not fit.
func New(m Model, o Options) (*Server, error) {
	o = o.withDefaults()
	if o.MaxBatch < 1 || o.Queue < 1 || o.Deadline < 0 || o.MaxBody < 1 || o.MaxPixels < 1 || o.Drain < 0 {
		return nil, errors.New("the limits of the server must be positive")
	}
	classes, err := m.check()
	if err != nil {
		return nil, err
	}
	s := &Server{
		model: m, o: o, metrics: newMetrics(), closing: make(chan struct{}),
		places: make(chan struct{}, o.Queue), decodes: make(chan struct{}, o.Threads),
	}
	if s.batcher, err = newBatcher(m, classes, o, s.metrics); err != nil {
		return nil, err
	}
	s.metrics.waiting, s.metrics.inFlight = s.batcher.waiting, func() int { return len(s.places) }
	s.attend = append(s.attend, newAttender(m))
	if o.Float != nil {
		n, err := o.Float.check()
		if err == nil && (n != classes || o.Float.Shape != m.Shape) {
			err = fmt.Errorf("%s takes images of %v and tells %d classes, %s %v and %d", o.Float.Name, o.Float.Shape, n, m.Name, m.Shape, classes)
		}
		if err != nil {
			s.batcher.close()
			return nil, err
		}
		s.attend = append(s.attend, newAttender(*o.Float))
	}
	s.handler = s.routes()
	return s, nil
}

// check gives the number of classes of a model that can be served.
func (m Model) check() (classes int, err error) {
	if len(m.Graph.Inputs) != 1 || len(m.Graph.Outputs) == 0 {
		return 0, fmt.Errorf("%s: has %d inputs and %d outputs, want one image input and logits", m.Name, len(m.Graph.Inputs), len(m.Graph.Outputs))
	}
	in, out := m.Graph.Inputs[0].Type, m.Graph.Outputs[0].Type
	want := ir.Known(0, m.Shape.C, m.Shape.H, m.Shape.W)
	if in.Elem != ir.Float32 || in.Rank() != 4 || !slices.Equal(in.Shape[1:], want[1:]) {
		return 0, fmt.Errorf("%s: input %s is %v, want f32 [batch,%d,%d,%d]", m.Name, ir.Quote(m.Graph.Inputs[0].Name), in, m.Shape.C, m.Shape.H, m.Shape.W)
	}
	if d := in.Shape[0]; d.Known() && d.Size != 1 {
		return 0, fmt.Errorf("%s: has a fixed batch of %d images: export it with a dynamic batch or a batch of 1", m.Name, d.Size)
	}
	if out.Elem != ir.Float32 || out.Rank() != 2 || !out.Shape[1].Known() || out.Shape[1].Size < 1 {
		return 0, fmt.Errorf("%s: output %s is %v, want f32 logits [batch,classes]", m.Name, ir.Quote(m.Graph.Outputs[0].Name), out)
	}
	return int(out.Shape[1].Size), nil
}

// Handler is the service without its listener.
func (s *Server) Handler() http.Handler { return s.handler }

// Close ends the workers; requests that still wait are refused.
func (s *Server) Close() { s.batcher.close() }

// Serve answers requests on l until ctx ends. Then it takes no new connection,
// tells /healthz so, answers what it has accepted within Options.Drain, and
// closes the server. It returns nil after such an end.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	defer s.Close()
	h := &http.Server{
		Handler: s.handler, ErrorLog: log.New(discard{}, "", 0),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: s.o.Deadline, WriteTimeout: s.o.Deadline + 10*time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
	failed := make(chan error, 1)
	go func() { failed <- h.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	close(s.closing)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.o.Drain)
	defer cancel()
	if err := h.Shutdown(drain); err != nil {
		h.Close()
		return fmt.Errorf("requests were cut off after %v: %w", s.o.Drain, err)
	}
	return nil
}

// discard takes what net/http says about broken connections.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
