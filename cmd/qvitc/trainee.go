package main

import (
	"slices"
	"time"

	"github.com/qvitc/qvitc/dataset"
	"github.com/qvitc/qvitc/distill"
	"github.com/qvitc/qvitc/export"
	"github.com/qvitc/qvitc/internal/atomicfile"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/passes"
	"github.com/qvitc/qvitc/report"
)

// traineeFlags are the options that compress and finetune share.
type traineeFlags struct {
	data    dataFlags
	passes  passFlags
	train   trainFlags
	out     string
	teacher string
	recipe  string
}

// trainee is a float model with the images that it learns from: what compress
// and finetune do alike before they train, and after.
type trainee struct {
	app   *app
	flags *traineeFlags
	path  string
	start time.Time
	clean []passes.Pass

	model   *model
	arch    *report.Arch
	classes int
	stopped *ir.Graph // what --stop-after asked to see; ends the run

	images            *images
	trainSet, evalSet *dataset.Split
	trained           *distill.Result
	written           *export.Result
}

// checkPasses settles which passes clean the model; lists are those that follow.
func (t *trainee) checkPasses(lists ...[]passes.Pass) (err error) {
	if t.clean, err = t.flags.passes.parse(); err != nil {
		return err
	}
	return t.flags.passes.check(append([][]passes.Pass{t.clean}, lists...)...)
}

// checkpoint is the base name of the checkpoint files.
func (t *trainee) checkpoint() string {
	if c := t.flags.train.checkpoint; c != "" {
		return c
	}
	return t.flags.out + ".ckpt"
}

// readFloat reads and cleans the model, which must be a float one.
func (t *trainee) readFloat(command string) error {
	m, err := readModel(t.path)
	if err != nil {
		return err
	}
	t.model = m
	if m.packed() || passes.IsQuantised(m.graph) {
		return failf(exitUnsupported, command+" the float model it was made from", "%s: is compressed already", m.path)
	}
	if err := m.finite(); err != nil {
		return err
	}
	if err := t.app.clean(m, t.flags.passes); err != nil {
		return err
	}
	if t.flags.passes.on(t.clean, 0).stopAfter != "" {
		t.stopped = m.graph
	}
	return nil
}

// divide takes the opened images apart into those to train on and those to
// measure on.
func (t *trainee) divide(im *images) (err error) {
	t.images = im
	t.flags.train.augment.side = min(im.shape.H, im.shape.W)
	if t.trainSet, err = im.split(dataset.Train, t.classes); err != nil {
		return err
	}
	if t.evalSet, err = im.split(dataset.Eval, t.classes); err != nil {
		return err
	}
	if t.flags.data.limit > 0 {
		t.evalSet = t.evalSet.Take(t.flags.data.limit, 0)
	}
	return nil
}

// fullBatch refuses batches of more images than there are to train on.
func (t *trainee) fullBatch() error {
	if t.flags.train.batch > t.trainSet.Len() {
		return failf(exitUsage, "", "--batch %d: there are %d training images", t.flags.train.batch, t.trainSet.Len())
	}
	return nil
}

// announce says what the run is about, and clears away what killed runs left.
func (t *trainee) announce(more string) error {
	if _, err := atomicfile.RemoveStale(t.flags.out, t.start); err != nil {
		return fail(exitIO, err)
	}
	t.app.note("%s: %s, %d blocks, %d parameters%s; %s: %d images to train on, %d to measure on",
		t.path, t.arch.Name, t.arch.Blocks, t.arch.Params, more, t.images.set.Path, t.trainSet.Len(), t.evalSet.Len())
	if t.flags.data.path != "" {
		t.app.note("preprocessing: %s (%s)", t.images.prep, t.images.prep.Source)
	}
	for _, n := range slices.Concat(t.model.notes, t.images.set.Notes) {
		t.app.note("note: %s", n)
	}
	return nil
}

func (t *trainee) close() {
	if t.images != nil {
		t.images.set.Close()
	}
}

// dropCheckpoints removes the checkpoints that nobody asked for by name.
func (t *trainee) dropCheckpoints() error {
	if t.flags.train.checkpoint != "" {
		return nil
	}
	return fail(exitIO, distill.RemoveCheckpoints(t.checkpoint()))
}
