package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/qvitc/qvitc/dataset"
	"github.com/qvitc/qvitc/quantize"
	"github.com/spf13/cobra"
)

// dataFlags say where images come from.
type dataFlags struct {
	path  string
	limit int
	prep  prepFlags
}

func (d *dataFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&d.path, "data", "", "images: a folder (IDX files, one class a folder, or flat), a .tar(.gz), .npy or .npz")
	d.prep.add(c)
}

func (d *dataFlags) addLimit(c *cobra.Command) {
	c.Flags().IntVar(&d.limit, "limit", 0, "measure on at most this many images (0: all)")
}

func (d *dataFlags) check() error {
	if d.path == "" {
		return failf(exitUsage, "point --data at a folder of images", "no data: --data is missing")
	}
	if d.limit < 0 {
		return failf(exitUsage, "", "--limit %d: want 0 or more", d.limit)
	}
	return nil
}

// images is an opened data set with its preprocessing.
type images struct {
	set   *dataset.Set
	prep  dataset.Preprocess
	shape dataset.Shape
	told  bool // the flags or the model's file say how to preprocess
}

// open opens the data set for a model. Preprocessing is what the flags say,
// else what the model file says, else auto.
func (d *dataFlags) open(ctx context.Context, m *model) (*images, error) {
	return openImages(ctx, m, d.path, &d.prep)
}

func openImages(ctx context.Context, m *model, path string, p *prepFlags) (*images, error) {
	shape, err := m.imageShape()
	if err != nil {
		return nil, err
	}
	set, err := dataset.Open(path, dataset.OpenOptions{Context: ctx})
	if err != nil {
		return nil, fail(exitIO, err)
	}
	text := cmp.Or(p.textFor(m), "auto")
	im := &images{set: set, shape: shape}
	if im.prep, err = dataset.ResolveContext(ctx, text, set, shape); err == nil {
		if p.text == "" && text != "auto" {
			im.prep.Source = "as the model file says"
		}
		err = p.override(im)
	}
	if err != nil {
		set.Close()
		return nil, fail(exitUsage, err)
	}
	return im, nil
}

// split gives a part of the set whose labels fit the model.
func (im *images) split(name string, classes int) (*dataset.Split, error) {
	s, err := im.set.Split(name)
	if err != nil {
		return nil, fail(exitIO, err)
	}
	return s, fail(exitUsage, s.CheckLabels(classes))
}

// loader makes batches of a split; a batch of 0 is the whole split.
func (im *images) loader(ctx context.Context, s *dataset.Split, batch int) (*dataset.Loader, error) {
	if batch == 0 || batch > s.Len() {
		batch = s.Len()
	}
	l, err := dataset.NewLoader(s, im.prep, im.shape, dataset.LoaderOptions{Context: ctx, Batch: batch})
	return l, fail(exitIO, err)
}

// watched passes batches on and remembers why one could not be had, so that bad
// data is not blamed on the model.
type watched struct {
	*dataset.Loader
	err error
}

func (w *watched) Fill(b *dataset.Batch, epoch, i int) error {
	err := w.Loader.Fill(b, epoch, i)
	if err != nil {
		w.err = err
	}
	return err
}

// batches gives the batches of one pass in the form that quantize takes.
func (w *watched) batches() quantize.Batches {
	return func(i int) ([]float32, int, bool) {
		var b dataset.Batch
		if i >= w.Batches() || w.Fill(&b, 0, i) != nil {
			return nil, 0, false
		}
		return b.X, b.N, true
	}
}

// fail gives the error a code: that of I/O where the data was at fault.
func (w *watched) fail(code int, err error) error {
	if err != nil && w.err != nil {
		code = exitIO
	}
	return fail(code, err)
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
	more := ""
	if len(s) > 3 {
		more = ", ..."
	}
	what := "images"
	if len(s) == 1 {
		what = "image"
	}
	return fmt.Sprintf("%d unreadable %s skipped: %s%s", len(s), what, strings.Join(first, ", "), more)
}
