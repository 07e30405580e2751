package main

import (
	"github.com/qvitc/qvitc/dataset"
)

// syntheticImages is how many images are drawn where there is no data, to
// calibrate on and as many to compare answers on.
const syntheticImages = 32

// synthetic reports whether the job has no data of its own.
func (j *job) synthetic() bool { return j.o.data.path == "" }

// checkNoData refuses what cannot be done without data.
func (o *compressFlags) checkNoData() error {
	switch {
	case o.method == "qat":
		return failf(exitUsage, "point --data at a folder of images, or use --method ptq", "no data to fine-tune on: --data is missing")
	case o.maxDrop > 0:
		return failf(exitUsage, "point --data at labelled images", "--max-drop: no data to measure on: --data is missing")
	case o.data.limit < 0:
		return failf(exitUsage, "", "--limit %d: want 0 or more", o.data.limit)
	}
	return nil
}

// synthetic draws images for the model. Preprocessing is noted in the output
// only where the user or the model's file tells it.
func (o *compressFlags) synthetic(m *model) (*images, error) {
	shape, err := m.imageShape()
	if err != nil {
		return nil, err
	}
	im := &images{set: dataset.Synthetic(shape, o.samples, syntheticImages, o.train.seed), shape: shape}
	text := o.data.prep.textFor(m)
	im.told = text != "" || o.data.prep.given()
	if im.prep, err = dataset.Resolve(text, im.set, shape); err == nil {
		err = o.data.prep.override(im)
	}
	return im, fail(exitUsage, err)
}
