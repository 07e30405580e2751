package main

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/qvitc/qvitc/dataset"
	"github.com/qvitc/qvitc/distill"
	"github.com/qvitc/qvitc/export"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/passes"
)

// lower turns the student into packed operators.
func (j *job) lower(context.Context) error {
	if j.o.irm == passes.IRMStatic {
		_, left, err := passes.FoldIRM(j.student)
		if err != nil {
			return fail(exitInternal, err)
		}
		if left > 0 {
			j.app.note("note: %d static normalisations could not be moved into their projections and stay in the graph", left)
		}
	}
	look := j.o.passes.on(passes.Lower, len(j.clean)+len(passes.Quantize(j.o.plan(j.bits))))
	if look.dumpDir+look.printAfter+look.stopAfter != "" { // once more, to be looked at
		g, _ := j.student.Clone()
		if _, err := j.app.driver(look, "lower").Run(g, passes.Lower); err != nil {
			return fail(exitInternal, err)
		}
		if look.stopAfter != "" {
			j.stopped = g
			return nil
		}
	}
	var err error
	if j.built, err = export.Build(j.student, j.target); err != nil {
		return fail(exitUnsupported, err)
	}
	for _, n := range j.built.Notes {
		j.app.note("note: %s", oneLine(n))
	}
	return j.meta(j.built.Graph)
}

// write writes the built graph to a temporary file, verifies that file and
// renames it.
func (j *job) write(ctx context.Context) error {
	samples, err := samplesOf(ctx, j.images, j.evalSet, j.student, 64)
	if err != nil {
		return err
	}
	j.written, err = j.app.writeBuilt(ctx, j.o.out, j.built, j.student, &j.o.target, samples)
	return err
}

// samplesOf gives images as inputs of g for the verification of a file.
func samplesOf(ctx context.Context, im *images, split *dataset.Split, g *ir.Graph, n int) ([]map[string]*ir.Tensor, error) {
	l, err := im.loader(ctx, split.Take(n, 0), 0)
	if err != nil {
		return nil, err
	}
	b, err := l.Batch(0, 0)
	if err != nil {
		return nil, fail(exitIO, err)
	}
	s := im.shape
	return []map[string]*ir.Tensor{{g.Inputs[0].Name: ir.Of(b.X, b.N, s.C, s.H, s.W)}}, nil
}

// meta notes in the file how it was made.
func (j *job) meta(g *ir.Graph) error {
	recipe, err := json.Marshal(j.recipe())
	if err != nil {
		return err
	}
	layers, err := layersText(j.built, nil)
	if err != nil {
		return err
	}
	maps.Copy(g.Meta, map[string]string{
		"qvitc.version": toolVersion(), "qvitc.recipe": string(recipe), "qvitc.layers": layers, "qvitc.format": string(j.built.Format),
		"qvitc.teacher": j.model.sha, "qvitc.data": j.trainSet.Digest(),
	})
	if !j.synthetic() || j.images.told {
		g.Meta["qvitc.preprocess"] = j.images.prep.String()
	}
	return nil
}

// layersText is layersOf the graph that b stands for, as JSON.
func layersText(b *export.Built, roles map[string]string) (string, error) {
	g, _ := b.Graph.Clone()
	if b.Format != export.FormatPacked {
		if _, err := export.Raise(g); err != nil {
			return "", err
		}
	}
	text, err := json.Marshal(layersOf(g, roles))
	return string(text), err
}

// recipe is every option that shapes the result, as resolved.
func (j *job) recipe() map[string]string {
	r := map[string]string{
		"bits": j.bits.String(), "method": j.o.method, "irm": j.o.irm, "calib": j.o.calib,
		"samples": strconv.Itoa(j.o.samples), "seed": strconv.FormatUint(j.o.train.seed, 10),
		"mode": j.o.mode, "zero-points": j.o.zeroPoints, "equalize": strconv.FormatBool(j.o.equalise), "teacher-sha256": j.teacherSHA,
	}
	if j.synthetic() {
		r["data"] = "synthetic"
	}
	j.o.passes.recipe(r)
	if len(j.o.only) > 0 {
		r["only"] = strings.Join(j.o.only, " ")
	}
	if len(j.o.exclude) > 0 {
		r["exclude"] = strings.Join(j.o.exclude, " ")
	}
	if j.o.method == "qat" {
		j.o.train.recipe(r)
		r["fast-backward"] = strconv.FormatBool(j.o.train.fast)
		r["grad-scale"], r["dgd-teacher"] = strconv.FormatBool(j.o.gradScale), j.o.dgdTeacher
		r["damping"] = strconv.FormatFloat(j.o.damping, 'g', -1, 64)
	}
	return r
}

// measure evaluates the written file and compares it with the teacher.
func (j *job) measure(ctx context.Context) error {
	m, err := readModel(j.written.Path)
	if err == nil {
		err = m.runnable()
	}
	if err != nil {
		return fail(exitVerify, err)
	}
	back := m.graph
	if j.studentEval, err = j.app.evaluate(ctx, "measure", back, j.evalSet, j.images); err != nil {
		return err
	}
	j.agreement, _, err = distill.Agreement(j.teacherEval, j.studentEval)
	return fail(exitInternal, err)
}

// finish prints the summary, drops checkpoints that nobody asked for, and checks
// the accuracy gate.
func (j *job) finish() error {
	if j.o.method == "qat" {
		if err := j.dropCheckpoints(); err != nil {
			return err
		}
	}
	if err := j.summary(); err != nil {
		return err
	}
	if d := 100 * (j.teacherEval.Top1 - j.studentEval.Top1); j.o.maxDrop > 0 && d > j.o.maxDrop {
		return failf(exitGate, "more --epochs or more bits", "top-1 fell by %.2f points, the gate is %.2f; %s is written", d, j.o.maxDrop, j.o.out)
	}
	return nil
}

// command is the command line with a flag added, for a shell.
func (a *app) command(flag string) string {
	words := append([]string{"qvitc"}, a.args...)
	if !slices.Contains(a.args, flag) {
		words = append(words, flag)
	}
	return shellLine(words...)
}

// shellLine quotes the words that a shell would not leave alone.
func shellLine(words ...string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = w
		if w == "" || strings.Trim(w, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=+:,./@%") != "" {
			out[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(out, " ")
}
