package ops

import (
	"slices"
	"strings"
)

// Einstein summation.
var einsumOps = []*Op{
	{
		Name: "Einsum", Since: 28, In: []Param{many("Inputs", "T", numeric)}, Out: []Param{in("Output", "T", numeric)},
		Attrs: []Attr{attrReq("equation", String)},
		infer: inferEinsum, eval: evalEinsum,
		macs: func(c *call) (int64, bool) {
			e, err := parseEinsum(c)
			if err != nil || len(c.in) < 2 {
				return 0, err == nil
			}
			n := prod(e.sizes)
			return n.c, n.isConst()
		},
	},
}

// einsum is a parsed equation. Labels are numbered; an ellipsis stands for
// labels of its own, aligned at the right.
type einsum struct {
	in    [][]int // labels of the axes of each input
	out   []int
	sizes []num // of each label
}

// parseEinsum reads the equation against the input shapes, which must be
// ranked.
func parseEinsum(c *call) (*einsum, error) {
	eq := strings.ReplaceAll(c.strAttr("equation"), " ", "")
	left, right, explicit := strings.Cut(eq, "->")
	terms := strings.Split(left, ",")
	if len(terms) != len(c.in) {
		return nil, c.Errorf("equation %q has %d terms, the node has %d inputs", eq, len(terms), len(c.in))
	}
	e := &einsum{}
	byName := map[string]int{}
	uses := map[int]int{}
	label := func(name string) int {
		k, ok := byName[name]
		if !ok {
			k = len(e.sizes)
			byName[name] = k
			e.sizes = append(e.sizes, known(1))
		}
		return k
	}
	dots := 0 // the widest ellipsis
	dotName := func(i int) string { return "." + string(rune('0'+i)) }
	for i, t := range terms {
		names, gap, err := einsumLabels(c, t)
		if err != nil {
			return nil, err
		}
		rank := len(c.in[i].dims)
		extra := rank - len(names)
		if extra < 0 || gap < 0 && extra != 0 {
			return nil, c.Errorf("term %q does not fit input %d of rank %d", t, i, rank)
		}
		if gap >= 0 {
			dots = max(dots, extra)
			var mid []string
			for k := range extra {
				mid = append(mid, dotName(extra-1-k)) // numbered from the right
			}
			names = slices.Insert(names, gap, mid...)
		}
		var axes []int
		for a, name := range names {
			k := label(name)
			d, ok := broadcastDims(e.sizes[k], c.in[i].dims[a])
			if !ok {
				return nil, c.Errorf("label %q of %q has sizes %s and %s", name, eq, e.sizes[k], c.in[i].dims[a])
			}
			e.sizes[k] = d
			axes = append(axes, k)
			uses[k]++
		}
		e.in = append(e.in, axes)
	}
	var outNames []string
	for k := range dots {
		outNames = append(outNames, dotName(dots-1-k))
	}
	if explicit {
		names, gap, err := einsumLabels(c, right)
		if err != nil {
			return nil, err
		}
		if gap < 0 {
			outNames = nil
		}
		outNames = slices.Insert(names, max(gap, 0), outNames...)
	} else {
		var once []string
		for name, k := range byName {
			if uses[k] == 1 && name[0] != '.' {
				once = append(once, name)
			}
		}
		slices.Sort(once)
		outNames = append(outNames, once...)
	}
	for _, name := range outNames {
		k, ok := byName[name]
		if !ok || slices.Contains(e.out, k) {
			return nil, c.Errorf("equation %q: output label %q is repeated or not in any input", eq, name)
		}
		e.out = append(e.out, k)
	}
	return e, nil
}

// einsumLabels splits a term into labels; gap is where its ellipsis stands, or
// -1.
func einsumLabels(c *call, t string) (names []string, gap int, err error) {
	gap = -1
	if i := strings.Index(t, "..."); i >= 0 {
		gap = i
		t = t[:i] + t[i+3:]
	}
	for i := range len(t) {
		if b := t[i] | 0x20; b < 'a' || b > 'z' {
			return nil, 0, c.Errorf("equation %q: %q is not a letter", c.strAttr("equation"), t[i:i+1])
		}
		names = append(names, t[i:i+1])
	}
	return names, gap, nil
}

func inferEinsum(c *call) error {
	for i := range c.in {
		if !c.in[i].ranked {
			return nil
		}
	}
	e, err := parseEinsum(c)
	if err != nil {
		return err
	}
	out := make([]num, len(e.out))
	for i, k := range e.out {
		out[i] = e.sizes[k]
	}
	c.shape(0, out...)
	return nil
}

func evalEinsum(c *call) error {
	switch e := c.in[0].elem; {
	case e.IsFloat():
		return einsumWith[float64](c)
	case isUnsigned(e):
		return einsumWith[uint64](c)
	}
	return einsumWith[int64](c)
}

// einsumWith sums the product of the inputs over every assignment of the
// labels: output labels outside, summed labels inside.
func einsumWith[T wideNum](c *call) error {
	e, err := parseEinsum(c)
	if err != nil {
		return err
	}
	order := slices.Clone(e.out)
	for k := range e.sizes {
		if !slices.Contains(order, k) {
			order = append(order, k)
		}
	}
	shape := make([]int, len(order))
	pos := make([]int, len(order))
	for i, k := range order {
		shape[i], pos[k] = int(e.sizes[k].c), i
	}
	data := make([][]T, len(c.in))
	steps := make([][]int, len(c.in))
	for i := range data {
		data[i] = unpack[T](c.t(i))
		steps[i] = make([]int, len(order))
		st := strides(c.t(i).Shape)
		for a, k := range e.in[i] {
			if c.t(i).Shape[a] != 1 {
				steps[i][pos[k]] += st[a] // a repeated label reads the diagonal
			}
		}
	}
	out := make([]T, product(c.sizes(0)))
	inner := product(shape[len(e.out):])
	w := newOdometer(shape, steps...)
	for o := range out {
		for range inner {
			p := data[0][w.at[0]]
			for i := 1; i < len(data); i++ {
				p *= data[i][w.at[i]]
			}
			out[o] += p
			w.next()
		}
	}
	return put(c, 0, out)
}
