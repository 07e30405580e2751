package export

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
)

// Version is a release of ONNX Runtime, as 1.20; the zero value is none.
type Version struct{ Major, Minor int }

// OldestORT is the oldest release that exports are made for: older ones fail on
// model-local functions.
var OldestORT = Version{1, 16}

func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// Before reports whether v is older than w.
func (v Version) Before(w Version) bool {
	return v.Major < w.Major || v.Major == w.Major && v.Minor < w.Minor
}

// ParseVersion reads "1.20" or "1.20.1".
func ParseVersion(s string) (Version, error) {
	parts := strings.Split(s, ".")
	var v Version
	var err error
	if len(parts) < 2 || len(parts) > 3 {
		return v, fmt.Errorf("version %q is not of the form 1.20", s)
	}
	for i, p := range []*int{&v.Major, &v.Minor} {
		if *p, err = strconv.Atoi(parts[i]); err != nil || *p < 0 || *p > 999 {
			return Version{}, fmt.Errorf("version %q is not of the form 1.20", s)
		}
	}
	return v, nil
}

// ParseTarget reads what a file must run on: "ort=1.20" (or "ort>=1.20").
func ParseTarget(s string) (Version, error) {
	name, version, ok := strings.Cut(s, "=")
	if name = strings.TrimSuffix(name, ">"); !ok || name != "ort" {
		return Version{}, fmt.Errorf("target %q is not known: want ort=VERSION, as ort=1.20", s)
	}
	v, err := ParseVersion(version)
	if err == nil && v.Before(OldestORT) {
		err = fmt.Errorf("target ort=%v is too old: the oldest that runs what is written here is %v", v, OldestORT)
	}
	return v, err
}

// opsetORT is the ONNX Runtime release that came with each opset of ai.onnx.
var opsetORT = []struct {
	opset int
	ort   Version
}{{26, Version{1, 27}}, {24, Version{1, 24}}, {23, Version{1, 23}}, {22, Version{1, 21}}, {21, Version{1, 18}}, {20, Version{1, 17}}}

// NeedsORT is the oldest release of ONNX Runtime that runs g when it is written
// with o, and what of it asks for that. It follows the matrix of runs in
// docs/formats.md.
func NeedsORT(g *ir.Graph, o onnxio.WriteOptions) (v Version, why string, err error) {
	v, why = OldestORT, "model-local functions and opset 18"
	need := func(w Version, reason string) {
		if v.Before(w) {
			v, why = w, reason
		}
	}
	opset, _, err := onnxio.Versions(g, o)
	if err != nil {
		return v, why, err
	}
	for _, t := range opsetORT {
		if opset >= t.opset {
			need(t.ort, fmt.Sprintf("opset %d", opset))
			break
		}
	}
	types := func(x *ir.Value) {
		switch {
		case x == nil:
		case x.Type.Elem == ir.Uint2 || x.Type.Elem == ir.Int2:
			need(Version{1, 24}, "2-bit types")
		case x.Type.Elem == ir.Uint4 || x.Type.Elem == ir.Int4:
			need(Version{1, 20}, "4-bit types")
		}
	}
	for _, x := range g.Consts() {
		types(x)
	}
	for n := range g.Nodes() {
		for _, x := range n.Outputs {
			types(x)
		}
		if n.Domain != ir.Microsoft || n.Op != "MatMulNBits" {
			continue
		}
		need(Version{1, 18}, "MatMulNBits")
		if b := n.Attrs.Int("bits", 4); b != 4 {
			need(Version{1, 24}, fmt.Sprintf("MatMulNBits of %d bits", b))
		}
		if n.Input(5) != nil {
			need(Version{1, 20}, "MatMulNBits with a bias")
		}
	}
	return v, why, nil
}
