package ops

import (
	"slices"
	"strings"

	"github.com/qvitc/qvitc/ir"
)

// Op is the meaning of one operator: its signature and what inference and
// evaluation do with it. Ops are made by this package only; the exported
// fields are for reading.
type Op struct {
	Domain string // "" is ai.onnx
	Name   string
	Since  int // opset of the form described here; 0 for ai.qvitc
	In     []Param
	Out    []Param
	Attrs  []Attr

	infer   func(c *call) error         // result types; shapes only where element types follow from the signature
	content func(c *call)               // symbolic content of small integer results
	fold    bool                        // cheap enough to evaluate during inference
	eval    func(c *call) error         // sets every wanted result
	macs    func(c *call) (int64, bool) // multiply-accumulates at known shapes
	impure  func(n *ir.Node) bool       // nil: always pure
}

// Param is one formal input or output. Parameters with the same Var have the
// same element type.
type Param struct {
	Name     string
	Var      string  // type variable; empty: none
	Types    TypeSet // element types allowed
	Optional bool
	Variadic bool // the last parameter only: one or more
}

// Kind is the type of an attribute's value in ir.Attrs.
type Kind uint8

// Attribute kinds.
const (
	Int     Kind = iota + 1 // int64
	Float                   // float32
	String                  // string
	Ints                    // []int64
	Floats                  // []float32
	Strings                 // []string
	Tensor                  // *ir.Tensor
	Graph                   // *ir.Graph
)

func (k Kind) String() string {
	return [...]string{"?", "INT", "FLOAT", "STRING", "INTS", "FLOATS", "STRINGS", "TENSOR", "GRAPH"}[k]
}

func kindOf(v any) Kind {
	switch v.(type) {
	case int64:
		return Int
	case float32:
		return Float
	case string:
		return String
	case []int64:
		return Ints
	case []float32:
		return Floats
	case []string:
		return Strings
	case *ir.Tensor:
		return Tensor
	case *ir.Graph:
		return Graph
	}
	return 0
}

// Attr is one attribute. Default is nil when leaving the attribute out means
// something that no value says (such as "all axes").
type Attr struct {
	Name     string
	Kind     Kind
	Default  any // value as in ir.Attrs
	Required bool
	Enum     []string // allowed strings; nil: any
}

// TypeSet is a set of element types.
type TypeSet uint32

func set(es ...ir.Elem) TypeSet {
	var s TypeSet
	for _, e := range es {
		s |= 1 << e
	}
	return s
}

// Has reports whether e is in the set.
func (s TypeSet) Has(e ir.Elem) bool { return e > 0 && e < 32 && s&(1<<e) != 0 }

// List gives the members in ONNX order.
func (s TypeSet) List() []ir.Elem {
	var out []ir.Elem
	for e := ir.Elem(1); e < 32; e++ {
		if s.Has(e) {
			out = append(out, e)
		}
	}
	return out
}

func (s TypeSet) String() string {
	var names []string
	for _, e := range s.List() {
		names = append(names, e.String())
	}
	return strings.Join(names, ", ")
}

// The sets that signatures are written with.
var (
	floats   = set(ir.Float32, ir.Float64, ir.Float16, ir.BFloat16)
	signed   = set(ir.Int8, ir.Int16, ir.Int32, ir.Int64)
	unsigned = set(ir.Uint8, ir.Uint16, ir.Uint32, ir.Uint64)
	integers = signed | unsigned
	numeric  = floats | integers
	boolean  = set(ir.Bool)
	wide     = floats | set(ir.Int32, ir.Int64, ir.Uint32, ir.Uint64) // "high precision numeric"
	sub8     = set(ir.Uint4, ir.Int4, ir.Uint2, ir.Int2)
	classic  = numeric | boolean | set(ir.String) // every type of opset 13
	anyType  = classic | sub8
	bytes8   = set(ir.Int8, ir.Uint8)
	i64      = set(ir.Int64)
	i32      = set(ir.Int32)
	f32      = set(ir.Float32)
	u8       = set(ir.Uint8)
	index    = set(ir.Int32, ir.Int64)
)

func in(name, v string, t TypeSet) Param  { return Param{Name: name, Var: v, Types: t} }
func opt(name, v string, t TypeSet) Param { return Param{Name: name, Var: v, Types: t, Optional: true} }
func many(name, v string, t TypeSet) Param {
	return Param{Name: name, Var: v, Types: t, Variadic: true}
}

func attrInt(name string, def int) Attr { return Attr{Name: name, Kind: Int, Default: int64(def)} }
func attrReq(name string, k Kind) Attr  { return Attr{Name: name, Kind: k, Required: true} }
func attrOpt(name string, k Kind) Attr  { return Attr{Name: name, Kind: k} }
func attrF(name string, d float32) Attr { return Attr{Name: name, Kind: Float, Default: d} }
func attrStr(name string, enum ...string) Attr { // the first is the default
	return Attr{Name: name, Kind: String, Default: enum[0], Enum: enum}
}

type opKey struct{ domain, name string }

var (
	table  []*Op
	lookup map[opKey]*Op
)

// The families, in the order of their files. init builds the table once, so
// that its order never depends on the order in which Go initialises files.
func init() {
	for _, family := range [][]*Op{
		elementwiseOps, activationOps, compareOps, bitwiseOps, castOps,
		shapeOps, sliceOps, padOps, resizeOps, gatherOps, scatterOps, generateOps,
		matmulOps, einsumOps, convOps, poolOps, reduceOps, argOps, cumulativeOps,
		softmaxOps, normOps, quantOps, qlinearOps, attentionOps, controlOps, ownOps, foreignOps,
	} {
		table = append(table, family...)
	}
	slices.SortFunc(table, func(a, b *Op) int {
		if c := strings.Compare(a.Domain, b.Domain); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	lookup = make(map[opKey]*Op, len(table))
	for _, o := range table {
		k := opKey{o.Domain, o.Name}
		if lookup[k] != nil {
			panic("ops: operator " + o.Name + " is in the table twice")
		}
		lookup[k] = o
	}
}

// Lookup finds an operator of the table; nil when it is unknown. The domains
// are "" (ai.onnx), ir.Domain, and those of foreign quantised operators
func Lookup(domain, op string) *Op { return lookup[opKey{domain, op}] }

// All lists the table, sorted by domain and name. The slice is the caller's.
func All() []*Op { return slices.Clone(table) }

// Attr finds an attribute of the signature; nil when there is none.
func (o *Op) Attr(name string) *Attr {
	for i := range o.Attrs {
		if o.Attrs[i].Name == name {
			return &o.Attrs[i]
		}
	}
	return nil
}

// arity gives the allowed numbers of parameters; max is -1 when variadic.
func arity(ps []Param) (lo, hi int) {
	hi = len(ps)
	for i, p := range ps {
		if !p.Optional {
			lo = i + 1
		}
		if p.Variadic {
			hi = -1
		}
	}
	return lo, hi
}

// param gives the formal parameter of position i.
func param(ps []Param, i int) *Param {
	if i >= len(ps) {
		i = len(ps) - 1
	}
	return &ps[i]
}

// IsPure reports whether the node computes the same result from the same inputs
// every time and does nothing else, so that it may be folded, merged or
// removed. Random operators, unknown operators and operators with subgraphs
// are not pure.
func IsPure(n *ir.Node) bool {
	o := Lookup(n.Domain, n.Op)
	return o != nil && (o.impure == nil || !o.impure(n))
}
