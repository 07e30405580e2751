package ir

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// ParseOptions tune Parse.
type ParseOptions struct {
	// Consts finds a constant that was printed as a digest; nil when unknown.
	Consts func(digest string) *Tensor
}

// MaxNesting is how deep Parse lets graphs stand within graphs, the outermost counted:
// more than a file that onnxio reads can hold.
const MaxNesting = 64

// Parse reads the text form that Print writes. For hand-written graphs a
// constant's data may also be rand(SEED) (uniform in [-1,1), from PCG), iota,
// or fill(X). Comments run from // to the end of the line. Types of node
// outputs may be left out.
func Parse(text string, o ParseOptions) (g *Graph, err error) {
	p := &parser{src: text, line: 1, o: o}
	defer func() {
		if r := recover(); r != nil {
			pe, ok := r.(parseError)
			if !ok {
				panic(r)
			}
			g, err = nil, fmt.Errorf("line %d: %s", pe.line, pe.msg)
		}
	}()
	p.next()
	g = p.graph()
	if p.tok != "" {
		p.fail("unexpected %s after the graph", Quote(p.tok))
	}
	if err := g.Check(); err != nil {
		return nil, err
	}
	return g, nil
}

func (p *parser) graph() *Graph {
	p.expect("graph")
	if p.depth++; p.depth > MaxNesting {
		p.fail("graphs nest deeper than %d", MaxNesting)
	}
	g := New(p.word())
	outer := p.g
	p.g = g
	defer func() { p.g = outer; p.depth-- }()
	p.expect("{")
	for !p.accept("}") {
		switch {
		case p.is("meta"):
			p.next()
			k := p.word()
			p.expect("=")
			g.Meta[k] = p.word()
		case p.is("input"):
			p.next()
			name, t := p.typed()
			p.fresh(name)
			g.AddInput(name, t)
		case p.is("const"):
			p.next()
			name, t := p.typed()
			p.expect("=")
			p.fresh(name)
			g.AddConst(name, p.tensor(t))
		case p.is("output"):
			p.next()
			p.expect("%")
			g.AddOutput(p.lookup())
		case p.is("function"):
			p.next()
			f := p.function()
			if g.Function(f.Domain, f.Name) != nil {
				p.fail("function %s::%s is defined twice", Quote(f.Domain), Quote(f.Name))
			}
			g.Functions = append(g.Functions, f)
		default:
			p.node()
		}
	}
	return g
}

func (p *parser) function() *Function {
	f := &Function{Domain: p.word()}
	p.expect("::")
	f.Name = p.word()
	if p.accept("{") {
		for !p.accept("}") {
			if len(f.Attrs) > 0 {
				p.expect(",")
			}
			f.Attrs = append(f.Attrs, p.word())
		}
	}
	if p.quoted {
		f.Doc = p.word()
	}
	f.Body = p.graph()
	return f
}

func (p *parser) fresh(name string) {
	if p.g.Value(name) != nil {
		p.fail("value %s is defined twice", Quote(name))
	}
}

func (p *parser) lookup() *Value {
	name := p.word()
	v := p.g.Value(name)
	if v == nil {
		p.fail("value %s is not defined", Quote(name))
	}
	return v
}

func (p *parser) typed() (string, Type) {
	p.expect("%")
	name := p.word()
	if !p.accept(":") {
		return name, Type{}
	}
	return name, p.typ()
}

func (p *parser) typ() Type {
	name := "?"
	if !p.accept("?") {
		name = p.word()
	}
	e, ok := ElemByName(name)
	if !ok {
		p.fail("unknown element type %s", Quote(name))
	}
	t := Type{Elem: e}
	if !p.accept("[") {
		return t
	}
	t.Ranked = true
	t.Shape = Shape{}
	for !p.accept("]") {
		if len(t.Shape) > 0 {
			p.expect(",")
		}
		if p.accept("?") {
			t.Shape = append(t.Shape, UnknownDim)
			continue
		}
		quoted := p.quoted
		w := p.word()
		if n, err := strconv.ParseInt(w, 10, 64); err == nil && n >= 0 && !quoted {
			t.Shape = append(t.Shape, Dim{Size: n})
		} else {
			t.Shape = append(t.Shape, Sym(w))
		}
	}
	return t
}

func (p *parser) node() {
	var names, real []string
	var types []Type
	for {
		if p.accept("_") {
			names, real, types = append(names, "_"), append(real, ""), append(types, Type{})
		} else {
			n, t := p.typed()
			p.fresh(n)
			if slices.Contains(real, n) {
				p.fail("value %s is defined twice", Quote(n))
			}
			real, types = append(real, n), append(types, t)
			if n == "_" { // a value of that name, not one left out
				n = p.g.Unique("underscore")
			}
			names = append(names, n)
		}
		if !p.accept(",") {
			break
		}
	}
	p.expect("=")
	domain, op := "", p.word()
	if p.accept("::") {
		domain, op = op, p.word()
	}
	p.expect("(")
	var ins []*Value
	for !p.accept(")") {
		if len(ins) > 0 {
			p.expect(",")
		}
		if p.accept("_") {
			ins = append(ins, nil)
			continue
		}
		p.expect("%")
		ins = append(ins, p.lookup())
	}
	attrs := Attrs{}
	if p.accept("{") {
		for !p.accept("}") {
			if len(attrs) > 0 {
				p.expect(",")
			}
			k := p.word()
			p.expect("=")
			attrs[k] = p.attr()
		}
	}
	n := p.g.InsertBefore(nil, domain, op, attrs, ins, names...)
	for i, v := range n.Outputs {
		if v != nil {
			p.g.Rename(v, real[i])
			v.Type = types[i]
		}
	}
	if p.accept("@") {
		n.Role.Kind = p.word()
		p.expect("(")
		n.Role.Block = int(p.int())
		p.expect(")")
	}
	if p.accept("#") {
		n.Name = p.word()
	}
}

func (p *parser) int() int64 {
	w := p.word()
	n, err := strconv.ParseInt(w, 10, 64)
	if err != nil {
		p.fail("want an integer, have %s", Quote(w))
	}
	return n
}

func (p *parser) float(bits int) float64 {
	w := strings.TrimSuffix(p.word(), "f")
	if w == "in" || w == "-in" { // "inf" lost its f
		w += "f"
	}
	f, err := strconv.ParseFloat(w, bits)
	if err != nil && !math.IsInf(f, 0) {
		p.fail("want a number, have %s", Quote(w))
	}
	return f
}

func (p *parser) attr() any {
	switch {
	case p.quoted:
		return p.word()
	case p.is("["):
		return p.listAttr()
	case p.accept("@"):
		return AttrRef(p.word())
	}
	if n, err := strconv.ParseInt(p.tok, 10, 64); err == nil {
		p.next()
		return n
	}
	if _, ok := ElemByName(p.tok); ok {
		t := p.typ()
		p.expect("=")
		return p.tensor(t)
	}
	if p.is("graph") {
		return p.graph()
	}
	return float32(p.float(32))
}

func (p *parser) listAttr() any {
	p.expect("[")
	var words []string
	for !p.accept("]") {
		if len(words) > 0 {
			p.expect(",")
		}
		words = append(words, p.word())
	}
	switch {
	case p.accept("f"):
		out := make([]float32, len(words))
		for i, w := range words {
			f, err := strconv.ParseFloat(w, 32)
			if err != nil && !math.IsInf(f, 0) {
				p.fail("want a number, have %s", Quote(w))
			}
			out[i] = float32(f)
		}
		return out
	case p.accept("s"):
		return append([]string{}, words...)
	}
	p.accept("i")
	out := make([]int64, len(words))
	for i, w := range words {
		n, err := strconv.ParseInt(w, 10, 64)
		if err != nil {
			p.fail("want an integer, have %s", Quote(w))
		}
		out[i] = n
	}
	return out
}
