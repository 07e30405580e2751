package onnxio

import (
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/qvitc/qvitc/ir"
)

//go:embed opsets.tsv
var opsetsTSV string

// form is an operator as one opset defined it; it holds until the next form.
type form struct {
	since      int
	deprecated bool
	minIn      int
	maxIn      int // -1: any number
	minOut     int
	maxOut     int
	in, out    []formType // the last one repeats for variadic operators
	attrs      []formAttr
}

// typeSet has bit n set when TensorProto.DataType n is allowed.
type typeSet uint32

func (t typeSet) has(e ir.Elem) bool { return t>>e&1 != 0 }

// formType is what an operator says of the type of one input or output.
// Parameters of one variable have the same element type; no variable, no bond.
type formType struct {
	variable string
	elems    typeSet
}

type formAttr struct {
	name     string
	kind     byte // see attrKind
	required bool
	def      string // default as text; empty when there is none
}

func (f *form) attr(name string) *formAttr {
	for i := range f.attrs {
		if f.attrs[i].name == name {
			return &f.attrs[i]
		}
	}
	return nil
}

// schema lists the forms of every operator of ai.onnx, oldest first.
var schema = sync.OnceValue(func() map[string][]*form {
	m := map[string][]*form{}
	for line := range strings.Lines(opsetsTSV) {
		if line[0] == '#' {
			continue
		}
		op, f, err := parseForm(strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
		if err != nil {
			panic("onnxio: opsets.tsv: " + err.Error())
		}
		m[op] = append(m[op], f)
	}
	return m
})

func parseForm(col []string) (string, *form, error) {
	if len(col) != 7 {
		return "", nil, fmt.Errorf("%q: want 7 columns", col)
	}
	f := &form{}
	var err error
	if f.since, err = strconv.Atoi(col[1]); err != nil {
		return "", nil, err
	}
	if f.deprecated = col[2] == "-"; !f.deprecated {
		if f.minIn, f.maxIn, err = parseRange(col[2]); err != nil {
			return "", nil, err
		}
	}
	if f.minOut, f.maxOut, err = parseRange(col[3]); err != nil {
		return "", nil, err
	}
	if f.in, err = parseTypes(col[4]); err != nil {
		return "", nil, err
	}
	if f.out, err = parseTypes(col[5]); err != nil {
		return "", nil, err
	}
	for _, a := range strings.Fields(col[6]) {
		if a == "-" {
			continue
		}
		name, kind, _ := strings.Cut(a, ":")
		kind, def, _ := strings.Cut(kind, "=")
		f.attrs = append(f.attrs, formAttr{name: name, kind: kind[0], required: strings.HasSuffix(kind, "!"), def: def})
	}
	return col[0], f, nil
}

func parseRange(s string) (lo, hi int, err error) {
	a, b, _ := strings.Cut(s, "..")
	if lo, err = strconv.Atoi(a); err != nil {
		return 0, 0, err
	}
	if b == "*" {
		return lo, -1, nil
	}
	hi, err = strconv.Atoi(b)
	return lo, hi, err
}

func parseTypes(s string) ([]formType, error) {
	var out []formType
	for _, h := range strings.Split(s, ",") {
		if h == "-" {
			continue
		}
		variable, set, _ := strings.Cut(h, "=")
		v, err := strconv.ParseUint(set, 16, 32)
		if err != nil {
			return nil, err
		}
		out = append(out, formType{variable, typeSet(v)})
	}
	return out, nil
}

// activeForm is the form of op at an opset; nil when op is newer or unknown.
func activeForm(op string, opset int) *form {
	forms := schema()[op]
	i, found := slices.BinarySearchFunc(forms, opset, func(f *form, v int) int { return f.since - v })
	if found {
		return forms[i]
	}
	if i == 0 {
		return nil
	}
	return forms[i-1]
}

func typeAt(sets []formType, i int) formType {
	if len(sets) == 0 {
		return formType{}
	}
	return sets[min(i, len(sets)-1)]
}

// isDefault reports whether v is the attribute's default value.
func (a *formAttr) isDefault(v any) bool {
	if a.def == "" {
		return false
	}
	switch v := v.(type) {
	case int64:
		return strconv.FormatInt(v, 10) == a.def
	case float32:
		f, err := strconv.ParseFloat(a.def, 32)
		return err == nil && float32(f) == v
	case string:
		return v == a.def
	}
	return false
}
