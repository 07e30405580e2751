package runtime

import "slices"

// Lanes. A team shares out the work inside one image by rows: lane i of n has the rows
// m·i/n .. m·(i+1)/n of every value of m rows, from step to step, so that what a
// processor has written it also reads. Most steps of a transformer work on each row
// by itself: a lane goes through a stretch of them without waiting for the others, from
// attention to the next attention. All lanes wait for each other where rows of other
// lanes are read.

// lane is one of n shares.
type lane struct{ i, n int }

var whole = lane{0, 1}

// rows are the lane's rows of m.
func (l lane) rows(m int) (lo, hi int) { return m * l.i / l.n, m * (l.i + 1) / l.n }

// laneOf is the lane of n that has row r of m.
func laneOf(r, m, n int) int { return ((r+1)*n - 1) / m }

// task is work that is shared out: each lane has a number of items, which may go on at
// the same time, on whatever goroutines. The hand is the scratch memory of the one who
// does it. A result may not depend on the lanes.
type task interface {
	items(l lane) int
	item(st *State, h *hand, l lane, i int)
}

// A step whose whole work is one task is one itself; others name several, each of which
// begins when the one before is done.
type tasks interface{ tasks() []task }

// part is a value of which a lane touches nothing but its own rows, out of so many; 0: it
// may touch all of it.
type part struct{ id, rows int }

// A rowwise task says what each of n lanes reads and writes by its own rows only: of the
// step's inputs, outputs and temporaries. The last task of a step may touch all of the inputs
// and outputs that it does not name; nothing else is touched without being named.
type rowwise interface {
	rowwise(n int) (reads, writes []part)
}

// stretch is a run of steps that lanes go through without waiting.
type stretch struct {
	first, last int // steps
	tasks       []task
	alone       step // instead of tasks: done by one goroutine
}

// layLanes cuts the program into stretches for n lanes, if n is more than one and there is
// work to share.
func (p *Program) layLanes(n int) {
	p.lanes = n
	for _, s := range p.steps {
		if a, ok := s.(*attend); ok {
			a.layLanes(p, n)
		}
	}
	if n <= 1 {
		return
	}
	var cur *stretch
	seen := map[int]access{}
	for i, s := range p.steps {
		list := tasksOf(s)
		if list == nil {
			p.stretches = append(p.stretches, stretch{first: i, last: i, alone: s})
			cur = nil
			continue
		}
		for j, t := range list {
			all := p.accesses(s.plan(), t, n, j == len(list)-1)
			if cur == nil || len(cur.tasks) == taskMask || slices.ContainsFunc(all, func(a access) bool { return seen[a.root].clashes(a) }) {
				p.stretches = append(p.stretches, stretch{first: i})
				cur = &p.stretches[len(p.stretches)-1]
				clear(seen)
			}
			for _, a := range all {
				seen[a.root] = seen[a.root].and(a)
			}
			cur.last = i
			cur.tasks = append(cur.tasks, t)
			for i := range n {
				if t.items(lane{i, n}) > itemMask {
					p.lanes, p.stretches = 1, nil
					return
				}
			}
		}
	}
	if len(p.stretches) >= maxStretches || !slices.ContainsFunc(p.stretches, func(s stretch) bool { return s.alone == nil }) {
		p.lanes, p.stretches = 1, nil
	}
}

func tasksOf(s step) []task {
	if s, ok := s.(tasks); ok {
		return s.tasks()
	}
	if t, ok := s.(task); ok {
		return []task{t}
	}
	return nil
}

// access says how a task, or those of a stretch so far, touch a root. Where each lane touches
// its own elements only, cuts is where the elements of the lanes end; otherwise it is nil.
type access struct {
	root    int
	known   bool
	written bool
	cuts    []int
}

// accesses lists what a task, perhaps the last, of a step touches.
func (p *Program) accesses(b *base, t task, n int, last bool) (list []access) {
	r, ok := t.(rowwise)
	var reads, writes []part
	if ok {
		reads, writes = r.rowwise(n)
	}
	add := func(ids []int, parts []part, written, needed bool) {
		for _, id := range ids {
			v := &p.values[id]
			a := access{root: v.root, known: true, written: written}
			i := slices.IndexFunc(parts, func(q part) bool { return q.id == id })
			if i < 0 && !needed {
				continue
			}
			if i >= 0 && parts[i].rows > 0 && v.off == 0 && v.n == p.values[v.root].n && v.n%parts[i].rows == 0 {
				for k := range n {
					_, hi := lane{k, n}.rows(parts[i].rows)
					a.cuts = append(a.cuts, hi*(v.n/parts[i].rows))
				}
			}
			list = append(list, a)
		}
	}
	add(b.in, reads, false, !ok || last)
	add(b.tmp, reads, false, !ok)
	add(b.out, writes, true, !ok || last)
	add(b.tmp, writes, true, !ok)
	return list
}

// clashes reports whether a lane must not do next what it says before the other lanes have
// finished.
func (a access) clashes(next access) bool {
	return a.known && (a.written || next.written) && (a.cuts == nil || !slices.Equal(a.cuts, next.cuts))
}

// and joins what follows each other.
func (a access) and(next access) access {
	if !a.known {
		return next
	}
	if !slices.Equal(a.cuts, next.cuts) {
		next.cuts = nil
	}
	next.written = next.written || a.written
	return next
}

// inPlace lets a sum that is the residual's last reader be written where the residual is.
func (c *compiler) inPlace() {
	p := c.p
	pinned := map[int]bool{}
	for _, id := range c.pinned {
		pinned[p.values[id].root] = true
	}
	for i, s := range p.steps {
		l, ok := s.(*packedLinear)
		if !ok || l.residual < 0 {
			continue
		}
		r, y := p.values[l.residual], l.y
		root := &p.values[r.root]
		if r.off != 0 || r.n != root.n || root.kind != inArena || p.values[y].kind != inArena || p.values[y].root != y || p.values[y].n != r.n || pinned[r.root] || pinned[y] {
			continue
		}
		if slices.ContainsFunc(p.steps[i+1:], func(s step) bool {
			return slices.ContainsFunc(s.plan().in, func(id int) bool { return p.values[id].root == r.root })
		}) {
			continue
		}
		p.values[y].kind = viewOf
		for id := range p.values {
			if p.values[id].root == y {
				p.values[id].root = r.root
			}
		}
	}
}
