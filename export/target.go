package export

import (
	"encoding/json"
	"fmt"
	"strings"

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
	Format Format  // empty: packed
	Opset  int     // write at least this opset of ai.onnx; 0: the lowest that does
	ORT    Version // the release of ONNX Runtime that must run it; zero: any
}

// Built is a graph in the form of a target.
type Built struct {
	Graph *ir.Graph
	Write onnxio.WriteOptions // opset and IR version; the caller may add to it
	ORT   Version             // oldest release of ONNX Runtime that runs it
	Notes []string            // what the target cannot hold, one line each
}

// Build lowers a copy of the student (a graph with FakeQuant nodes, calibrated,
// see passes.Raise for graphs in other forms) to a target. The student is not
// changed. What the target cannot hold is in Notes; what the release of ONNX
// Runtime asked for cannot run is an error with a hint.
func Build(student *ir.Graph, t Target) (*Built, error) {
	if t.Format == "" {
		t.Format = FormatPacked
	}
	b := &Built{Write: onnxio.WriteOptions{MinOpset: t.Opset}}
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
		two := t.ORT == Version{} || !t.ORT.Before(Version{1, 24})
		list = lowering(passes.LowerNBits(passes.NBits{TwoBits: two}))
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
	b.Graph.Meta["qvitc.format"] = string(t.Format)
	if err := b.Graph.Check(); err != nil {
		return nil, err
	}
	var why string
	if b.ORT, why, err = NeedsORT(b.Graph, b.Write); err != nil {
		return nil, err
	}
	if t.ORT != (Version{}) && t.ORT.Before(b.ORT) {
		return nil, &ir.Error{
			Msg:  fmt.Sprintf("format %s needs ONNX Runtime %v (%s), the target is %v", t.Format, b.ORT, why, t.ORT),
			Hint: fmt.Sprintf("packed and qcdq8 run from %v on, without --opset", OldestORT),
		}
	}
	return b, nil
}

// lowering is a target's pass followed by those that spell out what it leaves.
func lowering(p passes.Pass) []passes.Pass {
	return []passes.Pass{p, passes.LowerFakeQuant, passes.LowerGelu}
}

// note collects what the target cannot hold.
func (b *Built) note(t Target, res *passes.Result) {
	add := func(format string, args ...any) { b.Notes = append(b.Notes, fmt.Sprintf(format, args...)) }
	if s := res.Step("lower-nbits"); s != nil {
		if n := s.Report.Get("activations left out"); n > 0 {
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

// Source brings a graph read from a file into the form that Build takes: every
// quantised form that is understood becomes FakeQuant nodes, activation
// functions one node each. The notes say what stays as it is. A graph in which
// nothing is quantised is an error.
func Source(g *ir.Graph) (notes []string, err error) {
	d := passes.Driver{Check: true}
	res, err := d.Run(g, append(append([]passes.Pass{}, passes.Raise...), passes.FuseGelu, passes.DropDead))
	if err != nil {
		return nil, err
	}
	quantisers, err := passes.Quantisers(g)
	if err != nil {
		return nil, err
	}
	if len(quantisers) == 0 {
		return nil, &ir.Error{Msg: "the model is not quantised in a form that is understood", Hint: "qvitc compress quantises a float model"}
	}
	for _, s := range res.Steps {
		for _, n := range s.Report.Notes {
			notes = append(notes, n.String())
		}
	}
	g.Functions = nil
	return notes, nil
}
