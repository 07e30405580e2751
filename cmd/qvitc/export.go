package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/qvitc/qvitc/dataset"
	"github.com/qvitc/qvitc/doctor"
	"github.com/qvitc/qvitc/export"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/spf13/cobra"
)

// targetFlags say in which form a quantised graph is written.
type targetFlags struct {
	format string
	opset  int
	target string
	ort    string
	apart  bool // --external-data
	whole  bool
	force  bool
}

func (t *targetFlags) add(c *cobra.Command) {
	var names []string
	for _, f := range export.Formats {
		names = append(names, string(f))
	}
	f := c.Flags()
	f.StringVar(&t.format, "format", string(export.FormatPacked), "form of the output: "+strings.Join(names, ", ")+" (docs/formats.md)")
	f.IntVar(&t.opset, "opset", 0, "write at least this opset of ai.onnx (default: the lowest that does; 25: 2-bit weights of qdq as INT2)")
	f.StringVar(&t.target, "target", "", "versions of ONNX Runtime that must run the file: ort=1.20, or 'ort>=1.20'")
	f.StringVar(&t.ort, "ort", cmp.Or(os.Getenv("QVITC_ORT"), "auto"),
		"try the file in ONNX Runtime: auto (python3 or node on the path, if they have it), off, or the path of a python or node that has it; the default can be set in QVITC_ORT")
	f.BoolVar(&t.apart, "external-data", false, "put the weights into a second file (automatic above 2 GiB)")
	f.BoolVar(&t.whole, "whole", false, "packed only: one operator holds the graph, which the library of make ortops runs in one piece")
	f.BoolVar(&t.force, "force", false, "keep the file even where it does not match")
}

// resolve reads the flags.
func (t *targetFlags) resolve() (to export.Target, err error) {
	if to.Format, err = export.ParseFormat(t.format); err == nil {
		to.ORT, err = doctor.ParseTarget(t.target)
	}
	if err == nil && (t.opset < 0 || t.opset > onnxio.MaxOpset) {
		err = fmt.Errorf("--opset %d: want at most %d", t.opset, onnxio.MaxOpset)
	}
	if err == nil && t.whole && (to.Format != export.FormatPacked || t.apart) {
		err = errors.New("--whole goes with --format packed and without --external-data")
	}
	to.Opset = t.opset
	return to, fail(exitUsage, err)
}

// runtime finds the ONNX Runtime that the flags ask for; nil for none.
func (t *targetFlags) runtime(ctx context.Context) (*export.ORT, error) {
	switch {
	case t.ort == "off":
		return nil, nil
	case t.ort == "auto":
		for _, r := range doctor.Look(ctx, "python3", "node").Runtimes {
			return &export.ORT{Language: r.Language, Command: map[string]string{"python": "python3", "node": "node"}[r.Language]}, nil
		}
		return nil, nil
	}
	python, node := t.ort, ""
	if strings.Contains(strings.ToLower(t.ort), "node") {
		python, node = "", t.ort
	}
	found := doctor.Look(ctx, python, node).Runtimes
	if len(found) == 0 {
		return nil, failf(exitUsage, "use off, auto, or the path of a python or node that has onnxruntime", "--ort %s: no ONNX Runtime found", t.ort)
	}
	return &export.ORT{Language: found[0].Language, Command: t.ort}, nil
}

func (a *app) exportCmd() *cobra.Command {
	o := &targetFlags{}
	var out string
	data := dataFlags{}
	c := &cobra.Command{
		Use:   "export MODEL.onnx",
		Short: "Write a quantised model in another form, without retraining",
		Long: `export reads a quantised model, a packed one of qvitc or one in any of the other
forms by whatever tool, and writes it in the form asked for: same codes, same
scales. What the form cannot hold is said.

  packed  operators of ai.qvitc with integer function bodies: true 4, 3 and 2 bits, fast in ONNX Runtime
  qdq     QuantizeLinear and DequantizeLinear on INT4 (opset 21), 2-bit weights on INT2 with --opset 25
  qcdq8   QuantizeLinear, Clip, DequantizeLinear on INT8: any runtime of the last years
  nbits   com.microsoft MatMulNBits: weights only
  qonnx   IntQuant of QONNX, for FINN and hls4ml

The file is read back and must give the source's answers bit for bit; where
Python or Node with ONNX Runtime is found, it must load there and agree.`,
		Example: "  qvitc export deit.w4a4.onnx --format qdq -o deit.int4.onnx\n" +
			"  qvitc export deit.int4.onnx --format packed --data imgs/ --target 'ort>=1.16'",
		Args: oneModel,
		RunE: func(c *cobra.Command, args []string) error {
			return a.export(c.Context(), args[0], out, o, &data)
		},
	}
	o.add(c)
	c.Flags().StringVarP(&out, "output", "o", "", "output file (default MODEL.FORMAT.onnx)")
	c.Flags().StringVar(&data.path, "data", "", "images to compare answers on, as for compress (default: synthetic ones)")
	return c
}

// exported is what export --json prints.
type exported struct {
	Model    string         `json:"model"`
	Output   string         `json:"output"`
	Format   string         `json:"format"`
	BytesIn  int64          `json:"bytes_in"`
	BytesOut int64          `json:"bytes_out"`
	Needs    doctor.Needs   `json:"needs"`
	Notes    []string       `json:"notes"`
	Verified *export.Result `json:"verified"`
}

func (a *app) export(ctx context.Context, path, out string, o *targetFlags, data *dataFlags) error {
	to, err := o.resolve()
	if err != nil {
		return err
	}
	if out == "" {
		out = strings.TrimSuffix(path, ".onnx") + "." + o.format + ".onnx"
	}
	if err := checkOutput(out, path); err != nil {
		return err
	}
	m, err := readModel(path)
	if err != nil {
		return err
	}
	lost, err := export.Source(m.graph)
	if err != nil {
		return fail(exitUnsupported, fmt.Errorf("%s: %w", path, err))
	}
	samples, err := data.some(ctx, m)
	if err != nil {
		return err
	}
	built, err := export.Build(m.graph, to)
	if err != nil {
		return fail(exitUnsupported, fmt.Errorf("%s: %w", path, err))
	}
	if err := describe(built, m); err != nil {
		return err
	}
	for _, n := range append(append(m.notes, lost...), built.Notes...) {
		a.note("note: %s", oneLine(n))
	}
	written, err := a.writeBuilt(ctx, out, built, m.graph, o, samples)
	if err != nil {
		return err
	}
	e := exported{Model: path, Output: out, Format: o.format, BytesIn: m.bytes, BytesOut: written.Bytes, Needs: built.Needs,
		Notes: append(append([]string{}, lost...), built.Notes...), Verified: written}
	if a.json {
		return a.printJSON(e)
	}
	w := a.out
	fmt.Fprintf(w, "model      %s\n", path)
	fmt.Fprintf(w, "format     %s: opset %d, IR %d, ONNX Runtime %s or newer\n", e.Format, e.Needs.Opset, e.Needs.IR, e.Needs.ORT)
	fmt.Fprintf(w, "size       %s -> %s\n", bytesText(e.BytesIn), bytesText(e.BytesOut))
	fmt.Fprintf(w, "verified   %s\n", verifiedLine(written))
	fmt.Fprintf(w, "written    %s\n", out)
	return nil
}

// verifiedLine says what the file was held to.
func verifiedLine(r *export.Result) string {
	s := fmt.Sprintf("read back: %d weights hold the source's codes; all %d answers are the source's, bit for bit", r.Layers, r.Samples)
	if r.MaxDiff != 0 {
		s = fmt.Sprintf("read back: %d weights hold the source's codes; %d answers, largest difference %.2g", r.Layers, r.Samples, r.MaxDiff)
	}
	if r.ORT == nil {
		return s + "; ONNX Runtime not asked"
	}
	return s + ortText(r.ORT)
}

// ortText says how ONNX Runtime answered; nothing where it was not asked.
func ortText(o *export.ORTResult) string {
	if o == nil {
		return ""
	}
	return fmt.Sprintf("; ONNX Runtime %s: %d of %d classes, median difference %.2g, largest %.2g", o.Version, o.Agree, o.Samples, o.Median, o.MaxDiff)
}

// writeBuilt writes a built graph, verified against its source.
func (a *app) writeBuilt(ctx context.Context, out string, b *export.Built, source *ir.Graph, o *targetFlags, samples []map[string]*ir.Tensor) (*export.Result, error) {
	ort, err := o.runtime(ctx)
	if err != nil {
		return nil, err
	}
	w := b.Write
	w.Version, w.External, w.Whole = toolVersion(), o.apart, o.whole
	res, err := export.Write(ctx, out, b.Graph, export.Options{
		Write: w, Format: b.Format, Student: source, Samples: samples, Threads: a.threads, ORT: ort, Force: o.force,
	})
	if errors.Is(err, export.ErrMismatch) {
		return nil, failf(exitVerify, "the file is withheld; --force keeps it", "%v", err)
	}
	return res, fail(exitIO, err)
}

// some gives images to compare answers on: up to 64 of the data, else 8 that are
// made up.
func (d *dataFlags) some(ctx context.Context, m *model) ([]map[string]*ir.Tensor, error) {
	if len(m.graph.Inputs) != 1 {
		return nil, nil
	}
	if d.path == "" {
		shape, err := m.imageShape()
		if err != nil {
			return nil, nil // not an image model: its weights are compared
		}
		n := 8
		if b := m.graph.Inputs[0].Type.Shape[0]; b.Known() {
			n = int(b.Size)
		}
		set := dataset.Synthetic(shape, 0, n, 1)
		defer set.Close()
		im := &images{set: set, shape: shape}
		if im.prep, err = dataset.Resolve("", set, shape); err != nil {
			return nil, fail(exitUsage, err)
		}
		split, err := set.Split(dataset.Eval)
		if err != nil {
			return nil, fail(exitIO, err)
		}
		return samplesOf(ctx, im, split, m.graph, n)
	}
	im, err := d.open(ctx, m)
	if err != nil {
		return nil, err
	}
	defer im.set.Close()
	name := dataset.Eval
	if im.set.HeldOut {
		name = dataset.All
	}
	split, err := im.set.Split(name)
	if err != nil {
		return nil, fail(exitIO, err)
	}
	n := 64
	if b := m.graph.Inputs[0].Type.Shape[0]; b.Known() {
		n = int(b.Size)
	}
	return samplesOf(ctx, im, split, m.graph, n)
}

// describe notes in the file how it was made: what the source says of itself,
// and the form and the file of another form it was made from. A file that was in
// this form before keeps what it says, so that writing it again gives the same.
func describe(b *export.Built, m *model) error {
	meta := b.Graph.Meta
	if meta["qvitc.format"] != string(b.Format) {
		meta["qvitc.source"] = m.sha
	}
	meta["qvitc.format"] = string(b.Format)
	if meta["qvitc.version"] == "" {
		meta["qvitc.version"] = toolVersion()
	}
	var err error
	meta["qvitc.layers"], err = layersText(b, rolesIn(meta["qvitc.layers"]))
	return fail(exitInternal, err)
}
