package ir

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// graphMaker makes random graphs that pass Check, of every kind of type,
// constant and attribute, with names that need every kind of escape.
type graphMaker struct {
	r    *rand.Rand
	used map[string]bool
	n    int
}

var nameParts = []string{"x", "fc1", "blocks.0/attn", "a b", "_", "%", "q\"uote", "new\nline", "é", "\x1b[2J", "\xff", "0", "-1", "//", "@r(1)", "{", "=", "sha256:", "inf", "graph", "日本"}

func (m *graphMaker) word() string {
	s := ""
	for range 1 + m.r.IntN(2) {
		s += nameParts[m.r.IntN(len(nameParts))]
	}
	return s
}

// name is a word that no other value of the graph has.
func (m *graphMaker) name() string {
	s := m.word()
	if m.used[s] {
		m.n++
		s = fmt.Sprint(s, ".", m.n)
	}
	m.used[s] = true
	return s
}

var elems = []Elem{Float32, Uint8, Int8, Uint16, Int16, Int32, Int64, String, Bool, Float16, Float64, Uint32, Uint64, BFloat16, Uint4, Int4, Uint2, Int2}

func (m *graphMaker) typ() Type {
	e := elems[m.r.IntN(len(elems))]
	switch m.r.IntN(5) {
	case 0:
		return Type{}
	case 1:
		return Type{Elem: e}
	}
	s := Shape{}
	for range m.r.IntN(4) {
		switch m.r.IntN(4) {
		case 0:
			s = append(s, UnknownDim)
		case 1:
			s = append(s, Sym(m.word()))
		default:
			s = append(s, D(m.r.IntN(2000)))
		}
	}
	return TensorType(e, s)
}

var oddFloats = []float64{0, math.Copysign(0, -1), 1, -0.5, 0.1, 65504, 1e-45, 3.4e38, -1e308, math.Inf(1), math.Inf(-1), math.NaN(), 1.0000001}

func (m *graphMaker) float() float64 {
	if m.r.IntN(3) > 0 {
		return oddFloats[m.r.IntN(len(oddFloats))]
	}
	return m.r.NormFloat64()
}

func (m *graphMaker) int() int64 { return int64(m.r.Uint64()) >> m.r.IntN(64) }

func (m *graphMaker) tensor(t *testing.T) *Tensor {
	e := elems[m.r.IntN(len(elems))]
	var dims []int
	for range m.r.IntN(3) {
		dims = append(dims, m.r.IntN(5))
	}
	x, err := NewTensor(e, dims...)
	if err != nil {
		t.Fatal(err)
	}
	for i := range x.Len() {
		switch v := m.int() << (64 - max(1, e.Bits())); {
		case e == String:
			Data[string](x)[i] = m.word()
		case e == Bool:
			x.set(i, 0, int64(m.r.IntN(2)))
		case e.IsSigned():
			x.set(i, 0, v>>(64-e.Bits()))
		default:
			x.set(i, m.float(), int64(uint64(v)>>(64-max(1, e.Bits()))))
		}
	}
	return x
}

func (m *graphMaker) attr(t *testing.T, depth int) any {
	k := m.r.IntN(4)
	switch m.r.IntN(10) {
	case 0, 1:
		return m.int()
	case 2:
		return float32(m.float())
	case 3:
		return m.word()
	case 4:
		return many(k, m.int)
	case 5:
		return many(k, func() float32 { return float32(m.float()) })
	case 6:
		return many(k, m.word)
	case 7:
		return m.tensor(t)
	case 8:
		return AttrRef(m.word())
	}
	if depth == 0 {
		return "leaf"
	}
	inner := graphMaker{r: m.r, used: map[string]bool{}}
	return inner.graph(t, depth-1)
}

func many[T any](n int, f func() T) []T {
	out := make([]T, n)
	for i := range out {
		out[i] = f()
	}
	return out
}

func (m *graphMaker) graph(t *testing.T, depth int) *Graph {
	g := New(m.word())
	for range m.r.IntN(3) {
		g.Meta[m.word()] = m.word()
	}
	values := []*Value{nil}
	for range 1 + m.r.IntN(3) {
		values = append(values, g.AddInput(m.name(), m.typ()))
	}
	for range m.r.IntN(4) {
		values = append(values, g.AddConst(m.name(), m.tensor(t)))
	}
	for range m.r.IntN(6) {
		in := many(m.r.IntN(4), func() *Value { return values[m.r.IntN(len(values))] })
		outs := many(1+m.r.IntN(2), m.name) // "_" leaves one out
		attrs := Attrs{}
		for range m.r.IntN(3) {
			attrs[m.word()] = m.attr(t, depth)
		}
		domain := ""
		if m.r.IntN(3) == 0 {
			domain = m.word()
		}
		n := g.InsertBefore(nil, domain, m.word(), attrs, in, outs...)
		for _, v := range n.Outputs {
			if v != nil { // it was named _
				v.Type = m.typ()
				values = append(values, v)
			}
		}
		if m.r.IntN(3) == 0 {
			n.Name = m.word()
		}
		if m.r.IntN(3) == 0 {
			n.Role = Role{Kind: m.word(), Block: m.r.IntN(14) - 1}
		}
	}
	for range 1 + m.r.IntN(2) {
		if v := values[m.r.IntN(len(values))]; v != nil && !g.IsOutput(v) {
			g.AddOutput(v)
		}
	}
	for range m.r.IntN(4) - 1 {
		f := &Function{Domain: m.word(), Name: m.word(), Attrs: many(m.r.IntN(3), m.word)}
		if m.r.IntN(2) == 0 {
			f.Doc = m.word()
		}
		if inner := (&graphMaker{r: m.r, used: map[string]bool{}}); depth > 0 && g.Function(f.Domain, f.Name) == nil {
			f.Body = inner.graph(t, 0)
			g.Functions = append(g.Functions, f)
		}
	}
	return g
}

// What is printed reads back to a graph that prints the same, on 10,000 random
// graphs; and a clone prints as its original.
func TestRandomRoundTrip(t *testing.T) {
	n := 10_000
	if testing.Short() {
		n = 500
	}
	for seed := range n {
		m := graphMaker{r: rand.New(rand.NewPCG(uint64(seed), 9)), used: map[string]bool{}}
		g := m.graph(t, 2)
		if err := g.Check(); err != nil {
			t.Fatalf("seed %d: the generator: %v", seed, err)
		}
		text := g.String()
		h, err := Parse(text, ParseOptions{})
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, text)
		}
		if err := h.Check(); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, text)
		}
		if again := h.String(); again != text {
			t.Fatalf("seed %d: printed\n%s\nthen\n%s", seed, text, again)
		}
		if c, _ := g.Clone(); seed%10 == 0 && c.String() != text {
			t.Fatalf("seed %d: the clone prints otherwise", seed)
		}
	}
}
