package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"github.com/qvitc/qvitc/dataset"
	"github.com/qvitc/qvitc/internal/kernel"
	"github.com/qvitc/qvitc/serve"
	"github.com/spf13/cobra"
)

type serveFlags struct {
	prep     prepFlags
	addr     string
	teacher  string
	labels   string
	maxBatch int
	queue    int
	deadline time.Duration
	maxBody  int64
	maxPix   int64
}

func (a *app) serveCmd() *cobra.Command {
	o := &serveFlags{}
	c := &cobra.Command{
		Use:   "serve MODEL.onnx",
		Short: "Answer images over HTTP, with a page to try the model",
		Long: `serve answers POST /v1/classify with the best classes of an image, a .npy array
or a JSON tensor, and shows a page at / where an image can be dropped: its best
classes, latency, and with --teacher attention maps beside those of the float
model. GET /healthz and /metrics (Prometheus) tell how it is. Waiting requests
run together. SIGTERM and Ctrl-C end it after what was accepted is answered.`,
		Example: "  qvitc serve deit.w4a4.onnx --teacher deit.onnx --labels names.txt\n" +
			"  curl --data-binary @cat.jpg localhost:8080/v1/classify",
		Args: oneModel,
		RunE: func(c *cobra.Command, args []string) error { return a.serve(c.Context(), args[0], o) },
	}
	f := c.Flags()
	f.StringVar(&o.addr, "addr", "127.0.0.1:8080", "address to listen on; port 0 takes a free one")
	f.StringVar(&o.teacher, "teacher", "", "float model to compare with on the page")
	f.StringVar(&o.labels, "labels", "", "file with one class name a line")
	f.IntVar(&o.maxBatch, "batch", 8, "images that run together at most, cut to a power of two")
	f.IntVar(&o.queue, "queue", 128, "requests in the server at once; more are refused")
	f.DurationVar(&o.deadline, "deadline", 10*time.Second, "time of a request")
	f.Int64Var(&o.maxBody, "max-body", 8<<20, "bytes of a request")
	f.Int64Var(&o.maxPix, "max-pixels", 16<<20, "pixels of a picture")
	o.prep.add(c)
	return c
}

func (o *serveFlags) check() error {
	for _, f := range []struct {
		name string
		n    int64
	}{{"batch", int64(o.maxBatch)}, {"queue", int64(o.queue)}, {"deadline", int64(o.deadline)}, {"max-body", o.maxBody}, {"max-pixels", o.maxPix}} {
		if f.n < 1 {
			return failf(exitUsage, "", "--%s: want more than 0", f.name)
		}
	}
	if o.maxBatch > 256 || o.queue > 1<<16 {
		return failf(exitUsage, "", "--batch: want at most 256, --queue at most %d", 1<<16)
	}
	return nil
}

func (a *app) serve(ctx context.Context, path string, o *serveFlags) error {
	if err := o.check(); err != nil {
		return err
	}
	names, err := readLabels(o.labels)
	if err != nil {
		return err
	}
	m, err := a.served(path, &o.prep)
	if err != nil {
		return err
	}
	opt := serve.Options{Labels: names, Kernels: kernel.Name(), Threads: a.threads, MaxBatch: o.maxBatch, Queue: o.queue, Deadline: o.deadline, MaxBody: o.maxBody, MaxPixels: o.maxPix}
	if o.teacher != "" {
		if opt.Float, err = a.servedTeacher(o.teacher, m); err != nil {
			return err
		}
	}
	s, err := serve.New(*m, opt)
	if err != nil {
		return fail(exitUnsupported, err)
	}
	l, err := net.Listen("tcp", o.addr)
	if err != nil {
		s.Close()
		return failf(exitIO, "--addr HOST:PORT names another address", "cannot listen: %v", err)
	}
	fmt.Fprintf(a.out, "serving %s on http://%s\n", path, l.Addr())
	if err := s.Serve(ctx, l); err != nil {
		return fail(exitIO, err)
	}
	a.note("all accepted requests are answered")
	return nil
}

// served reads a model to be served. How images are preprocessed must be told by
// the flags or by the file.
func (a *app) served(path string, p *prepFlags) (*serve.Model, error) {
	m, err := a.loadAny(path)
	if err != nil {
		return nil, err
	}
	out := &serve.Model{Name: filepath.Base(path), Bytes: m.bytes, Graph: m.graph}
	if out.Shape, err = m.imageShape(); err != nil {
		return nil, err
	}
	text := p.textFor(m)
	if text == "" && !p.given() {
		return nil, failf(exitUsage, "for example --preprocess imagenet, or \"mean=0.5 std=0.5 resize=256 crop=224\"", "%s does not say how images are preprocessed: --preprocess is missing", path)
	}
	im := &images{shape: out.Shape}
	if im.prep, err = dataset.Resolve(cmp.Or(text, "none"), nil, out.Shape); err == nil {
		err = p.override(im)
	}
	out.Preprocess = im.prep
	return out, fail(exitUsage, err)
}

// servedTeacher reads the float model; it sees the same images.
func (a *app) servedTeacher(path string, m *serve.Model) (*serve.Model, error) {
	t, err := a.loadAny(path)
	if err != nil {
		return nil, err
	}
	of := &model{path: m.Name, graph: m.Graph}
	if err := t.like(of); err != nil {
		return nil, err
	}
	if err := a.normaliseFor(t, of, &images{prep: m.Preprocess, shape: m.Shape}); err != nil {
		return nil, err
	}
	return &serve.Model{Name: filepath.Base(path), Bytes: t.bytes, Graph: t.graph, Shape: m.Shape, Preprocess: m.Preprocess}, nil
}
