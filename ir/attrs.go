package ir

import (
	"maps"
	"slices"
)

// Attrs are a node's attributes by ONNX name. A value is one of int64,
// float32, string, []int64, []float32, []string, *Tensor, *Graph; in the body
// of a function also AttrRef.
type Attrs map[string]any

// AttrRef stands in the body of a function for an integer attribute of the
// call (ONNX ref_attr_name).
type AttrRef string

// Int reads an integer attribute or the default.
func (a Attrs) Int(name string, def int) int {
	if v, ok := a[name].(int64); ok {
		return int(v)
	}
	return def
}

// Float reads a float attribute or the default.
func (a Attrs) Float(name string, def float32) float32 {
	if v, ok := a[name].(float32); ok {
		return v
	}
	return def
}

// Str reads a string attribute or the default.
func (a Attrs) Str(name, def string) string {
	if v, ok := a[name].(string); ok {
		return v
	}
	return def
}

// Ints reads an integer list; nil when absent.
func (a Attrs) Ints(name string) []int {
	v, ok := a[name].([]int64)
	if !ok {
		return nil
	}
	out := make([]int, len(v))
	for i, x := range v {
		out[i] = int(x)
	}
	return out
}

// Floats reads a float list; nil when absent.
func (a Attrs) Floats(name string) []float32 { v, _ := a[name].([]float32); return v }

// Strs reads a string list; nil when absent.
func (a Attrs) Strs(name string) []string { v, _ := a[name].([]string); return v }

// Tensor reads a tensor attribute; nil when absent.
func (a Attrs) Tensor(name string) *Tensor { v, _ := a[name].(*Tensor); return v }

// Has reports whether the attribute is present.
func (a Attrs) Has(name string) bool { _, ok := a[name]; return ok }

// Names lists the attribute names in order.
func (a Attrs) Names() []string { return slices.Sorted(maps.Keys(a)) }

// Clone copies the map and its lists; tensors are shared.
func (a Attrs) Clone() Attrs {
	c := make(Attrs, len(a))
	for k, v := range a {
		switch v := v.(type) {
		case []int64:
			c[k] = slices.Clone(v)
		case []float32:
			c[k] = slices.Clone(v)
		case []string:
			c[k] = slices.Clone(v)
		default:
			c[k] = v
		}
	}
	return c
}

// Int64s converts a list for use as an attribute value.
func Int64s(v ...int) []int64 {
	out := make([]int64, len(v))
	for i, x := range v {
		out[i] = int64(x)
	}
	return out
}
