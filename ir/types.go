package ir

import (
	"strconv"
	"strings"
)

// Dim is one dimension: a size, a symbol such as "batch", or unknown.
type Dim struct {
	Size int64 // -1 when not known
	Sym  string
}

// D is a known dimension.
func D(n int) Dim { return Dim{Size: int64(n)} }

// Sym is a symbolic dimension.
func Sym(name string) Dim { return Dim{Size: -1, Sym: name} }

// UnknownDim is a dimension about which nothing is known.
var UnknownDim = Dim{Size: -1}

// Known reports whether the size is known.
func (d Dim) Known() bool { return d.Size >= 0 }

// Same reports whether both dimensions are provably equal.
func (d Dim) Same(e Dim) bool { return d == e && (d.Known() || d.Sym != "") }

func (d Dim) String() string {
	switch {
	case d.Known():
		return strconv.FormatInt(d.Size, 10)
	case d.Sym != "":
		if _, err := strconv.ParseInt(d.Sym, 10, 64); err == nil {
			return strconv.Quote(d.Sym) // a symbol, not a size
		}
		return quoteIfNeeded(d.Sym)
	}
	return "?"
}

// Shape is a list of dimensions.
type Shape []Dim

// Known makes a shape of known sizes.
func Known(dims ...int) Shape {
	s := make(Shape, len(dims))
	for i, d := range dims {
		s[i] = D(d)
	}
	return s
}

// Ints gives the sizes; ok is false when one is not known.
func (s Shape) Ints() (dims []int, ok bool) {
	dims = make([]int, len(s))
	for i, d := range s {
		if !d.Known() {
			return nil, false
		}
		dims[i] = int(d.Size)
	}
	return dims, true
}

func (s Shape) String() string {
	p := make([]string, len(s))
	for i, d := range s {
		p[i] = d.String()
	}
	return "[" + strings.Join(p, ",") + "]"
}

// Type is an element type and, when Ranked, a shape.
type Type struct {
	Elem   Elem
	Shape  Shape
	Ranked bool
}

// TensorType makes a ranked type.
func TensorType(e Elem, s Shape) Type { return Type{Elem: e, Shape: s, Ranked: true} }

func (t Type) String() string {
	if !t.Ranked {
		return t.Elem.String()
	}
	return t.Elem.String() + t.Shape.String()
}

// Rank is the number of dimensions, or -1 when the shape is not known.
func (t Type) Rank() int {
	if !t.Ranked {
		return -1
	}
	return len(t.Shape)
}
