package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/qvitc/qvitc/bench"
	"github.com/qvitc/qvitc/report"
	"github.com/spf13/cobra"
)

// peerFlags say which other programs run beside ours.
type peerFlags struct {
	vs     string
	models []string
	int8   bool
	python string
	node   string
	torch  string
}

func (o *peerFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.vs, "vs", "", "let this take turns: ort (ONNX Runtime, of Python or Node) or, with --train, torch (PyTorch)")
	f.StringArrayVar(&o.models, "vs-model", nil, "model that the other runs, such as the float original (repeatable; default: the same file)")
	f.BoolVar(&o.int8, "vs-int8", false, "the other also runs its own 8-bit form of each --vs-model")
	f.StringVar(&o.python, "ort-python", "python3", "Python interpreter that has onnxruntime")
	f.StringVar(&o.node, "ort-node", "", "Node that has onnxruntime-node, in node_modules or NODE_PATH, to be used instead of Python")
	f.StringVar(&o.torch, "torch-python", "python3", "Python interpreter that has torch")
}

func (o *peerFlags) check(train bool) error {
	switch {
	case train && o.vs != "" && o.vs != "torch":
		return failf(exitUsage, "there is torch", "--vs %q: cannot be trained beside ours", o.vs)
	case !train && o.vs != "" && o.vs != "ort":
		return failf(exitUsage, "there is ort; with --train torch", "--vs %q is not known", o.vs)
	case train && (len(o.models) > 0 || o.int8):
		return failf(exitUsage, "", "--vs-model and --vs-int8 do not go with --train")
	case o.vs == "" && (len(o.models) > 0 || o.int8):
		return failf(exitUsage, "add --vs ort", "--vs-model and --vs-int8 say what the program of --vs runs, and --vs is missing")
	case o.node != "" && o.vs != "ort":
		return failf(exitUsage, "add --vs ort", "--ort-node says where the program of --vs is, and --vs ort is missing")
	case o.node != "" && o.int8:
		return failf(exitUsage, "quantise with --ort-python, or name the quantised file with --vs-model", "--vs-int8: Node's package cannot quantise a model")
	case o.int8 && len(o.models) == 0:
		return failf(exitUsage, "name the float model with --vs-model", "--vs-int8: there is no float model to quantise")
	}
	for _, m := range o.models {
		if _, err := os.Stat(m); err != nil {
			return fail(exitIO, err)
		}
	}
	return nil
}

// peerResult compares one peer with us; ratios are its time over ours.
type peerResult struct {
	Name        string  `json:"name"`
	Model       string  `json:"model"`
	BestMs      float64 `json:"best_ms"`
	P50Ms       float64 `json:"p50_ms"`
	BestRatio   float64 `json:"best_ratio"`
	MedianRatio float64 `json:"median_ratio"`
	LoadMs      float64 `json:"load_ms"`
	FirstMs     float64 `json:"first_ms"`
	OverBareMB  float64 `json:"over_bare_mb"`
}

// peer is a running child.
type peer struct {
	*bench.Child
	model string
}

type peers []peer

// start starts one child for each model and form.
func (o *peerFlags) start(ctx context.Context, a *app, r *benched) (peers, error) {
	if o.vs == "" {
		return nil, nil
	}
	models := o.models
	if len(models) == 0 {
		models = []string{r.Model}
	}
	var ps peers
	for _, m := range models {
		for _, int8 := range []bool{false, true} {
			if int8 && !o.int8 {
				continue
			}
			c, err := bench.StartORT(ctx, bench.ORTOptions{Python: o.python, Node: o.node, Model: m, Int8: int8, Batch: r.Batch, Threads: a.threads})
			if err != nil {
				ps.close()
				if ctx.Err() != nil {
					return nil, fail(exitInternal, ctx.Err())
				}
				hint := "--ort-python names a Python that has onnxruntime (pip install onnxruntime onnx), --ort-node a Node (npm install onnxruntime-node)"
				return nil, failf(exitUnsupported, hint, "ONNX Runtime does not run %s: %v", m, err)
			}
			ps = append(ps, peer{c, m})
		}
	}
	return ps, nil
}

// startTraining starts the other program with a network of the same sizes.
func (o *peerFlags) startTraining(ctx context.Context, b *trainBench) (peers, error) {
	if o.vs == "" {
		return nil, nil
	}
	arch, err := report.Describe(b.model.graph)
	if err != nil {
		return nil, fail(exitUnsupported, err)
	}
	if len(arch.Widths) != 1 || len(arch.Patch) != 2 || arch.Patch[0] != arch.Patch[1] || b.shape.H != b.shape.W {
		return nil, failf(exitUnsupported, "", "%s is %s: PyTorch's step is written for ViT and DeiT on square images", b.model.path, arch.Name)
	}
	t := bench.TorchOptions{Python: o.torch, Dim: arch.Widths[0], Depth: arch.Blocks, Heads: arch.Heads[0], Patch: arch.Patch[0], Image: b.shape.H,
		Channels: b.shape.C, Classes: b.classes, Batch: b.o.batch, Threads: b.app.threads}
	if !b.o.train.float() {
		t.Weights, t.Acts = b.bits.weights, b.bits.acts
	}
	c, err := bench.StartTorch(ctx, t)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fail(exitInternal, ctx.Err())
		}
		return nil, failf(exitUnsupported, "--torch-python names a Python that has torch (pip install torch numpy)", "PyTorch does not run: %v", err)
	}
	return peers{{c, "the same sizes"}}, nil
}

func (ps peers) close() {
	for _, p := range ps {
		p.Close()
	}
}

func (ps peers) subjects() []bench.Subject {
	var out []bench.Subject
	for _, p := range ps {
		out = append(out, p)
	}
	return out
}

// results compares the times of the peers, times[1:], with ours, times[0].
func (ps peers) results(times [][]time.Duration) []peerResult {
	ours := bench.Summarise(times[0])
	var out []peerResult
	for i, p := range ps {
		s := bench.Summarise(times[i+1])
		out = append(out, peerResult{
			Name: p.Name(), Model: p.model, BestMs: bench.Ms(s.Best), P50Ms: bench.Ms(s.P50),
			BestRatio: float64(s.Best) / float64(ours.Best), MedianRatio: float64(s.P50) / float64(ours.P50),
			LoadMs: p.Hello.LoadMs, FirstMs: p.Hello.FirstMs, OverBareMB: p.Hello.OverBareMB,
		})
	}
	return out
}

func printPeers(w io.Writer, peers []peerResult, turn int) {
	if len(peers) == 0 {
		return
	}
	fmt.Fprintf(w, "\nin turns of %d, other over ours: best to best and median to median\n", turn)
	for _, p := range peers {
		fmt.Fprintf(w, "%-28s %-24s best %.2f ms %5.2fx  median %.2f ms %5.2fx  load + first %.0f ms  +%.0f MB\n",
			p.Name, filepath.Base(p.Model), p.BestMs, p.BestRatio, p.P50Ms, p.MedianRatio, p.LoadMs+p.FirstMs, p.OverBareMB)
	}
}
