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

// part is a value of which a lane touches nothing but its own rows, out of so many.
type part struct{ id, rows int }

// A rowwise task says what each of n lanes reads and writes by its own rows only. Other
// values it may read or write anywhere.
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
			a.layLanes(n)
		}
	}
	if n <= 1 {
		return
	}
	var cur *stretch
	rows := map[int]int{} // roots written by the stretch; rows of a lane's part, 0: not by rows
	for i, s := range p.steps {
		list, before := tasksOf(s), []part(nil)
		if list == nil {
			p.stretches = append(p.stretches, stretch{first: i, last: i, alone: s})
			cur = nil
			continue
		}
		for j, t := range list {
			var reads, writes []part
			if r, ok := t.(rowwise); ok {
				reads, writes = r.rowwise(n)
			}
			if cur == nil || len(cur.tasks) == taskMask || !(j == 0 && p.follows(s.plan(), reads, rows) || j > 0 && continues(before, reads)) {
				p.stretches = append(p.stretches, stretch{first: i})
				cur = &p.stretches[len(p.stretches)-1]
				clear(rows)
			}
			cur.last = i
			cur.tasks = append(cur.tasks, t)
			for _, id := range s.plan().out {
				rows[p.values[id].root] = 0
			}
			for _, w := range writes {
				if v := &p.values[w.id]; v.off == 0 && v.n == p.values[v.root].n {
					rows[v.root] = w.rows
				}
			}
			before = writes
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

// continues reports whether a step's next task may begin in a lane when the other lanes have
// not finished the one before it.
func continues(writes, reads []part) bool {
	return len(writes) > 0 && !slices.ContainsFunc(writes, func(w part) bool { return !slices.Contains(reads, w) })
}

// follows reports whether a step may begin in a lane when the other lanes have not
// finished those before it.
func (p *Program) follows(b *base, reads []part, rows map[int]int) bool {
	for _, id := range b.in {
		n, written := rows[p.values[id].root]
		if !written {
			continue
		}
		if v := &p.values[id]; n == 0 || v.off != 0 || v.n != p.values[v.root].n || !slices.Contains(reads, part{id, n}) {
			return false
		}
	}
	return !slices.ContainsFunc(b.out, func(id int) bool { _, written := rows[p.values[id].root]; return written })
}
