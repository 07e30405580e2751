package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"

	"github.com/qvitc/qvitc/dataset"
	"github.com/qvitc/qvitc/distill"
	"github.com/qvitc/qvitc/passes"
)

// train fine-tunes the student against the teacher. An interrupt ends it after a
// step, with a checkpoint.
func (j *job) train(ctx context.Context) error {
	if j.o.method == "ptq" {
		return nil
	}
	t := j.o.train
	l, err := dataset.NewLoader(j.trainSet, j.images.prep, j.images.shape, dataset.LoaderOptions{
		Batch: t.batch, Seed: t.seed, Shuffle: true, DropLast: true, Augment: dataset.Augment{Flip: t.flip, Pad: t.cropPad},
	})
	if err != nil {
		return fail(exitIO, err)
	}
	w := &watched{Loader: l}
	p := j.app.longProgress("train", 0)
	defer p.done()
	dj := distill.Job{
		Student: j.student, Teacher: j.teacher, Data: w,
		Options: distill.Options{
			Epochs: t.epochs, Threads: j.app.threads, Optimiser: distill.Optimiser(t.optimiser), LR: t.lr, WarmUp: t.warmUp,
			Loss: &distill.Loss{Hard: t.hard, Soft: t.soft, Tau: t.tau}, EMA: t.ema, Damping: t.damping,
			Checkpoint: j.checkpoint(), CheckpointEvery: t.every, Resume: t.resume, Seed: t.seed,
			Note: fmt.Sprintf("%s calib %s of %d batch %d flip %v crop %d prep %s data %s model %s", j.bits, j.o.calib, j.o.samples,
				t.batch, t.flip, t.cropPad, j.images.prep, j.dataDigest(), j.model.sha),
		},
		Progress: func(s distill.Step) {
			p.of(s.Steps)
			p.show(s.Step, s.ETA, fmt.Sprintf("loss %.4f  %.0f images/s", s.Recent.Total, s.ImagesPerSec))
		},
		Notify: func(m string) { j.app.note("note: %s", m) },
	}
	if t.dgd > 0 {
		dj.Options.DGD = distill.DGD{Mode: distill.DGDMode(t.dgdMode), Lambda: t.dgd, TeacherNorm: j.o.irm == passes.IRMRescale}
		if dj.Taps, err = pairTaps(passes.Taps(j.student), passes.Taps(j.teacher)); err != nil {
			return fail(exitUsage, err)
		}
	}
	j.trained, err = distill.Train(ctx, dj)
	if err == distill.ErrInterrupted { // and not that its checkpoint failed
		err = context.Canceled
	}
	return w.fail(exitUsage, err)
}

// checkpoint is the base name of the checkpoint files.
func (j *job) checkpoint() string {
	if c := j.o.train.checkpoint; c != "" {
		return c
	}
	return j.o.out + ".ckpt"
}

// pairTaps matches the attention blocks of student and teacher.
func pairTaps(s, t []passes.AttentionTap) ([]distill.TapPair, error) {
	if len(s) != len(t) {
		return nil, fmt.Errorf("the teacher has %d attention blocks, the student %d: use --dgd 0 with this teacher", len(t), len(s))
	}
	var out []distill.TapPair
	for i := range s {
		out = append(out, distill.TapPair{StudentQ: s[i].Q, StudentK: s[i].K, TeacherQ: t[i].Q, TeacherK: t[i].K})
	}
	return out, nil
}

// dataDigest identifies the training data by image names and labels.
func (j *job) dataDigest() string {
	h := sha256.New()
	for i := range j.trainSet.Len() {
		fmt.Fprintf(h, "%s %d\n", filepath.Base(j.trainSet.ImageName(i)), j.trainSet.Label(i))
	}
	return hex.EncodeToString(h.Sum(nil))
}
