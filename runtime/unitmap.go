package runtime

import "slices"

// Index maps. Between two steps that work on whole rows (of a layer norm, of a
// head, of a window) a graph reorders those rows by Transpose, Slice, Concat,
// Gather: roll, window partition, patch merging, heads. Such a chain is one map of
// units: unit u of what comes out is unit map[u] of what goes in. The fused steps
// read or write through the map, and the chain is not run.

// origin is a value traced back through steps that only move elements.
type origin struct {
	root  int    // value whose elements these are
	chain []step // the moving steps between, in order of execution
}

// trace walks from id back over moves and gathers. The origin is id's own root
// where there are none, or where they join several values.
func (f *fuser) trace(id int) origin {
	root := f.p.values[id].root
	in := map[step]bool{}
	source := -1
	var visit func(r int) bool
	visit = func(r int) bool {
		if s := f.made[r]; s != nil && moving(s) {
			if in[s] {
				return true
			}
			in[s] = true
			for _, i := range s.plan().in {
				if !visit(f.p.values[i].root) {
					return false
				}
			}
			return true
		}
		if source >= 0 && source != r {
			return false
		}
		source = r
		return true
	}
	if !visit(root) || source < 0 || source == root {
		return origin{root: root}
	}
	o := origin{root: source}
	for _, s := range f.p.steps {
		if in[s] {
			o.chain = append(o.chain, s)
		}
	}
	return o
}

// onlyFor reports whether nothing but the readers given needs the origin's root or
// what the chain makes of it.
func (f *fuser) onlyFor(o origin, readers ...step) bool {
	ok := func(r int) bool {
		if f.pinned[r] {
			return false
		}
		for _, s := range f.readers[r] {
			if !slices.Contains(readers, s) && !slices.Contains(o.chain, s) {
				return false
			}
		}
		return true
	}
	if !ok(o.root) {
		return false
	}
	for _, s := range o.chain {
		for _, id := range s.plan().out {
			if !ok(f.p.values[id].root) {
				return false
			}
		}
	}
	return true
}

// moving reports whether a step only moves elements.
func moving(s step) bool {
	switch s := s.(type) {
	case *moves:
		return !s.fills
	case *gather:
		return true
	}
	return false
}

// unit is the largest number of neighbouring elements, dividing n, that all steps of
// the chain keep together; 0 when there is none.
func (f *fuser) unit(o origin, id, n int) int {
	v := f.p.values[id]
	g := gcd(gcd(n, v.off), f.p.values[o.root].n)
	for _, s := range o.chain {
		switch s := s.(type) {
		case *gather:
			g = gcd(gcd(g, s.inner), gcd(f.p.values[s.x].off, f.p.values[s.y].off))
		case *moves:
			for i := range s.parts {
				m := &s.parts[i]
				l := &m.there.l
				if l.last(0) != 1 || l.last(1) != 1 {
					return 0
				}
				g = gcd(gcd(g, l.inner()), gcd(m.there.dst, m.there.src))
				g = gcd(g, gcd(f.p.values[m.dst].off, f.p.values[m.src].off))
				for _, st := range l.strides {
					for _, d := range st[:len(st)-1] {
						g = gcd(g, d)
					}
				}
			}
		}
	}
	return g
}

func gcd(a, b int) int {
	if a < 0 {
		a = -a
	}
	if b < 0 {
		b = -b
	}
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// mapLimit is the most units of one value that a map is made for: float32 counts
// them exactly.
const mapLimit = 1 << 24

// units gives, for each unit of g elements of id, the unit of the origin's root that
// it is; nil when the chain does not keep units of g together.
func (f *fuser) units(o origin, id, g int) []int32 {
	v := &f.p.values[id]
	if g <= 0 || v.n%g != 0 || v.off%g != 0 || f.p.values[o.root].n%g != 0 || f.p.values[o.root].n/g > mapLimit {
		return nil
	}
	if len(o.chain) > 0 {
		if k := f.unit(o, id, g); k != g {
			return nil
		}
	}
	// The chain runs on the numbers of the units.
	data := map[int][]float32{}
	at := func(id int) []float32 {
		v := &f.p.values[id]
		d := data[v.root]
		if d == nil {
			d = make([]float32, f.p.values[v.root].n/g)
			data[v.root] = d
		}
		return d[v.off/g:][:v.n/g]
	}
	for i, d := 0, at(o.root); i < len(d); i++ {
		d[i] = float32(i)
	}
	for _, s := range o.chain {
		switch s := s.(type) {
		case *gather:
			k := *s
			k.inner /= g
			k.run(at(s.y), at(s.x))
		case *moves:
			for i := range s.parts {
				m := &s.parts[i]
				r := m.there.coarse(g)
				r.run(at(m.dst), at(m.src), false)
			}
		}
	}
	out := make([]int32, v.n/g)
	for i, u := range at(id) {
		out[i] = int32(u)
	}
	return out
}

// coarse is the region over units of g elements.
func (r *region) coarse(g int) region {
	c := region{dst: r.dst / g, src: r.src / g, repeats: r.repeats, l: layout{strides: make([][]int, 2)}}
	k := len(r.l.dims) - 1
	for i, n := range r.l.dims {
		d, s := r.l.strides[0][i]/g, r.l.strides[1][i]/g
		if i == k {
			n, d, s = n/g, 1, 1
		}
		c.l.dims = append(c.l.dims, n)
		c.l.strides[0], c.l.strides[1] = append(c.l.strides[0], d), append(c.l.strides[1], s)
	}
	return c
}

// inverse turns a map of n units around; nil when it is not one to one.
func inverse(m []int32, n int) []int32 {
	if len(m) != n {
		return nil
	}
	out := make([]int32, n)
	for i := range out {
		out[i] = -1
	}
	for i, u := range m {
		if out[u] >= 0 {
			return nil
		}
		out[u] = int32(i)
	}
	return out
}

// identity reports whether a map moves nothing.
func identity(m []int32) bool {
	for i, u := range m {
		if int(u) != i {
			return false
		}
	}
	return true
}
