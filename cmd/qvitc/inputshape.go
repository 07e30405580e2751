package main

import (
	"slices"
	"strconv"
	"strings"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// fixShapes applies --input-shape: "batch=1" fixes the dimension of that name,
// "input=1x3x224x224" the whole shape of that input.
func fixShapes(path string, g *ir.Graph, specs []string) error {
	if len(specs) == 0 {
		return nil
	}
	dims := map[string]int{}
	for _, s := range specs {
		name, text, ok := strings.Cut(s, "=")
		var sizes []int
		for _, w := range strings.Split(text, "x") {
			n, err := strconv.Atoi(w)
			if err != nil || n < 1 {
				ok = false
				break
			}
			sizes = append(sizes, n)
		}
		if !ok {
			return failf(exitUsage, "for example --input-shape batch=1 or --input-shape input=1x3x224x224", "--input-shape %q: want NAME=SIZES", s)
		}
		i := slices.IndexFunc(g.Inputs, func(v *ir.Value) bool { return v.Name == name })
		if i < 0 {
			if len(sizes) != 1 {
				return failf(exitUsage, "", "--input-shape %q: %s has no input of that name", s, path)
			}
			dims[name] = sizes[0]
			continue
		}
		if err := fixInput(g.Inputs[i], sizes, dims); err != nil {
			return err
		}
	}
	if err := ops.Subst(g, dims); err != nil {
		return fail(exitUsage, err)
	}
	return nil
}

// fixInput collects the sizes of an input's named dimensions and sets those
// about which nothing is known.
func fixInput(v *ir.Value, sizes []int, dims map[string]int) error {
	if v.Type.Ranked && len(v.Type.Shape) != len(sizes) {
		return failf(exitUsage, "", "--input-shape: input %s has %d dimensions, not %d", ir.Quote(v.Name), len(v.Type.Shape), len(sizes))
	}
	if !v.Type.Ranked {
		v.Type = ir.TensorType(v.Type.Elem, ir.Known(sizes...))
		return nil
	}
	v.Type.Shape = slices.Clone(v.Type.Shape)
	for i, d := range v.Type.Shape {
		switch {
		case d.Sym != "":
			if was, ok := dims[d.Sym]; ok && was != sizes[i] {
				return failf(exitUsage, "", "--input-shape: dimension %s is to be %d and %d", ir.Quote(d.Sym), was, sizes[i])
			}
			dims[d.Sym] = sizes[i]
		case !d.Known():
			v.Type.Shape[i] = ir.D(sizes[i])
		case int(d.Size) != sizes[i]:
			return failf(exitUsage, "", "--input-shape: dimension %d of input %s is %d in the file, not %d", i, ir.Quote(v.Name), d.Size, sizes[i])
		}
	}
	return nil
}
