package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/qvitc/qvitc/dataset"
	"github.com/spf13/cobra"
)

// dataFlags say where images come from and how they are preprocessed.
type dataFlags struct {
	path       string
	preprocess string
	resize     int
	crop       int
	mean, std  []float64
	limit      int
}

func (d *dataFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&d.path, "data", "", "images: a folder (IDX files, one class a folder, or flat), a .tar(.gz), .npy or .npz")
	f.StringVar(&d.preprocess, "preprocess", "", "preset (auto, imagenet, half, cifar10, mnist, none) or text such as \"mean=0.5 std=0.5 resize=256 crop=224\"; default: what the model file says, else auto")
	f.IntVar(&d.resize, "resize", 0, "resize the shorter side to this many pixels")
	f.IntVar(&d.crop, "crop", 0, "centre crop of this size")
	f.Float64SliceVar(&d.mean, "mean", nil, "mean of each channel, for values in 0..1")
	f.Float64SliceVar(&d.std, "std", nil, "deviation of each channel, for values in 0..1")
	f.IntVar(&d.limit, "limit", 0, "measure on at most this many images (0: all)")
}

// images is an opened data set with its preprocessing.
type images struct {
	set   *dataset.Set
	prep  dataset.Preprocess
	shape dataset.Shape
}

// open opens the data set for a model; fromModel is the preprocessing noted in
// the model file, if any.
func (d *dataFlags) open(ctx context.Context, m *model, fromModel string) (*images, error) {
	shape, err := imageShape(m.path, m.graph)
	if err != nil {
		return nil, err
	}
	if d.path == "" {
		return nil, failf(exitUsage, "point --data at a folder of images; a few hundred are enough for --method ptq", "no data: --data is missing")
	}
	set, err := dataset.Open(d.path, dataset.OpenOptions{Context: ctx})
	if err != nil {
		f := &failure{code: exitIO, err: err}
		if errors.Is(err, fs.ErrNotExist) {
			f.hint = "check the path given to --data"
		}
		return nil, f
	}
	im := &images{set: set, shape: shape}
	text := d.preprocess
	if text == "" {
		text = fromModel
	}
	if text == "" {
		text = "auto"
	}
	if im.prep, err = dataset.ResolveContext(ctx, text, set, shape); err != nil {
		return nil, fail(exitUsage, err)
	}
	if err := d.override(im); err != nil {
		return nil, err
	}
	return im, nil
}

// override applies the single-value flags over the preset.
func (d *dataFlags) override(im *images) error {
	if d.resize > 0 {
		im.prep.Resize = d.resize
	}
	if d.crop > 0 {
		im.prep.Crop = d.crop
	}
	for _, o := range []struct {
		name string
		in   []float64
		out  *[]float32
	}{{"mean", d.mean, &im.prep.Mean}, {"std", d.std, &im.prep.Std}} {
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
	return nil
}

// skippedNote says in one line what was left out of the set.
func (im *images) skippedNote() string {
	s := im.set.Skipped()
	if len(s) == 0 {
		return ""
	}
	var first []string
	for _, k := range s[:min(3, len(s))] {
		first = append(first, fmt.Sprintf("%s (%s)", k.Path, k.Reason))
	}
	return fmt.Sprintf("%d unreadable images skipped: %s", len(s), strings.Join(first, ", "))
}
