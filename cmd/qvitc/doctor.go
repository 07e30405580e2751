package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/qvitc/qvitc/doctor"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/spf13/cobra"
)

type doctorFlags struct{ target, python, node string }

func (a *app) doctorCmd() *cobra.Command {
	o := &doctorFlags{}
	var help strings.Builder
	for _, h := range doctor.Hazards() {
		fmt.Fprintf(&help, "  %-24s %-15s %s\n", h.ID, h.Effect, h.What)
	}
	c := &cobra.Command{
		Use:   "doctor [MODEL.onnx]",
		Short: "Show the machine, and what ONNX Runtime would trip over in a file",
		Long: `doctor says what the machine offers: processor, kernels, memory, the ONNX Runtimes
it finds. With a model it also looks for forms that versions of ONNX Runtime are
known to refuse, to answer wrongly or to run slowly, and names node, tensor and the
remedy. It ends with code 0 when there are none, with 4 when there are, and with 3
when the model is invalid. The hazards:

` + help.String(),
		Example: "  qvitc doctor model.int4.onnx --target 'ort>=1.20'",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return failf(exitUsage, "", "doctor takes one model file, %d are given", len(args))
			}
			return a.doctor(c.Context(), strings.Join(args, ""), o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.target, "target", "", "version the file is to run on: ort=1.20, or 'ort>=1.20' for it and newer ones (default: any that loads the file)")
	f.StringVar(&o.python, "ort-python", "python3", "Python interpreter that may have onnxruntime")
	f.StringVar(&o.node, "ort-node", "node", "Node that may have onnxruntime-node")
	return c
}

// diagnosis is what doctor --json prints.
type diagnosis struct {
	Version     string             `json:"version"`
	Environment doctor.Environment `json:"environment"`
	Model       string             `json:"model,omitempty"`
	Target      string             `json:"target,omitempty"`
	Needs       *doctor.Needs      `json:"needs,omitempty"`
	Findings    []doctor.Finding   `json:"findings"`
}

func (a *app) doctor(ctx context.Context, path string, o *doctorFlags) error {
	target, err := doctor.ParseTarget(o.target)
	if err != nil {
		return fail(exitUsage, err)
	}
	if path == "" && o.target != "" {
		return failf(exitUsage, "", "--target says what a model is to run on, and no model is given")
	}
	d := diagnosis{Version: toolVersion(), Findings: []doctor.Finding{}}
	if path != "" {
		m, err := onnxio.LoadModel(path, onnxio.Options{Warn: func(err error) { a.note("note: %s", oneLine(err.Error())) }})
		if err != nil {
			return fail(exitModel, err)
		}
		found, needs, err := doctor.Check(m, target)
		if err != nil {
			return fail(exitModel, err)
		}
		d.Model, d.Target, d.Needs = path, target.String(), &needs
		d.Findings = append(d.Findings, found...)
	}
	d.Environment = doctor.Look(ctx, o.python, o.node)
	if a.json {
		if err := a.printJSON(d); err != nil {
			return err
		}
	} else {
		d.print(a)
	}
	if n := len(d.Findings); n > 0 {
		return failf(exitUnsupported, "", "%s: %d hazards for ONNX Runtime", path, n)
	}
	return nil
}

func (d *diagnosis) print(a *app) {
	w, e := a.out, d.Environment
	fmt.Fprintf(w, "qvitc        %s, %s, %s\n", d.Version, e.Go, e.Platform)
	fmt.Fprintf(w, "processor    %d cores, %d threads; %s\n", e.Cores, e.Threads, strings.Join(e.Features, " "))
	fmt.Fprintf(w, "kernels      %s\n", e.Kernels)
	if e.Memory > 0 {
		fmt.Fprintf(w, "memory       %s, %s available\n", bytesText(e.Memory), bytesText(e.Free))
	}
	for _, r := range e.Runtimes {
		fmt.Fprintf(w, "onnxruntime  %s (%s) %s\n", oneLine(r.Version), r.Language, oneLine(r.Path))
	}
	if len(e.Runtimes) == 0 {
		fmt.Fprintf(w, "onnxruntime  none found; qvitc does without\n")
	}
	if d.Model == "" {
		return
	}
	fmt.Fprintf(w, "\n%s, target %s\n", d.Model, d.Target)
	needs := "no known version"
	if d.Needs.ORT != "" {
		needs = d.Needs.ORT + " or newer"
	}
	fmt.Fprintf(w, "needs        ONNX Runtime %s: %s\n", needs, oneLine(d.Needs.Why))
	for _, f := range d.Findings {
		fmt.Fprintf(w, "%s\n    fix: %s\n", oneLine(f.String()), f.Fix)
	}
	if len(d.Findings) == 0 {
		fmt.Fprintln(w, "no hazard found")
	}
}
