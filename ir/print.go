package ir

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// PrintOptions tune the text form.
type PrintOptions struct {
	// MaxElems is the largest constant printed in full; larger ones appear as a
	// digest with their range, which Parse resolves through ParseOptions.Consts.
	MaxElems int
	// Origins appends where each node came from, as a comment.
	Origins bool
}

// String prints the graph with constants of up to 16 elements in full.
func (g *Graph) String() string {
	var b strings.Builder
	_ = g.Print(&b, PrintOptions{MaxElems: 16})
	return b.String()
}

// Print writes the text form.
func (g *Graph) Print(w io.Writer, o PrintOptions) error {
	p := &printer{w: bufio.NewWriter(w), o: o}
	p.graph(g)
	return p.w.Flush()
}

// Digest names a tensor by content: the first 16 hex digits of the SHA-256 of
// its type and data.
func (t *Tensor) Digest() string {
	h := sha256.New()
	fmt.Fprint(h, t.Type().String(), ":")
	fmt.Fprintf(h, "%x", t.data)
	return hex.EncodeToString(h.Sum(nil))[:16]
}

type printer struct {
	w *bufio.Writer
	o PrintOptions
}

func (p *printer) f(format string, args ...any) { fmt.Fprintf(p.w, format, args...) }

func (p *printer) graph(g *Graph) {
	p.f("graph %s {\n", strconv.Quote(g.Name))
	for _, k := range slices.Sorted(maps.Keys(g.Meta)) {
		p.f("  meta %s = %s\n", strconv.Quote(k), strconv.Quote(g.Meta[k]))
	}
	for _, v := range g.Inputs {
		p.f("  input %s\n", typed(v))
	}
	for _, v := range g.Consts() {
		p.f("  const %s = %s\n", typed(v), p.tensorData(v.Const))
	}
	for n := range g.Nodes() {
		p.node(n)
	}
	for _, v := range g.Outputs {
		p.f("  output %s\n", ref(v))
	}
	for _, f := range g.Functions {
		p.function(f)
	}
	p.f("}\n")
}

// function prints a model-local function: the names of its attributes in braces,
// its doc string, its body.
func (p *printer) function(f *Function) {
	p.f("  function %s::%s", quoteIfNeeded(f.Domain), quoteIfNeeded(f.Name))
	if len(f.Attrs) > 0 {
		names := make([]string, len(f.Attrs))
		for i, name := range f.Attrs {
			names[i] = quoteIfNeeded(name)
		}
		p.f(" {%s}", strings.Join(names, ", "))
	}
	if f.Doc != "" {
		p.f(" %s", strconv.Quote(f.Doc))
	}
	p.f(" %s\n", strings.ReplaceAll(p.inner(f.Body), "\n", "\n  "))
}

// inner prints a graph inside another.
func (p *printer) inner(g *Graph) string {
	var b strings.Builder
	_ = g.Print(&b, p.o)
	return strings.TrimSpace(b.String())
}

func typed(v *Value) string {
	if v.Type.Elem == Undefined && !v.Type.Ranked {
		return ref(v)
	}
	return ref(v) + ": " + v.Type.String()
}

func ref(v *Value) string {
	if v == nil {
		return "_"
	}
	return "%" + quoteIfNeeded(v.Name)
}

func (p *printer) node(n *Node) {
	outs := make([]string, len(n.Outputs))
	for i, v := range n.Outputs {
		if v == nil {
			outs[i] = "_"
			continue
		}
		outs[i] = typed(v)
	}
	ins := make([]string, len(n.Inputs))
	for i, v := range n.Inputs {
		ins[i] = ref(v)
	}
	p.f("  %s = ", strings.Join(outs, ", "))
	if n.Domain != "" {
		p.f("%s::", quoteIfNeeded(n.Domain))
	}
	p.f("%s(%s)", quoteIfNeeded(n.Op), strings.Join(ins, ", "))
	if len(n.Attrs) > 0 {
		p.f(" {")
		for i, k := range n.Attrs.Names() {
			if i > 0 {
				p.f(", ")
			}
			p.f("%s=%s", quoteIfNeeded(k), p.attr(n.Attrs[k]))
		}
		p.f("}")
	}
	if n.Role.Kind != "" {
		p.f(" @%s(%d)", quoteIfNeeded(n.Role.Kind), n.Role.Block)
	}
	if n.Name != "" {
		p.f(" #%s", strconv.Quote(n.Name))
	}
	if p.o.Origins && n.Origin.Index > 0 {
		p.f(" // node %d %s, by %s", n.Origin.Index, n.Origin.Op, strings.Join(n.Origin.By, " "))
	}
	p.f("\n")
}

func (p *printer) attr(v any) string {
	switch v := v.(type) {
	case int64:
		return strconv.FormatInt(v, 10)
	case float32:
		return formatFloat(float64(v), 32) + "f"
	case string:
		return strconv.Quote(v)
	case []int64:
		return list(v, func(x int64) string { return strconv.FormatInt(x, 10) }) + "i"
	case []float32:
		return list(v, func(x float32) string { return formatFloat(float64(x), 32) }) + "f"
	case []string:
		return list(v, strconv.Quote) + "s"
	case *Tensor:
		return v.Type().String() + " = " + p.tensorData(v)
	case AttrRef:
		return "@" + strconv.Quote(string(v))
	case *Graph:
		return p.inner(v)
	}
	return fmt.Sprintf("?%T", v)
}

func list[T any](v []T, f func(T) string) string {
	s := make([]string, len(v))
	for i, x := range v {
		s[i] = f(x)
	}
	return "[" + strings.Join(s, ", ") + "]"
}

func formatFloat(f float64, bits int) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	return strconv.FormatFloat(f, 'g', -1, bits)
}

func (p *printer) tensorData(t *Tensor) string {
	n := t.Len()
	if n > p.o.MaxElems {
		s := "sha256:" + t.Digest()
		if t.Elem != String && n > 0 {
			lo, hi := math.Inf(1), math.Inf(-1)
			for i := range n {
				f := t.Float(i)
				lo, hi = min(lo, f), max(hi, f)
			}
			s += fmt.Sprintf(" // %.6g to %.6g", lo, hi)
		}
		return s
	}
	s := make([]string, n)
	for i := range s {
		switch {
		case t.Elem == String:
			s[i] = strconv.Quote(Data[string](t)[i])
		case t.Elem == Float64:
			s[i] = formatFloat(t.Float(i), 64)
		case t.Elem.IsFloat():
			s[i] = formatFloat(t.Float(i), 32)
		case t.Elem == Uint64:
			s[i] = strconv.FormatUint(Data[uint64](t)[i], 10)
		default:
			s[i] = strconv.FormatInt(t.Int(i), 10)
		}
	}
	return "[" + strings.Join(s, ", ") + "]"
}

// quoteIfNeeded leaves identifiers of letters, digits and _ . / - bare, unless
// they would read as a comment.
func quoteIfNeeded(s string) string {
	if s == "" || s == "_" || strings.Contains(s, "//") {
		return strconv.Quote(s)
	}
	for _, r := range s {
		if !isIdent(r) {
			return strconv.Quote(s)
		}
	}
	return s
}

func isIdent(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '.' || r == '/' || r == '-'
}
