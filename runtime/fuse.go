package runtime

import "slices"

// Fusing. The steps of a packed model pass float32 tensors to each other, of which
// nearly all are quantised at once by their reader. fuse finds, by the structure of
// the steps alone, where a quantiser can be done by the step that makes its argument,
// where a residual can be added while the sums of a product are still in the cache,
// and where scores, softmax and context of attention can be one step that never
// writes its logits. What is not found runs as it is; the fused steps give the
// same bytes.

// fuser edits the steps of a program before its memory is planned.
type fuser struct {
	c       *compiler
	p       *Program
	made    []step   // by root: the step that writes it
	readers [][]step // by root: the steps that read it
	pinned  []bool   // by root: it outlives the steps
}

func (c *compiler) fuse() {
	f := &fuser{c: c, p: c.p}
	for _, rewrite := range []func(step) bool{f.attention, f.contextCodes, f.headsOf, f.gelu, f.elementwise, f.norm, f.residual, f.convRowsOut} {
		f.index()
		for _, s := range slices.Clone(f.p.steps) {
			if rewrite(s) {
				f.index()
			}
		}
		c.dropDead()
	}
}

// index notes who writes and who reads each root.
func (f *fuser) index() {
	n := len(f.p.values)
	f.made, f.pinned = slices.Grow(f.made[:0], n)[:n], slices.Grow(f.pinned[:0], n)[:n]
	clear(f.made)
	clear(f.pinned)
	for i := range f.readers {
		f.readers[i] = f.readers[i][:0]
	}
	for len(f.readers) < n {
		f.readers = append(f.readers, nil)
	}
	for _, id := range f.c.pinned {
		f.pinned[f.root(id)] = true
	}
	for _, s := range f.p.steps {
		for _, id := range s.plan().out {
			f.made[f.root(id)] = s
		}
		for _, id := range s.plan().in {
			if r := f.root(id); !slices.Contains(f.readers[r], s) {
				f.readers[r] = append(f.readers[r], s)
			}
		}
	}
}

func (f *fuser) root(id int) int { return f.p.values[id].root }

// whole reports whether id is all of its root, so that they can be taken for each
// other.
func (f *fuser) whole(id int) bool {
	v := &f.p.values[id]
	return v.off == 0 && v.n == f.p.values[v.root].n
}

// maker is the step that writes the whole value id, which only reader needs; nil
// otherwise.
func (f *fuser) maker(id int, reader step) step {
	if !f.whole(id) || !f.onlyFor(origin{root: f.root(id)}, reader) {
		return nil
	}
	return f.made[f.root(id)]
}

// replace puts s in the place of old.
func (f *fuser) replace(old, s step) {
	f.p.steps[slices.Index(f.p.steps, old)] = s
}

// remove takes a step out.
func (f *fuser) remove(s step) {
	i := slices.Index(f.p.steps, s)
	f.p.steps = slices.Delete(f.p.steps, i, i+1)
}
