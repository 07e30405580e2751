package main

import (
	"cmp"
	"strings"

	"github.com/qvitc/qvitc/dataset"
	"github.com/qvitc/qvitc/passes"
	"github.com/spf13/cobra"
)

// prepFlags say how images are preprocessed.
type prepFlags struct {
	text         string
	resize, crop int
	mean, std    []float64
}

func (p *prepFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&p.text, "preprocess", "", "preset ("+strings.Join(dataset.Presets(), ", ")+") or text such as \"mean=0.5 std=0.5 resize=256 crop=224\"; default: what the model file says, else auto")
	f.IntVar(&p.resize, "resize", 0, "resize the shorter side to this many pixels")
	f.IntVar(&p.crop, "crop", 0, "centre crop of this size")
	f.Float64SliceVar(&p.mean, "mean", nil, "mean of each channel, for `values` in 0..1")
	f.Float64SliceVar(&p.std, "std", nil, "deviation of each channel, for `values` in 0..1")
	for _, name := range []string{"mean", "std"} {
		f.Lookup(name).DefValue = "" // not []
	}
}

// given reports whether a flag says how to preprocess.
func (p *prepFlags) given() bool {
	return p.normalises() || p.resize != 0 || p.crop != 0
}

// normalises reports whether a flag says which mean and deviation images get.
func (p *prepFlags) normalises() bool { return p.text != "" || p.mean != nil || p.std != nil }

// textFor gives the text that says how images for m are prepared: the flag's, else
// that of the model's file; empty where neither tells.
func (p *prepFlags) textFor(m *model) string { return cmp.Or(p.text, m.preprocessText()) }

// override applies the single-value flags over the preset.
func (p *prepFlags) override(im *images) error {
	if p.resize != 0 {
		im.prep.Resize = p.resize
	}
	if p.crop != 0 {
		im.prep.Crop = p.crop
	}
	for _, o := range []struct {
		name string
		in   []float64
		out  *[]float32
	}{{"mean", p.mean, &im.prep.Mean}, {"std", p.std, &im.prep.Std}} {
		if o.in == nil {
			continue
		}
		if len(o.in) != im.shape.C && len(o.in) != 1 {
			return failf(exitUsage, "", "--%s has %d values, the model has %d channels", o.name, len(o.in), im.shape.C)
		}
		*o.out = make([]float32, len(o.in))
		for i, v := range o.in {
			(*o.out)[i] = float32(v)
		}
	}
	return im.prep.Check(im.shape)
}

// preprocessText is how the model's file says that images are prepared; empty where
// it does not.
func (m *model) preprocessText() string { return m.graph.Meta["qvitc.preprocess"] }

// preprocess gives what the model's file says, if it says anything.
func (m *model) preprocess(shape dataset.Shape) (p dataset.Preprocess, told bool, err error) {
	text := m.preprocessText()
	if text == "" {
		return p, false, nil
	}
	if p, err = dataset.Resolve(text, nil, shape); err != nil {
		err = failf(exitUsage, "", "%s: %v", m.path, err)
	}
	return p, true, err
}

// normaliseFor lets another model answer for images that were prepared for m:
// where the files of the two tell different means or deviations, the other's
// graph first changes the one into the other. What the files say alike, flags
// override for both.
func (a *app) normaliseFor(other, m *model, im *images) error {
	its, told, err := other.preprocess(im.shape)
	if err != nil || !told || im.set != nil && im.set.Preprocessed() {
		return err
	}
	if own, told, err := m.preprocess(im.shape); err != nil || told && own.SameScale(its) {
		return err
	}
	if im.prep.SameScale(its) {
		return nil
	}
	scale, shift := im.prep.Into(its)
	normalised, _, _ := strings.Cut(its.String(), " resize=")
	a.note("%s sees the images normalised as its file says: %s", other.path, normalised)
	return fail(exitUnsupported, passes.Renormalise(other.graph, scale, shift))
}
