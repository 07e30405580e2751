package ir

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
)

// ParseOptions tune Parse.
type ParseOptions struct {
	// Consts finds a constant that was printed as a digest; nil when unknown.
	Consts func(digest string) *Tensor
}

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

type parseError struct {
	line int
	msg  string
}

type parser struct {
	src    string
	pos    int
	line   int
	tok    string // current token; "" at the end
	quoted bool   // tok was a quoted string
	o      ParseOptions
	g      *Graph
}

func (p *parser) fail(format string, args ...any) {
	panic(parseError{p.line, fmt.Sprintf(format, args...)})
}

func (p *parser) next() {
	p.quoted = false
	for p.pos < len(p.src) {
		c := p.src[p.pos]
		switch {
		case c == '\n':
			p.line++
			p.pos++
		case c == ' ' || c == '\t' || c == '\r':
			p.pos++
		case strings.HasPrefix(p.src[p.pos:], "//"):
			end := strings.IndexByte(p.src[p.pos:], '\n')
			if end < 0 {
				end = len(p.src) - p.pos
			}
			p.pos += end
		case c == '"':
			s, err := strconv.QuotedPrefix(p.src[p.pos:])
			if err != nil {
				p.fail("a string does not end")
			}
			p.tok, _ = strconv.Unquote(s)
			p.quoted = true
			p.pos += len(s)
			return
		case isIdent(rune(c)):
			end := p.pos
			for end < len(p.src) && (isIdent(rune(p.src[end])) || p.src[end] == '+' && (p.src[end-1] == 'e' || p.src[end-1] == 'E')) {
				if strings.HasPrefix(p.src[end:], "//") {
					break
				}
				end++
			}
			p.tok = p.src[p.pos:end]
			p.pos = end
			return
		case strings.HasPrefix(p.src[p.pos:], "::"):
			p.tok = "::"
			p.pos += 2
			return
		default:
			p.tok = p.src[p.pos : p.pos+1]
			p.pos++
			return
		}
	}
	p.tok = ""
}

func (p *parser) is(s string) bool { return p.tok == s && !p.quoted }

func (p *parser) accept(s string) bool {
	if p.is(s) {
		p.next()
		return true
	}
	return false
}

func (p *parser) expect(s string) {
	if !p.accept(s) {
		p.fail("want %s, have %s", Quote(s), Quote(p.tok))
	}
}

func (p *parser) word() string {
	if p.tok == "" && !p.quoted {
		p.fail("unexpected end of text")
	}
	if !p.quoted && !isIdent(rune(p.tok[0])) {
		p.fail("want a name, have %s", Quote(p.tok))
	}
	s := p.tok
	p.next()
	return s
}

func (p *parser) graph() *Graph {
	p.expect("graph")
	g := New(p.word())
	outer := p.g
	p.g = g
	defer func() { p.g = outer }()
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
		default:
			p.node()
		}
	}
	return g
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
	var names []string
	var types []Type
	for {
		if p.accept("_") {
			names, types = append(names, "_"), append(types, Type{})
		} else {
			n, t := p.typed()
			p.fresh(n)
			names, types = append(names, n), append(types, t)
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

// maxParsed bounds constants that the text form generates.
const maxParsed = 1 << 24

func (p *parser) tensor(t Type) *Tensor {
	shape, ok := t.Shape.Ints()
	if !ok || !t.Ranked {
		p.fail("a constant needs a known shape, not %v", t)
	}
	n, err := NumElems(shape)
	if err != nil || n > maxParsed {
		p.fail("constant of shape %v is too large", shape)
	}
	switch {
	case p.is("sha256"):
		p.next()
		p.expect(":")
		digest := p.word()
		if p.o.Consts != nil {
			if c := p.o.Consts(digest); c != nil && c.Type().String() == t.String() {
				return c
			}
		}
		p.fail("constant sha256:%s is not at hand", digest)
	case p.is("["):
		p.next()
		c := p.newTensor(t.Elem, shape)
		for i := range n {
			if i > 0 {
				p.expect(",")
			}
			p.element(c, i)
		}
		p.expect("]")
		return c
	}
	c := p.newTensor(t.Elem, shape)
	kind := p.word()
	if kind == "iota" {
		for i := range n {
			c.set(i, float64(i), int64(i))
		}
		return c
	}
	p.expect("(")
	switch kind {
	case "rand":
		r := rand.New(rand.NewPCG(uint64(p.int()), 0))
		for i := range n {
			f := 2*r.Float64() - 1
			c.set(i, f, int64(math.Floor(f*8)))
		}
	case "fill":
		f := p.float(64)
		for i := range n {
			c.set(i, f, int64(f))
		}
	default:
		p.fail("unknown constant form %s", Quote(kind))
	}
	p.expect(")")
	return c
}

func (p *parser) newTensor(e Elem, shape []int) *Tensor {
	c, err := NewTensor(e, shape...)
	if err != nil {
		p.fail("%v", err)
	}
	return c
}

func (p *parser) element(c *Tensor, i int) {
	switch {
	case c.Elem == String:
		Data[string](c)[i] = p.word()
	case c.Elem == Float64:
		c.set(i, p.float(64), 0)
	case c.Elem.IsFloat():
		c.set(i, p.float(32), 0)
	case c.Elem == Uint64:
		w := p.word()
		n, err := strconv.ParseUint(w, 10, 64)
		if err != nil {
			p.fail("want an integer, have %s", Quote(w))
		}
		Data[uint64](c)[i] = n
	default:
		c.set(i, 0, p.int())
	}
}

// set writes element i: f for float types, n for the others.
func (t *Tensor) set(i int, f float64, n int64) {
	switch d := t.data.(type) {
	case []float32:
		d[i] = float32(f)
	case []float64:
		d[i] = f
	case []int64:
		d[i] = n
	case []int32:
		d[i] = int32(n)
	case []int16:
		d[i] = int16(n)
	case []int8:
		d[i] = int8(n)
	case []uint32:
		d[i] = uint32(n)
	case []uint64:
		d[i] = uint64(n)
	case []bool:
		d[i] = n != 0
	case []uint16:
		switch t.Elem {
		case Float16:
			d[i] = FloatToHalf(float32(f))
		case BFloat16:
			d[i] = uint16(math.Float32bits(float32(f)) >> 16)
		default:
			d[i] = uint16(n)
		}
	case []uint8:
		b := t.Elem.Bits()
		if b == 8 {
			d[i] = uint8(n)
			return
		}
		per := 8 / b
		shift := b * (i % per)
		mask := uint8(1<<b-1) << shift
		d[i/per] = d[i/per]&^mask | uint8(n)<<shift&mask
	}
}
