package export

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/qvitc/qvitc/doctor"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/passes"
)

// Format is a form in which a quantised graph is written (docs/formats.md).
type Format string

// The formats. All but NBits hold every quantiser of the student.
const (
	FormatPacked Format = "packed" // operators of ai.qvitc with function bodies in integers: true 4, 3 and 2 bits
	FormatQDQ    Format = "qdq"    // QuantizeLinear and DequantizeLinear on INT4 (weights on INT2 from opset 25 on)
	FormatQCDQ8  Format = "qcdq8"  // QuantizeLinear, Clip, DequantizeLinear on INT8
	FormatNBits  Format = "nbits"  // com.microsoft MatMulNBits: weights only
	FormatQONNX  Format = "qonnx"  // IntQuant of QONNX on float weights
)

// Formats lists all formats.
var Formats = []Format{FormatPacked, FormatQDQ, FormatQCDQ8, FormatNBits, FormatQONNX}

// ParseFormat finds a format by name.
func ParseFormat(s string) (Format, error) {
	var names []string
	for _, f := range Formats {
		if string(f) == s {
			return f, nil
		}
		names = append(names, string(f))
	}
	return "", fmt.Errorf("format %q is not known: want one of %s", s, strings.Join(names, ", "))
}

// WeightsOnly reports whether the format leaves out quantisers of activations.
func (f Format) WeightsOnly() bool { return f == FormatNBits }

// Target says what to write.
type Target struct {
	Format Format        // empty: packed
	Opset  int           // write at least this opset of ai.onnx; 0: the lowest that does
	ORT    doctor.Target // versions of ONNX Runtime that must run it; zero: any that loads it
}

// Built is a graph in the form of a target.
type Built struct {
	Graph  *ir.Graph
	Format Format
	Write  onnxio.WriteOptions // opset and IR version; the caller may add to it
	Needs  doctor.Needs        // what it asks of a runtime
	Notes  []string            // what the target cannot hold, one line each
}

// Build lowers a copy of the student (a graph with FakeQuant nodes, calibrated,
// see passes.Raise for graphs in other forms) to a target. The student is not
// changed. What the target cannot hold is in Notes; what the release of ONNX
// Runtime asked for cannot run is an error with a hint.
func Build(student *ir.Graph, t Target) (*Built, error) {
	if t.Format == "" {
		t.Format = FormatPacked
	}
	b := &Built{Format: t.Format, Write: onnxio.WriteOptions{MinOpset: t.Opset}}
	var list []passes.Pass
	switch t.Format {
	case FormatPacked:
		b.Write.MinOpset, b.Write.MinIR = max(18, t.Opset), 8
		list = passes.Lower
	case FormatQDQ:
		list = lowering(passes.LowerQDQ(passes.QDQ{Int2: t.Opset >= 25, Shift: true}))
	case FormatQCDQ8:
		list = lowering(passes.LowerQDQ(passes.QDQ{Bytes: true, Shift: t.Opset >= 21}))
	case FormatNBits:
		two := t.ORT == doctor.Target{} || t.ORT.From >= nbits2
		list = append([]passes.Pass{passes.WeightsOnly}, lowering(passes.LowerNBits(passes.NBits{TwoBits: two}))...)
	case FormatQONNX:
		list = lowering(passes.LowerQONNX)
	default:
		_, err := ParseFormat(string(t.Format))
		return nil, err
	}
	b.Graph, _ = student.Clone()
	delete(b.Graph.Meta, passes.WidthsKey)
	d := passes.Driver{Check: true}
	res, err := d.Run(b.Graph, list)
	if err != nil {
		return nil, err
	}
	b.note(t, res)
	if t.Format == FormatPacked {
		if err := completePacked(b.Graph); err != nil {
			return nil, err
		}
	}
	if err := attachFunctions(b.Graph); err != nil {
		return nil, err
	}
	nameNodes(b.Graph)
	if err := b.Graph.Check(); err != nil {
		return nil, err
	}
	return b, b.check(t)
}

// nbits2 is the version of ONNX Runtime that has MatMulNBits of 2 bits.
const nbits2 doctor.Version = 1024

// check asks the doctor about what was built: what it needs, and whether the
// versions asked for run it.
func (b *Built) check(t Target) error {
	p, err := onnxio.ToProto(b.Graph, b.Write)
	if err != nil {
		return err
	}
	found, needs, err := doctor.Check(&onnxio.Model{Proto: p}, t.ORT)
	if err != nil {
		return err
	}
	b.Needs = needs
	for _, f := range found {
		if f.Effect == doctor.Slow {
			continue
		}
		if t.ORT == (doctor.Target{}) {
			b.Notes = append(b.Notes, f.String())
			continue
		}
		return &ir.Error{
			Msg:  fmt.Sprintf("format %s at opset %d does not run on %v: %s", t.Format, needs.Opset, t.ORT, f.Message),
			Hint: fmt.Sprintf("packed and qcdq8 run from ort=%v on, without --opset", doctor.Oldest),
		}
	}
	return nil
}

// lowering is a target's pass followed by those that spell out what it leaves.
func lowering(p passes.Pass) []passes.Pass {
	return []passes.Pass{p, passes.LowerFakeQuant, passes.LowerGelu}
}

// note collects what the target cannot hold.
func (b *Built) note(t Target, res *passes.Result) {
	add := func(format string, args ...any) { b.Notes = append(b.Notes, fmt.Sprintf(format, args...)) }
	if s := res.Step(passes.WeightsOnly.Name); s != nil {
		if n := s.Report.Get("left out"); n > 0 {
			add("%s holds weights only: %d quantisers of activations are left out", t.Format, n)
		}
	}
	widths := map[string]int{}
	if text := b.Graph.Meta[passes.WidthsKey]; text != "" && json.Unmarshal([]byte(text), &widths) == nil {
		count := map[int]int{}
		for _, bits := range widths {
			count[bits]++
		}
		for bits := 1; bits <= 16; bits++ {
			if count[bits] > 0 {
				add("%s has no %d-bit type here: %d weights of %d bits are stored in wider codes", t.Format, bits, count[bits], bits)
			}
		}
	}
	if t.Format == FormatQONNX {
		add("%s stores weights as the float32 values of their codes", t.Format)
	}
	if s := res.Step("lower-fakequant"); s != nil {
		if n := s.Report.Get("spelled out"); n > 0 {
			add("%s has no form for %d quantisers: they are spelled out in standard operators", t.Format, n)
		}
	}
	for _, s := range res.Steps {
		for _, n := range s.Report.Notes {
			add("%s", n)
		}
	}
}

// Raise brings a graph read from a file into the form that Build takes, see
// passes.ReadQuantised. The notes say what stays as it is.
func Raise(g *ir.Graph) (notes []string, err error) { return passes.ReadQuantised(g) }

// Source is Raise for a graph that is to be written again: one in which nothing
// is quantised is an error, and functions that nothing calls any more are left
// out.
func Source(g *ir.Graph) (notes []string, err error) {
	if notes, err = Raise(g); err != nil {
		return nil, err
	}
	quantisers, err := passes.Quantisers(g)
	if err != nil {
		return nil, err
	}
	if len(quantisers) == 0 {
		return nil, &ir.Error{Msg: "the model is not quantised in a form that is understood", Hint: "qvitc compress quantises a float model"}
	}
	called := map[[2]string]bool{}
	graphs := []*ir.Graph{g}
	for _, f := range g.Functions {
		graphs = append(graphs, f.Body)
	}
	for _, b := range graphs {
		for n := range b.Nodes() {
			called[[2]string{n.Domain, n.Op}] = true
		}
	}
	g.Functions = slices.DeleteFunc(g.Functions, func(f *ir.Function) bool { return !called[[2]string{f.Domain, f.Name}] })
	return notes, nil
}
