package runtime

import (
	"maps"
	"slices"

	"github.com/qvitc/qvitc/internal/kernel"
)

// attend is softmax(q·kᵀ ...)·v of many matrices on codes. A few rows of one
// matrix are taken through all of it at a time: integer scores, the steps between
// them and the softmax, the softmax, its codes, the integer product with the values,
// and where a linear layer reads the result, its codes at their place there. The
// logits never leave the cache.
type attend struct {
	base
	noBackward
	q, k, v int // codes
	mats    int
	rows    int // queries of a matrix
	keys    int
	depth   int // width of q and k
	width   int // width of v
	ops     []rowOp
	simple  bool          // ops are what logit says
	logit   kernel.Logits // where simple: scale; bias and mask are ops
	rescale []rowOp       // by row, by column, product to add; nil: none
	bias    *rowOp
	mask    *rowOp
	masked  []bool // by matrix: its mask is not all 0; nil: not known

	zq     int32         // zero point of q
	factor []float32     // scale of the scores, by matrix
	probs  []kernel.Grid // by matrix
	scale  [][]float32   // scale of the context, by matrix, for each column of a panel

	y int // float32 result, matrix after matrix

	codes  int    // codes instead; -1: none
	kept   int    // codes of the probabilities, see observe.go; -1: not kept
	scores string // name of the product in front of the softmax
	grid   kernel.Grid
	to     []int32 // unit of the codes that each row becomes
	perRow int     // units in a row of the codes

	qbits, kbits, pbits, vbits int
	window                     bool // a block is all queries of a matrix, see windows.go
	packed                     int  // otherwise: memory of the packed keys, values and sums of all matrices
	kbytes, vbytes, sums       int  // of one matrix
	panels                     int  // of the keys
	block                      int  // queries taken at a time
	slot                       int  // of the State's operands

	blocks [2][][]queries // by lane: of a State that works alone, of a team
	own    []part         // what is read by matrix
}

// queries is up to a block of queries of one matrix.
type queries struct{ matrix, row, rows int }

// attentionTile bounds the queries that are taken at a time, by the bytes of their
// sums: these stay in the first-level cache.
const attentionTile = 24 << 10

// plain notes whether the steps before the softmax are those that the kernel knows:
// those of IRM's form rescale, a scale, then up to two tensors to add.
func (s *attend) plain(f *fuser) {
	ops := s.ops
	if len(ops) >= 3 && ops[0].is(opMul, 1, 0) && ops[1].is(opMul, 0, 1) &&
		ops[2].outer && ops[2].kind == opAdd && ops[2].by.row == 1 && ops[2].cross.row == 0 && ops[2].cross.col == 1 {
		s.rescale, ops = ops[:3], ops[3:]
	}
	if len(ops) > 0 && ops[0].kind == opMul && !ops[0].outer && ops[0].by.at == nil && ops[0].by.row == 0 && ops[0].by.col == 0 {
		if v := &f.p.values[ops[0].by.id]; v.kind == constant && v.param < 0 && v.tens.F32()[0] != 0 {
			s.logit.Scale = v.tens.F32()[0]
			ops = ops[1:]
		}
	}
	for i := range ops {
		if ops[i].kind != opAdd || ops[i].outer || ops[i].by.col != 1 || i > 1 {
			s.logit.Scale, s.rescale = 0, nil
			return
		}
	}
	if len(ops) > 0 {
		s.bias = &ops[0]
	}
	if len(ops) > 1 {
		s.mask = &ops[1]
		s.shareMasks(f)
	}
	s.simple = true
}

// is says whether the step has this kind and an operand with these strides.
func (op *rowOp) is(kind binaryKind, row, col int) bool {
	return op.kind == kind && !op.outer && op.by.row == row && op.by.col == col
}

// plan asks for the memory of the step.
func (f *fuser) plan(s *attend) {
	p := f.c.p
	s.panels = (s.keys + kernel.PanelWidth - 1) / kernel.PanelWidth
	s.block = min(s.rows, max(1, attentionTile/(4*s.panels*kernel.PanelWidth*kernel.TileRows))*kernel.TileRows)
	up := func(n int) int { return (n + 63) &^ 63 }
	s.kbytes = up(kernel.OperandBytes(s.kbits, s.qbits, s.keys, s.depth))
	s.vbytes = up(kernel.OperandBytes(s.vbits, s.pbits, s.width, s.keys))
	s.sums = 4 * s.panels * kernel.PanelWidth
	s.window = s.rows <= s.block
	if s.window {
		p.hand.packed = max(p.hand.packed, s.packedFloats())
	} else {
		s.packed = f.c.temp(&s.base, s.mats*s.packedFloats(), inForward)
	}
	s.slot = p.slots
	p.slots++
	// tiles of sums, floats of the logits; codes of the probabilities
	p.hand.ask(s.block*s.panels*kernel.PanelWidth, s.block*s.keys+s.keys, s.block*s.ldp())
}

func (s *attend) ldp() int { return (s.keys + 3) &^ 3 }

// prepare makes the State's operands in the step's memory.
func (s *attend) prepare(st *State) {
	if s.window {
		return
	}
	mem := st.v[s.packed]
	for range s.mats {
		st.heads[s.slot] = append(st.heads[s.slot], s.newPacked(mem))
		mem = mem[s.packedFloats():]
	}
}

func (s *attend) forward(st *State) error {
	for _, t := range s.tasks() {
		st.share(t)
	}
	return nil
}

func (s *attend) tasks() []task {
	if s.window {
		return []task{s}
	}
	return []task{packHeads{s}, s}
}

// layLanes cuts the queries into blocks for n lanes, by the rows that they become.
func (s *attend) layLanes(p *Program, n int) {
	s.own = []part{{s.q, s.mats}, {s.k, s.mats}, {s.v, s.mats}}
	if !s.window {
		s.own = append(s.own, part{s.packed, s.mats})
	}
	far := map[int]bool{}
	for i := range s.ops {
		for _, by := range []*spreadOf{&s.ops[i].by, &s.ops[i].cross} {
			if s.ops[i].outer || by == &s.ops[i].by {
				far[by.id] = far[by.id] || !s.byMatrix(p, by)
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(far)) {
		if !far[id] {
			s.own = append(s.own, part{id, s.mats})
		}
	}
	for k, n := range [2]int{1, n} {
		s.blocks[k] = make([][]queries, n)
		for m := range s.mats {
			for r := 0; r < s.rows; {
				i, e := s.laneOf(m, r, n), r+1
				for e < s.rows && e < r+s.block && s.laneOf(m, e, n) == i {
					e++
				}
				s.blocks[k][i] = append(s.blocks[k][i], queries{m, r, e - r})
				r = e
			}
		}
		for _, list := range s.blocks[k] {
			s.byBias(list)
		}
	}
}

// byMatrix reports whether each matrix reads its own part of an operand.
func (s *attend) byMatrix(p *Program, by *spreadOf) bool {
	n := p.values[by.id].n / s.mats
	if p.values[by.id].n%s.mats != 0 || (s.rows-1)*by.row+(s.keys-1)*by.col >= n {
		return false
	}
	for m := range s.mats {
		if by.offset(m, 0) != m*n {
			return false
		}
	}
	return true
}

func (s *attend) laneOf(m, r, n int) int {
	u := m*s.rows + r
	if s.codes < 0 {
		return laneOf(u, s.mats*s.rows, n)
	}
	return laneOf(int(s.to[u])/s.perRow, s.mats*s.rows/s.perRow, n)
}

func (s *attend) rowwise(n int) (reads, writes []part) {
	writes = []part{{s.y, s.mats * s.rows}}
	if s.codes >= 0 {
		writes = []part{{s.codes, s.mats * s.rows / s.perRow}}
	}
	for m := range s.mats {
		for r := range s.rows {
			if s.laneOf(m, r, n) != laneOf(m, s.mats, n) {
				if s.window {
					return nil, writes
				}
				return []part{{s.packed, 0}}, writes
			}
		}
	}
	return s.own, writes // whole matrices, such as windows
}

func (s *attend) blocksOf(l lane) []queries {
	if l.n == 1 {
		return s.blocks[0][0]
	}
	return s.blocks[1][l.i]
}

func (s *attend) items(l lane) int { return len(s.blocksOf(l)) }

// packHeads packs the keys and values of one matrix.
type packHeads struct{ *attend }

func (s packHeads) items(l lane) int {
	lo, hi := l.rows(s.mats)
	return hi - lo
}

func (s packHeads) rowwise(int) (reads, writes []part) {
	return []part{{s.k, s.mats}, {s.v, s.mats}}, []part{{s.packed, s.mats}}
}

func (s packHeads) item(st *State, h *hand, l lane, i int) {
	lo, _ := l.rows(s.mats)
	s.pack(st, h, lo+i, st.heads[s.slot][lo+i])
}

func (s *attend) item(st *State, h *hand, at lane, i int) {
	b := s.blocksOf(at)[i]
	m, r, n := b.matrix, b.row, b.rows
	var p *packedHead
	if s.window {
		p = s.packedBy(h)
		s.pack(st, h, m, p)
	} else {
		p = st.heads[s.slot][m]
	}
	ldt := s.panels * kernel.PanelWidth
	q, ld := st.u(s.q), st.p.values[s.q].ld
	for j := range s.panels {
		h.w.Select(p.k, j)
		h.w.Tile(n, q[(m*s.rows+r)*ld:], ld, h.tile[j*kernel.PanelWidth:], ldt)
	}
	probs, ldp := h.u8, s.ldp()
	grid, l := &s.probs[m], &h.logits
	if s.simple {
		*l = s.logit
		l.Factor, l.Offset = s.factor[m], p.sums
		if s.rescale != nil {
			of := func(by *spreadOf) []float32 { return st.v[by.id][by.offset(m, r):] }
			row, col, add := &s.rescale[0], &s.rescale[1], &s.rescale[2]
			l.Rescale = kernel.Rescale{Row: of(&row.by), Col: of(&col.by), AddRow: of(&add.by), AddCol: of(&add.cross)}
		}
		if s.bias != nil {
			l.Bias, l.LDBias = st.v[s.bias.by.id][s.bias.by.offset(m, r):], s.bias.by.row
		}
		if s.mask != nil && (s.masked == nil || s.masked[m]) {
			l.Mask, l.LDMask = st.v[s.mask.by.id][s.mask.by.offset(m, r):], s.mask.by.row
		}
		kernel.SoftmaxQuantize(&h.w, probs, ldp, h.tile, ldt, n, s.keys, l, grid)
	} else {
		s.softmax(st, h, m, r, n, p.sums, grid)
	}
	if s.kept >= 0 {
		s.keep(st, h, m*s.rows+r, n)
	}
	s.context(st, h, m, r, n, p.v)
}

// softmax does the general case: any elementwise steps on the logits.
func (s *attend) softmax(st *State, h *hand, m, r, n int, sums []int32, grid *kernel.Grid) {
	ldt := s.panels * kernel.PanelWidth
	logits, factor := h.f32[:n*s.keys], s.factor[m]
	tmp := h.f32[s.block*s.keys:][:s.keys]
	for i := range n {
		l := logits[i*s.keys:][:s.keys]
		acc, sums := h.tile[i*ldt:][:len(l)], sums[:len(l)]
		for j := range l {
			l[j] = float32(acc[j]-sums[j]) * factor
		}
		for k := range s.ops {
			op := &s.ops[k]
			by := st.v[op.by.id][op.by.offset(m, r+i):]
			if !op.outer {
				op.kind.run(l, l, by, 1, op.by.col)
				continue
			}
			kernel.Scale(tmp, st.v[op.cross.id][op.cross.offset(m, r+i):], by[0])
			op.kind.run(l, l, tmp, 1, 1)
		}
	}
	kernel.SoftmaxRows(logits, logits, n, s.keys)
	for i := range n {
		kernel.QuantizeU8(h.u8[i*s.ldp():][:s.keys], logits[i*s.keys:], grid.Alpha, grid.Zp, grid.Qn, grid.Qp, 0)
	}
}

// context multiplies the codes of the probabilities by the values.
func (s *attend) context(st *State, h *hand, m, r, n int, v *kernel.Operand) {
	a := &h.affine
	a.Factor = s.scale[m]
	u := m*s.rows + r
	for j := 0; j*kernel.PanelWidth < s.width; j++ {
		h.w.Select(v, j)
		h.w.Tile(n, h.u8, s.ldp(), h.tile, kernel.PanelWidth)
		col := j * kernel.PanelWidth
		cols := min(kernel.PanelWidth, s.width-col)
		if s.codes < 0 {
			kernel.DequantTile(st.v[s.y][u*s.width+col:], s.width, h.tile, kernel.PanelWidth, n, cols, a, 0)
			continue
		}
		q, ld := st.u(s.codes), st.p.values[s.codes].ld
		if ld == s.perRow*s.width && col == 0 && cols == s.width {
			if h.ended != s || &h.scale[0] != &a.Factor[0] {
				h.head = kernel.Head{Dst: q, LD: s.width, Rows: len(s.to)}
				h.end.Set(&h.head, cols, a, 0, &s.grid)
				h.ended, h.scale = s, a.Factor
			}
			h.w.HeadTile(&h.end, s.to[u:], h.tile, kernel.PanelWidth, n)
			continue
		}
		for i := 0; i < n; {
			to, run := int(s.to[u+i]), 1
			for i+run < n && int(s.to[u+i+run]) == to+run*s.perRow {
				run++
			}
			at := to/s.perRow*ld + to%s.perRow*s.width + col
			kernel.DequantQuantizeTile(q[at:], ld, h.tile[i*kernel.PanelWidth:], kernel.PanelWidth, run, cols, a, 0, &s.grid)
			i += run
		}
	}
}
