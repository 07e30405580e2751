package main

import (
	"fmt"
	"strings"
	"time"
)

// epochPoint is what was measured after an epoch of this run.
type epochPoint struct {
	Epoch int     `json:"epoch"`
	Top1  float64 `json:"top1"`
}

// tuned is what finetune --json prints.
type tuned struct {
	Model      string       `json:"model"`
	Output     string       `json:"output"`
	Classes    int          `json:"classes"`
	Bytes      int64        `json:"bytes"`
	Images     int          `json:"images"`
	Labelled   bool         `json:"labelled"`
	Top1       float64      `json:"top1"`
	Top5       float64      `json:"top5"`
	Epochs     []epochPoint `json:"epochs,omitempty"`
	Steps      int          `json:"steps"`
	Params     int          `json:"trained_parameters"`
	ImagesPerS float64      `json:"images_per_s"`
	Seconds    float64      `json:"seconds"`
	Seed       uint64       `json:"seed"`
	Recipe     any          `json:"recipe"`
}

// finish prints the summary and drops checkpoints that nobody asked for.
func (t *tuning) finish() error {
	if err := t.dropCheckpoints(); err != nil {
		return err
	}
	if n := t.images.skippedNote(); n != "" {
		t.app.note("note: %s", n)
	}
	out := tuned{Model: t.path, Output: t.o.out, Classes: t.classes, Bytes: t.written.Bytes, Images: t.eval.Images, Labelled: t.evalSet.Labelled(),
		Top1: t.eval.Top1, Top5: t.eval.Top5, Epochs: t.epochs, Steps: t.trained.Steps, Params: t.trained.Elements, ImagesPerS: t.trained.ImagesPerSec,
		Seconds: time.Since(t.start).Seconds(), Seed: t.o.train.seed, Recipe: t.recipe()}
	if t.app.json {
		return t.app.printJSON(out)
	}
	w := t.app.out
	fmt.Fprintf(w, "model      %s  %s, %d blocks\n", t.path, t.arch.Name, t.arch.Blocks)
	fmt.Fprintf(w, "trained    %d of %d parameters, %d steps of %d images, %.0f images/s\n", out.Params, t.arch.Params, out.Steps, t.o.train.batch, out.ImagesPerS)
	if out.Labelled {
		fmt.Fprintf(w, "top-1      %.2f %% on %d images not trained on\n", 100*out.Top1, out.Images)
	} else {
		fmt.Fprintf(w, "top-1      no labels to measure on\n")
	}
	fmt.Fprintf(w, "written    %s  %s  (%s)\n", t.o.out, bytesText(out.Bytes), round(time.Since(t.start)))
	fmt.Fprintf(w, "next       %s\n", shellLine("qvitc", "compress", t.o.out, "--data", t.o.data.path, "-b", "w4a4"))
	return nil
}

// recipe is every option that shapes the result, as resolved.
func (t *tuning) recipe() map[string]string {
	r := map[string]string{"model": t.model.sha, "classes": fmt.Sprint(t.o.classes)}
	if t.teacher != nil {
		r["teacher-sha256"] = t.teacher.sha
	}
	if len(t.o.freeze) > 0 {
		r["freeze"] = strings.Join(t.o.freeze, " ")
	}
	t.o.passes.recipe(r)
	t.o.train.recipe(r)
	return r
}
