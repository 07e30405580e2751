package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/qvitc/qvitc/dataset"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/runtime"
	"github.com/spf13/cobra"
)

type runFlags struct {
	prep   prepFlags
	inputs []string
	top    int
	labels string
}

func (a *app) runCmd() *cobra.Command {
	o := &runFlags{}
	c := &cobra.Command{
		Use:   "run MODEL.onnx FILE...",
		Short: "Run a model on an image or a tensor",
		Long: `run executes a float or packed model on an image, or on tensors from .npy, .npz
(arrays named like the inputs) or ONNX TensorProto .pb files, and prints the best
classes of each row, by name with --labels. For several inputs name each:
NAME=FILE. --json prints every output in full.`,
		Example: "  qvitc run deit.w4a4.onnx cat.png --labels names.txt\n  qvitc run deit.onnx input_0.pb --json",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return oneModel(c, args)
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			o.inputs = append(o.inputs, args[1:]...)
			return a.runModel(c.Context(), args[0], o)
		},
	}
	f := c.Flags()
	f.StringArrayVarP(&o.inputs, "input", "i", nil, "the same as a FILE after the model")
	f.IntVar(&o.top, "top", 5, "classes to print for each row")
	f.StringVar(&o.labels, "labels", "", "file with one class name a line")
	o.prep.add(c)
	return c
}

func (a *app) runModel(ctx context.Context, path string, o *runFlags) error {
	if len(o.inputs) == 0 {
		return failf(exitUsage, "name an image, .npy, .npz or .pb after the model", "no input: what is the model to run on?")
	}
	if o.top < 0 {
		return failf(exitUsage, "", "--top %d: want 0 or more", o.top)
	}
	names, err := readLabels(o.labels)
	if err != nil {
		return err
	}
	m, err := readModel(path)
	if err != nil {
		return err
	}
	err = m.runnable()
	for _, n := range m.notes {
		a.note("note: %s", n)
	}
	if err != nil {
		return err
	}
	in := map[string]*ir.Tensor{}
	for _, s := range o.inputs {
		if err := o.read(ctx, m, s, in); err != nil {
			return err
		}
	}
	if err := checkInputs(m, in); err != nil {
		return err
	}
	for _, v := range m.graph.Inputs {
		if t := in[v.Name]; t.Elem == ir.Float32 && slices.ContainsFunc(t.F32(), func(x float32) bool { return !finite(float64(x)) }) {
			a.note("note: input %s holds NaN or infinite values", ir.Quote(v.Name))
		}
	}
	session, err := runtime.NewSession(m.graph, runtime.Options{Threads: a.threads})
	if err != nil {
		return fail(exitUnsupported, err)
	}
	out, err := session.Run(ctx, in)
	if err != nil {
		return fail(exitUnsupported, fmt.Errorf("%s: %w", path, err))
	}
	if a.json {
		return json.NewEncoder(a.out).Encode(map[string]any{"outputs": jsonOutputs(m.graph, out)})
	}
	return a.printTop(m.graph, out, names, o.top)
}

// read adds the tensors of one --input to in.
func (o *runFlags) read(ctx context.Context, m *model, arg string, in map[string]*ir.Tensor) error {
	name, file := "", arg
	n, f, named := strings.Cut(arg, "=")
	for _, v := range m.graph.Inputs {
		if named && v.Name == n {
			name, file = n, f
		}
	}
	if _, err := os.Stat(file); err != nil {
		if named && name == "" {
			return failf(exitUsage, "its inputs: "+quoted(m.graph.Inputs), "%s: %s has no input %s", arg, m.path, ir.Quote(n))
		}
		return fail(exitIO, err)
	}
	if name == "" && len(m.graph.Inputs) > 0 {
		i := slices.IndexFunc(m.graph.Inputs, func(v *ir.Value) bool { return in[v.Name] == nil })
		if i < 0 {
			return failf(exitUsage, "its inputs: "+quoted(m.graph.Inputs), "%s: every input of %s has a file already", file, m.path)
		}
		name = m.graph.Inputs[i].Name
	}
	switch strings.ToLower(filepath.Ext(file)) {
	case ".pb":
		t, n, err := onnxio.ReadTensor(file)
		if err != nil {
			return fail(exitIO, err)
		}
		if v := m.graph.Value(n); v != nil && slices.Contains(m.graph.Inputs, v) && !strings.Contains(arg, "=") {
			name = n
		}
		in[name] = t
		return nil
	case ".npy", ".npz":
		return readArrays(m, file, name, in)
	}
	return o.readImage(ctx, m, file, name, in)
}

// quoted lists the names of values.
func quoted(values []*ir.Value) string {
	var names []string
	for _, v := range values {
		names = append(names, ir.Quote(v.Name))
	}
	return strings.Join(names, ", ")
}

// readArrays takes the arrays named like inputs; a single array of another
// name goes to the input given.
func readArrays(m *model, file, name string, in map[string]*ir.Tensor) error {
	arrays, err := dataset.ReadArrays(file)
	if err != nil {
		return fail(exitIO, err)
	}
	used := 0
	for _, a := range arrays {
		to := a.Name
		if v := m.graph.Value(to); v == nil || !slices.Contains(m.graph.Inputs, v) {
			if len(arrays) > 1 {
				continue
			}
			to = name
		}
		t := ir.Of(a.Floats, a.Shape...)
		if a.Floats == nil {
			t = ir.Of(a.Ints, a.Shape...)
		}
		in[to] = t
		used++
	}
	if used == 0 {
		return failf(exitUsage, "name the arrays like the inputs", "%s: no array is called like an input of the model", file)
	}
	return nil
}

func (o *runFlags) readImage(ctx context.Context, m *model, file, name string, in map[string]*ir.Tensor) error {
	if o.prep.textFor(m) == "" {
		return failf(exitUsage, "for example --preprocess imagenet, or \"mean=0.5 std=0.5 resize=256 crop=224\"", "%s does not say how images are preprocessed: --preprocess is missing", m.path)
	}
	im, err := openImages(ctx, m, file, &o.prep)
	if err != nil {
		return err
	}
	defer im.set.Close()
	all, err := im.set.Split(dataset.All)
	if err != nil {
		return fail(exitIO, err)
	}
	l, err := im.loader(ctx, all, 0)
	if err != nil {
		return err
	}
	b, err := l.Batch(0, 0)
	if err != nil {
		return fail(exitIO, err)
	}
	in[name] = ir.Of(b.X, b.N, im.shape.C, im.shape.H, im.shape.W)
	return nil
}

// checkInputs compares what the user gave with what the model takes.
func checkInputs(m *model, in map[string]*ir.Tensor) error {
	for _, v := range m.graph.Inputs {
		t := in[v.Name]
		if t == nil {
			return failf(exitUsage, "give --input "+v.Name+"=FILE", "%s: input %s is missing", m.path, ir.Quote(v.Name))
		}
		fits := t.Elem == v.Type.Elem && t.Len() > 0 && (!v.Type.Ranked || len(t.Shape) == len(v.Type.Shape))
		for i, d := range v.Type.Shape {
			fits = fits && (!d.Known() || int(d.Size) == t.Shape[i])
		}
		if !fits {
			return failf(exitUsage, "", "%s: input %s is %v, given is %v", m.path, ir.Quote(v.Name), v.Type, t.Type())
		}
	}
	return nil
}

type jsonTensor struct {
	Shape []int `json:"shape"`
	Data  []any `json:"data"`
}

func jsonOutputs(g *ir.Graph, out map[string]*ir.Tensor) map[string]jsonTensor {
	res := map[string]jsonTensor{}
	for _, v := range g.Outputs {
		t := out[v.Name]
		j := jsonTensor{Shape: append([]int{}, t.Shape...), Data: make([]any, t.Len())}
		for i := range j.Data {
			switch {
			case t.Elem == ir.String:
				j.Data[i] = ir.Data[string](t)[i]
			case t.Elem == ir.Bool:
				j.Data[i] = t.Int(i) != 0
			case t.Elem == ir.Float32 && !finite(t.Float(i)), t.Elem == ir.Float64 && !finite(t.Float(i)):
				j.Data[i] = fmt.Sprint(t.Float(i)) // JSON has no NaN
			case t.Elem == ir.Float32:
				j.Data[i] = t.F32()[i]
			case t.Elem.IsFloat():
				j.Data[i] = t.Float(i)
			default:
				j.Data[i] = t.Int(i)
			}
		}
		res[v.Name] = j
	}
	return res
}

func finite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }

// printTop prints the best classes of each row of each float output.
func (a *app) printTop(g *ir.Graph, out map[string]*ir.Tensor, names []string, top int) error {
	for _, v := range g.Outputs {
		t := out[v.Name]
		fmt.Fprintf(a.out, "%s %v\n", v.Name, t.Type())
		if t.Elem != ir.Float32 || len(t.Shape) != 2 {
			continue
		}
		width := t.Shape[1]
		for r := range t.Shape[0] {
			row := t.F32()[r*width : (r+1)*width]
			p := softmax(row)
			order := make([]int, width)
			for i := range order {
				order[i] = i
			}
			slices.SortStableFunc(order, func(i, j int) int {
				switch {
				case row[i] > row[j]:
					return -1
				case row[i] < row[j]:
					return 1
				}
				return 0
			})
			for _, c := range order[:min(top, width)] {
				name := ""
				if c < len(names) {
					name = "  " + names[c]
				}
				fmt.Fprintf(a.out, "  row %d  class %d  %.1f %%  logit %.4f%s\n", r, c, 100*p[c], row[c], name)
			}
		}
	}
	return nil
}

// readLabels reads a file with one class name a line; none for no file.
func readLabels(path string) ([]string, error) {
	if path == "" {
		return nil, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fail(exitIO, err)
	}
	var names []string
	s := bufio.NewScanner(bytes.NewReader(b))
	for s.Scan() {
		names = append(names, oneLine(s.Text()))
	}
	return names, fail(exitIO, s.Err())
}

func softmax(row []float32) []float64 {
	best := slices.Max(row)
	p := make([]float64, len(row))
	sum := 0.0
	for i, v := range row {
		p[i] = math.Exp(float64(v - best))
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return p
}
