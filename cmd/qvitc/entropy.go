package main

import (
	"context"
	"errors"

	"github.com/qvitc/qvitc/dataset"
	"github.com/qvitc/qvitc/passes"
	"github.com/qvitc/qvitc/quantize"
	"github.com/spf13/cobra"
)

type entropyFlags struct {
	data    dataFlags
	bits    int
	samples int
	perHead bool
}

func (a *app) entropyCmd() *cobra.Command {
	o := &entropyFlags{}
	c := &cobra.Command{
		Use:   "entropy MODEL.onnx --data DIR",
		Short: "Measure what quantising q, k, v and the attention map would keep",
		Long: `entropy runs the float model on images and reports, for each attention block, the
entropy of the codes that a b-bit quantiser gives q and k as they are and after
IRM (each token normalised), v and the attention map, beside what a Gaussian of
the same moments would give, with clip rate and relative error.`,
		Example: "  qvitc entropy deit.onnx --data imgs/ -b 2 --per-head",
		Args:    oneModel,
		RunE:    func(c *cobra.Command, args []string) error { return a.entropy(c.Context(), args[0], o) },
	}
	f := c.Flags()
	f.IntVarP(&o.bits, "bits", "b", 4, "width of the quantisers: 2, 3, 4 or 8")
	f.IntVar(&o.samples, "samples", 64, "images to measure on")
	f.BoolVar(&o.perHead, "per-head", false, "one line for each head")
	o.data.add(c)
	return c
}

func (a *app) entropy(ctx context.Context, path string, o *entropyFlags) error {
	switch o.bits {
	case 2, 3, 4, 8:
	default:
		return failf(exitUsage, "use 2, 3, 4 or 8", "bits %d are not supported", o.bits)
	}
	if o.samples < 1 {
		return failf(exitUsage, "", "--samples %d: want at least 1", o.samples)
	}
	if err := o.data.check(); err != nil {
		return err
	}
	m, err := a.loadAny(path)
	if err != nil {
		return err
	}
	var taps []quantize.AttentionTap
	for _, t := range passes.Taps(m.graph) {
		taps = append(taps, quantize.AttentionTap{Block: t.Block, Q: t.Q, K: t.K, V: t.V, Probs: t.Probs})
	}
	if len(taps) == 0 {
		return failf(exitUnsupported, "give the float model, not a packed one", "%s: no attention block recognised", path)
	}
	im, err := o.data.open(ctx, m)
	if err != nil {
		return err
	}
	defer im.set.Close()
	all, err := im.set.Split(dataset.All)
	if err != nil {
		return fail(exitIO, err)
	}
	split := all.Take(o.samples, 0)
	l, err := im.loader(ctx, split, 32)
	if err != nil {
		return err
	}
	w := &watched{Loader: l}
	r, err := quantize.MeasureEntropy(ctx, m.graph, taps, w.batches(), quantize.EntropyOptions{Bits: o.bits, Threads: a.threads})
	if err := w.fail(exitUnsupported, errors.Join(w.err, err)); err != nil {
		return err
	}
	if a.json {
		return a.printJSON(r)
	}
	return r.WriteTable(a.out, o.perHead)
}
