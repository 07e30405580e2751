package main

import (
	"fmt"
	"math"
	"time"
)

// outcome is what compress --json prints.
type outcome struct {
	Model          string            `json:"model"`
	Output         string            `json:"output,omitempty"`
	Bits           string            `json:"bits"`
	Method         string            `json:"method"`
	BytesIn        int64             `json:"bytes_in"`
	BytesOut       int64             `json:"bytes_out"`
	Images         int               `json:"images"`
	Labelled       bool              `json:"labelled"`
	Top1Teacher    float64           `json:"top1_teacher"`
	Top1Student    float64           `json:"top1_student"`
	Agreement      float64           `json:"agreement"`
	VerifyDiff     float64           `json:"verify_max_diff"`
	Verified       int               `json:"verify_images"`
	Steps          int               `json:"steps"`
	ImagesPerS     float64           `json:"images_per_s,omitempty"`
	Seconds        float64           `json:"seconds"`
	Resumed        int               `json:"resumed,omitempty"` // step that the training was taken up at: seconds are those since
	Seed           uint64            `json:"seed"`
	Float          []string          `json:"float_layers"`
	LabelAgreement *float64          `json:"label_agreement,omitempty"` // part of the training images looked at whose label the teacher tells
	Recipe         map[string]string `json:"recipe"`
	Synthetic      bool              `json:"synthetic"` // calibrated without data: nothing is known about accuracy
}

// summary prints about ten lines, or the JSON object.
func (j *job) summary() error {
	elapsed := time.Since(j.start)
	out := outcome{
		Model: j.path, Output: j.o.out, Bits: j.bits.String(), Method: j.o.method, BytesIn: j.model.bytes, BytesOut: j.written.Bytes,
		Images: j.studentEval.Images, Labelled: j.evalSet.Labelled(), Top1Teacher: j.teacherEval.Top1, Top1Student: j.studentEval.Top1,
		Agreement: j.agreement, VerifyDiff: j.written.MaxDiff, Verified: j.written.Samples, Seconds: elapsed.Seconds(), Seed: j.o.train.seed,
		Float: j.floatLayers(), Synthetic: j.synthetic(), Recipe: j.recipe(),
	}
	if j.o.method == "qat" && !math.IsNaN(j.labelAgreement) {
		out.LabelAgreement = &j.labelAgreement
	}
	if j.trained != nil {
		out.Steps, out.ImagesPerS, out.Resumed = j.trained.Steps, j.trained.ImagesPerSec, j.trained.From
	}
	if n := j.images.skippedNote(); n != "" {
		j.app.note("note: %s", n)
	}
	if j.app.json {
		return j.app.printJSON(out)
	}
	w := j.app.out
	fmt.Fprintf(w, "model      %s  %s, %d blocks\n", j.path, j.arch.Name, j.arch.Blocks)
	fmt.Fprintf(w, "bits       %s, first and last layer 8; irm %s; %s\n", j.bits, j.o.irm, j.how())
	fmt.Fprintf(w, "size       %s -> %s  (%.1f %%, %s)\n", bytesText(out.BytesIn), bytesText(out.BytesOut), 100*float64(out.BytesOut)/float64(out.BytesIn), ratio(out.BytesIn, out.BytesOut))
	if j.synthetic() {
		fmt.Fprintf(w, "accuracy   UNVERIFIED: calibrated without data; --data DIR makes a model to be used\n")
	} else if out.Labelled {
		half := 100 * 1.96 * math.Sqrt(out.Top1Student*(1-out.Top1Student)/float64(max(1, out.Images)))
		fmt.Fprintf(w, "top-1      float %.2f %%, %s %.2f %% (%+.2f; 95 %% interval ±%.2f) on %d images not trained on\n",
			100*out.Top1Teacher, j.bits, 100*out.Top1Student, 100*(out.Top1Student-out.Top1Teacher), half, out.Images)
	} else {
		fmt.Fprintf(w, "top-1      no labels: see agreement\n")
	}
	fmt.Fprintf(w, "agreement  %.2f %% of %d %simages get the class the float model gives them\n", 100*out.Agreement, out.Images, map[bool]string{true: "synthetic "}[j.synthetic()])
	fmt.Fprintf(w, "layers     %s\n", j.layerLine())
	fmt.Fprintf(w, "float      %s\n", j.floatLine())
	equal := "are"
	if j.written.MaxDiff != 0 { // written with --force
		equal = "are NOT"
	}
	fmt.Fprintf(w, "verified   read back: %d layers hold the student's codes; the logits of %s %s the student's, bit for bit%s\n",
		j.written.Layers, count(j.written.Samples, "image"), equal, ortText(j.written.ORT))
	fmt.Fprintf(w, "written    %s  (%s)\n", j.o.out, round(elapsed))
	if j.synthetic() {
		fmt.Fprintf(w, "next       %s\n", shellLine("qvitc", "bench", j.o.out))
		return nil
	}
	fmt.Fprintf(w, "next       %s\n", shellLine("qvitc", "eval", j.o.out, "--data", j.o.data.path, "--baseline", j.path))
	return nil
}

// ratio says how much smaller the file has become; a model of a few kB grows by
// the function bodies that come with it.
func ratio(in, out int64) string {
	if out > in {
		return fmt.Sprintf("%.1fx larger: the operators' definitions outweigh so small a model", float64(out)/float64(in))
	}
	return fmt.Sprintf("%.1fx smaller", float64(in)/float64(out))
}

func (j *job) how() string {
	if j.trained == nil {
		return fmt.Sprintf("calibrated on %d %simages, not trained", j.calibration.Images, map[bool]string{true: "synthetic "}[j.synthetic()])
	}
	return fmt.Sprintf("%d steps of %d images, %.0f images/s", j.trained.Steps, j.o.train.batch, j.trained.ImagesPerSec)
}

func bytesText(n int64) string {
	switch {
	case n >= 1e10:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.2f MB", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%d bytes", n)
}
