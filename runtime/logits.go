package runtime

import (
	"slices"

	"github.com/qvitc/qvitc/internal/kernel"
)

// logits is, in training, what lies between the scores of attention and what the
// probabilities are read by: the deviations and means that IRM put aside (method.md
// 5.5), the scale and the softmax, in one pass over the scores instead of six. Forward
// rounds as the single steps do.
type logits struct {
	base
	x, y          int
	mats, rows, n int
	rescale       bool
	by            [4]spreadOf // deviation of the rows, of the columns, mean of the rows, of the columns
	dxg           grad
	dby           [4]grad
	scale         float32
	softmax       bool
	codes         *fakeQuant // quantiser of the probabilities; nil: not done here
}

// logitRows is the number of rows that stay in the cache between two passes.
const logitRows = 8

// logitSoftmax joins a softmax with the steps before it.
func (f *fuser) logitSoftmax(s step) bool {
	sm, ok := s.(*softmax)
	if !ok || sm.log || sm.inner > 1 {
		return false
	}
	l := &logits{x: sm.x, y: sm.y, softmax: true}
	return f.beforeSoftmax(l, sm)
}

// rescaling joins the steps of the rescale form of IRM where something else lies between
// them and the softmax.
func (f *fuser) rescaling(s step) bool {
	b, ok := s.(*binary)
	if !ok || !slices.Contains(f.p.steps, s) {
		return false
	}
	l := &logits{y: b.y, scale: 1}
	if k := f.factor(b); k != nil {
		l.scale, l.x = k[0], b.a
		b, ok = f.maker(l.x, b).(*binary)
		if !ok {
			return false
		}
	}
	return f.rescaled(l, b) && f.addLogits(l, s)
}

// beforeSoftmax finds the scale and the rescaling before reader, where there are any,
// and puts l in its place.
func (f *fuser) beforeSoftmax(l *logits, reader step) bool {
	l.scale = 1
	b, _ := f.maker(l.x, reader).(*binary)
	if b != nil {
		if k := f.factor(b); k != nil {
			l.scale, l.x = k[0], b.a
			b, _ = f.maker(l.x, b).(*binary)
		}
	}
	if b != nil {
		f.rescaled(l, b)
	}
	return f.addLogits(l, reader)
}

// factor is the constant number that a step multiplies by, or nil.
func (f *fuser) factor(s *binary) []float32 {
	if s.kind != opMul || s.form != scalarB {
		return nil
	}
	return f.scalar(s.b)
}

// rescaled recognises x·row·col + addCol·addRow, which ends in the step add.
func (f *fuser) rescaled(l *logits, add *binary) bool {
	if add.kind != opAdd || add.form != same {
		return false
	}
	for _, d := range [][2]int{{add.a, add.b}, {add.b, add.a}} {
		cols, _ := f.maker(d[0], add).(*binary)
		mean, _ := f.maker(d[1], add).(*binary)
		if cols == nil || mean == nil || cols.kind != opMul || mean.kind != opMul {
			continue
		}
		rows, _ := f.maker(cols.a, cols).(*binary)
		if rows == nil || rows.kind != opMul {
			continue
		}
		var by [4]spreadOf
		ok := f.across(&by[0], rows, rows.b, true) && f.across(&by[1], cols, cols.b, false)
		if ok && !(f.across(&by[2], mean, mean.a, true) && f.across(&by[3], mean, mean.b, false)) {
			ok = f.across(&by[2], mean, mean.b, true) && f.across(&by[3], mean, mean.a, false)
		}
		if !ok || !slices.Equal(f.p.values[rows.a].shape, f.p.values[add.y].shape) {
			continue
		}
		l.rescale, l.by, l.x = true, by, rows.a
		return true
	}
	return false
}

// across describes an operand of s that has one number a row, or a column.
func (f *fuser) across(s *spreadOf, of *binary, id int, row bool) bool {
	by, ok := f.spread(of.y, id)
	*s = by
	if row {
		return ok && by.row == 1 && by.col == 0
	}
	return ok && by.row == 0 && by.col == 1
}

// addLogits completes l and puts it in the place of old.
func (f *fuser) addLogits(l *logits, old step) bool {
	shape := f.p.values[l.y].shape
	r := len(shape)
	if r < 2 || size(shape) == 0 {
		return false
	}
	l.mats, l.rows, l.n = size(shape[:r-2]), shape[r-2], shape[r-1]
	l.in, l.out = []int{l.x}, []int{l.y}
	l.dxg.id = l.x
	l.dx = []*grad{&l.dxg}
	if l.rescale {
		for i := range l.by {
			l.in = append(l.in, l.by[i].id)
			l.dby[i].id = l.by[i].id
			l.dx = append(l.dx, &l.dby[i])
		}
		l.keep = append(l.keep, l.in...)
	}
	if l.softmax {
		l.keep = append(l.keep, l.y)
	}
	f.c.p.tmp = max(f.c.p.tmp, logitRows*l.n+2*(l.rows+l.n))
	l.name, l.op = old.plan().name, "Logits"
	f.replace(old, l)
	return true
}

// vectors are the operands of matrix i from row r on.
func (s *logits) vectors(data [][]float32, i, r int) kernel.Rescale {
	at := func(k int) []float32 { return data[s.by[k].id][s.by[k].offset(i, r):] }
	return kernel.Rescale{Row: at(0), Col: at(1), AddRow: at(2), AddCol: at(3)}
}

func (s *logits) forward(st *State) error {
	x, y := st.v[s.x], st.v[s.y]
	q := s.codes
	if q != nil {
		if _, err := q.grid(st); err != nil {
			return err
		}
	}
	for i := range s.mats {
		for r := 0; r < s.rows; r += logitRows {
			m := min(logitRows, s.rows-r)
			at := (i*s.rows + r) * s.n
			d := y[at:][:m*s.n]
			v := x[at:]
			if s.rescale {
				by := s.vectors(st.v, i, r)
				kernel.RescaleRows(d, v, &by, s.scale, m, s.n)
				v = d
			} else if s.scale != 1 {
				kernel.Scale(d, v, s.scale)
				v = d
			}
			if s.softmax {
				kernel.SoftmaxRows(d, v, m, s.n)
			}
			if q != nil {
				if i := st.w.NotFinite(d); i >= 0 {
					return q.notFinite(at+i, d[i])
				}
				g := q.groupOf(at)
				q.encodeRows(st.u(q.u8)[(i*s.rows+r)*q.ld:], d, st.v[q.scale][g], q.unsignedZero(st, g))
			}
		}
	}
	return nil
}

func (s *logits) backward(st *State) {
	x, y, dy := st.v[s.x], st.v[s.y], st.g[s.y]
	q := s.codes
	var scales, zeros []float64 // gradients of the quantiser, by group
	if q != nil {
		dy = st.g[q.y]
		scales, zeros = st.f64[:q.groups], st.f64[q.groups:2*q.groups]
		clear(st.f64[:2*q.groups])
	}
	var dx []float32
	if s.dxg.want {
		dx = st.g[s.x]
	}
	if s.rescale {
		for i := range s.dby {
			target(st, &s.dby[i])
		}
	}
	for i := range s.mats {
		for r := 0; r < s.rows; r += logitRows {
			m := min(logitRows, s.rows-r)
			at := (i*s.rows + r) * s.n
			g, d := dy[at:][:m*s.n], st.tmp[:m*s.n]
			add := dx != nil && s.dxg.acc
			if dx != nil && !add {
				d = dx[at:][:m*s.n]
			}
			if q != nil {
				k := q.groupOf(at)
				a, z := kernel.FakeQuantBackward(d, y[at:][:m*s.n], g, st.v[q.scale][k], q.zeroAt(st, k), q.qn, q.qp, false)
				scales[k], zeros[k] = scales[k]+a, zeros[k]+z
				g = d
			}
			if s.softmax {
				kernel.SoftmaxRowsBackward(d, y[at:], g, m, s.n, false)
				g = d
			}
			if s.rescale {
				v, dv := s.vectors(st.v, i, r), s.gradients(st, i, r)
				kernel.RescaleRowsBackward(d, &dv, g, x[at:], &v, s.scale, m, s.n)
			} else if s.scale != 1 {
				kernel.Scale(d, g, s.scale)
			}
			if add {
				kernel.Add(dx[at:][:m*s.n], dx[at:], d)
			}
		}
	}
	if q != nil {
		addGroups(target(st, &q.dsg), scales)
		addGroups(target(st, &q.dzg), zeros)
	}
}

// gradients are those of vectors; scratch where nobody wants them.
func (s *logits) gradients(st *State, i, r int) kernel.Rescale {
	var v [4][]float32
	for k := range v {
		if s.dby[k].want {
			v[k] = st.g[s.by[k].id][s.by[k].offset(i, r):]
			continue
		}
		n := max(s.rows, s.n)
		v[k] = st.tmp[logitRows*s.n:][:n]
		clear(v[k])
	}
	return kernel.Rescale{Row: v[0], Col: v[1], AddRow: v[2], AddCol: v[3]}
}
