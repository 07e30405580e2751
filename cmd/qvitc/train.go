package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/qvitc/qvitc/dataset"
	"github.com/qvitc/qvitc/distill"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/passes"
)

// training is a run of distill.Train as compress and finetune start it.
type training struct {
	flags   *trainFlags
	student *ir.Graph // trained in place
	teacher *ir.Graph // nil: none
	known   string    // names the teacher, for what runs share
	images  *images
	split   *dataset.Split

	checkpoint  string
	note        string // what else the run rests on: a resumed run must share it
	normTeacher bool   // the teacher's q and k are normalised before DGD compares them
	damping     float64
	gradScale   bool // LSQ's factor on the gradients of quantisers
	frozen      map[*ir.Value]bool
	epoch       func(done int) error // the student holds the result so far; may be nil
}

// train runs a training with progress. An interrupt ends it after a step, with a
// checkpoint.
func (a *app) train(ctx context.Context, r training) (*distill.Result, error) {
	t := r.flags
	l, err := dataset.NewLoader(r.split, r.images.prep, r.images.shape, t.loader())
	if err != nil {
		return nil, fail(exitIO, err)
	}
	w := &watched{Loader: l}
	p := a.longProgress("train", 0)
	defer p.done()
	o := t.options()
	o.Threads, o.Damping, o.GradScale, o.Checkpoint = a.threads, r.damping, r.gradScale, r.checkpoint
	o.Note = fmt.Sprintf("%s batch %d augment %+v drop %v prep %s data %s", r.note, t.batch, t.augment.resolved(), t.dropPath,
		r.images.prep, r.split.Digest())
	g, drops, settle, err := withDropPath(r.student, t.dropPath)
	if err != nil {
		return nil, fail(exitUnsupported, err)
	}
	frozen := map[*ir.Value]bool{}
	for v := range r.frozen {
		frozen[settle.inside(v)] = true
	}
	job := distill.Job{
		Student: g, Teacher: r.teacher, TeacherCache: a.teachers.cache(r.known), Data: w, Options: o, DropPath: drops, Pace: a.pace,
		Frozen: func(p distill.Param) bool { return frozen[p.Value] },
		Progress: func(s distill.Step) {
			p.of(s.Steps)
			p.show(s.Step, 0, s.ETA, fmt.Sprintf("loss %.4f  %.0f images/s", s.Recent.Total, s.ImagesPerSec))
		},
		Notify: func(m string) { a.note("note: %s", m) },
	}
	if r.epoch != nil {
		job.Epoch = func(done int) error { settle.back(); return r.epoch(done) }
	}
	if t.dgd > 0 {
		job.Options.DGD = distill.DGD{Mode: distill.DGDMode(t.dgdMode), Lambda: t.dgd, TeacherNorm: r.normTeacher}
		if job.Taps, err = pairTaps(passes.Taps(g), passes.Taps(r.teacher)); err != nil {
			return nil, fail(exitUsage, err)
		}
	}
	if t.features > 0 {
		if job.Features, err = pairBlocks(passes.Blocks(g), passes.Blocks(r.teacher)); err != nil {
			return nil, fail(exitUsage, err)
		}
	}
	res, err := distill.Train(ctx, job)
	settle.back()
	if err == distill.ErrInterrupted { // and not that its checkpoint failed
		err = context.Canceled
	}
	return res, w.fail(exitUsage, err)
}

// trainGraph is the map from the values of a graph to those of the one that is
// trained in its place; nil: the graph itself is trained.
type trainGraph map[*ir.Value]*ir.Value

// inside gives the value of the graph that is trained.
func (m trainGraph) inside(v *ir.Value) *ir.Value {
	if m == nil {
		return v
	}
	return m[v]
}

// back gives the graph the constants of the one that is trained.
func (m trainGraph) back() {
	for v, trained := range m {
		if v.IsConst() {
			v.SetConst(trained.Const)
		}
	}
}

// withDropPath gives the graph to train: g, or a copy of it in which branches can
// be skipped.
func withDropPath(g *ir.Graph, rate float64) (*ir.Graph, []distill.DropPath, trainGraph, error) {
	if rate == 0 {
		return g, nil, nil, nil
	}
	c, m := g.Clone()
	paths, err := passes.InsertDropPath(c, rate)
	var drops []distill.DropPath
	for _, p := range paths {
		drops = append(drops, distill.DropPath{Input: p.Input, Rate: p.Rate})
	}
	return c, drops, m, err
}

// train fine-tunes the student against the teacher.
func (j *job) train(ctx context.Context) (err error) {
	if j.o.method == "ptq" {
		return nil
	}
	j.trained, err = j.app.train(ctx, training{
		flags: &j.o.train, student: j.student, teacher: j.teacher, images: j.images, split: j.trainSet, checkpoint: j.checkpoint(),
		damping: j.o.damping, gradScale: j.o.gradScale, normTeacher: j.o.normTeacher(),
		known: j.teacherName(),
		note:  fmt.Sprintf("%s calib %s of %d zero points %s equalised %v model %s teacher %s", j.bits, j.o.calib, j.o.samples, j.o.zeroPoints, j.o.equalise, j.model.sha, j.teacherSHA),
	})
	return err
}

// interrupted says where an interrupted run can be taken up again.
func (a *app) interrupted(err error, checkpoint string) error {
	var f *failure
	if !errors.As(err, &f) || f.code != exitInterrupted {
		return err
	}
	saved, _ := distill.Checkpoints(checkpoint)
	if checkpoint == "" || len(saved) == 0 {
		return failf(exitInterrupted, "", "interrupted; nothing was written")
	}
	return failf(exitInterrupted, "go on with: "+a.command("--resume"), "interrupted; checkpoint %s", saved[0])
}

// pairBlocks matches the outputs of the blocks of student and teacher.
func pairBlocks(s, t []*ir.Value) (out []distill.FeaturePair, err error) {
	if len(s) != len(t) {
		return nil, fmt.Errorf("the teacher has %d blocks, the student %d: use --features 0 with this teacher", len(t), len(s))
	}
	for i, v := range s {
		if width := lastDim(v); width != lastDim(t[i]) {
			return nil, fmt.Errorf("block %d of the teacher is %s wide, the student's %s: use --features 0 with this teacher", i, lastDim(t[i]), width)
		}
		out = append(out, distill.FeaturePair{Student: v, Teacher: t[i]})
	}
	return out, nil
}

func lastDim(v *ir.Value) string { return v.Type.Shape[v.Type.Rank()-1].String() }

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
