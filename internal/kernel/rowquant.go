package kernel

// LayerNormQuantize normalises rows of x (rows ldx apart, n elements) as LayerNorm
// does and writes the codes of g, column by column where g.Alphas is not nil, to rows
// of dst, ldd apart: the same bytes as LayerNorm and QuantizeU8 give on the same
// set. gamma and beta may be nil; mean and rstd get those of the rows where they are
// not nil, both or neither.
func LayerNormQuantize[T uint8 | int8](w *Workspace, dst []T, ldd int, mean, rstd, x []float32, ldx int, gamma, beta []float32, rows, n int, eps float32, g *Grid) {
	if rows <= 0 || n <= 0 {
		return
	}
	need("dst", len(dst), extent(rows, n, ldd))
	need("x", len(x), extent(rows, n, ldx))
	if gamma != nil {
		need("gamma", len(gamma), n)
	}
	if beta != nil {
		need("beta", len(beta), n)
	}
	if mean != nil {
		need("mean", min(len(mean), len(rstd)), rows)
	}
	if g.Alphas != nil {
		need("alphas", len(g.Alphas), n)
	}
	active.layerNormQuantize(active, w, bytesOf(dst), ldd, mean, rstd, x, ldx, gamma, beta, rows, n, eps, *g)
}

// Logits says how the int32 sums of a row of attention become the input of its
// softmax, in separately rounded float32 steps:
//
//	v = float32(acc - Row[i] - Offset[j]) · Factor
//	v = v · Rescale.Row[i] · Rescale.Col[j] + Rescale.AddCol[j] · Rescale.AddRow[i]
//	v = v · Scale + Bias[i·LDBias+j] + Mask[i·LDMask+j]
//
// from left to right, the product that is added first. A step is left out where its
// slice (of Rescale: Col) is nil or Scale is 0.
type Logits struct {
	Factor, Scale float32
	Offset        []int32 // by column
	Row           []int32 // by row
	Rescale       Rescale
	Bias, Mask    []float32
	LDBias        int
	LDMask        int
}

// Rescale puts the deviations and means of normalised queries (rows) and keys
// (columns) back into their logits (method.md 5.5): all four slices or none.
type Rescale struct{ Row, Col, AddRow, AddCol []float32 }

// SoftmaxQuantize writes the codes of g (without Alphas) of the softmax over the n
// logits l of each row of sums (rows ldx apart) to rows of dst, ldd apart: the same
// bytes as SoftmaxRows and QuantizeU8 give on the same set. x is undefined afterwards.
func SoftmaxQuantize[T uint8 | int8](w *Workspace, dst []T, ldd int, x []int32, ldx, rows, n int, l *Logits, g *Grid) {
	if rows <= 0 || n <= 0 {
		return
	}
	need("dst", len(dst), extent(rows, n, ldd))
	need("x", len(x), extent(rows, n, ldx))
	if l.Offset != nil {
		need("offset", len(l.Offset), n)
	}
	if l.Row != nil {
		need("row", len(l.Row), rows)
	}
	if r := &l.Rescale; r.Col != nil {
		need("rescale", min(len(r.Row), len(r.AddRow)), rows)
		need("rescale", min(len(r.Col), len(r.AddCol)), n)
	}
	if l.Bias != nil {
		need("bias", len(l.Bias), extent(rows, n, l.LDBias))
	}
	if l.Mask != nil {
		need("mask", len(l.Mask), extent(rows, n, l.LDMask))
	}
	active.softmaxQuantize(active, w, bytesOf(dst), ldd, x, ldx, rows, n, *l, *g)
}

// row is scratch of n float32.
func (w *Workspace) row(n int) []float32 {
	w.scratch = grow(w.scratch, n)
	return w.scratch
}

// layerNormQuantize is LayerNorm and the quantiser of s, row by row.
func layerNormQuantize(s *set, w *Workspace, dst []uint8, ldd int, mean, rstd, x []float32, ldx int, gamma, beta []float32, rows, n int, eps float32, g Grid) {
	v := w.row(n + 2)
	one, v := v[:2], v[2:]
	for i := range rows {
		avg, k := one[:1], one[1:]
		if mean != nil {
			avg, k = mean[i:i+1], rstd[i:i+1]
		}
		s.layerNorm(v, avg, k, x[i*ldx:][:n], gamma, beta, 1, n, eps)
		s.quantizeRow(dst[i*ldd:][:n], v, &g, 0)
	}
}

// softmaxQuantize is the softmax and the quantiser of s, row by row.
func softmaxQuantize(s *set, w *Workspace, dst []uint8, ldd int, x []int32, ldx, rows, n int, l Logits, g Grid) {
	v := w.row(n)
	for i := range rows {
		l.values(v, x[i*ldx:][:n], i)
		s.softmaxRows(v, v, 1, n)
		s.quantizeRow(dst[i*ldd:][:n], v, &g, 0)
	}
}

// values computes the logits of row i.
func (l *Logits) values(dst []float32, x []int32, i int) {
	var r int32
	if l.Row != nil {
		r = l.Row[i]
	}
	for j, a := range x[:len(dst)] {
		a -= r
		if l.Offset != nil {
			a -= l.Offset[j]
		}
		v := float32(float32(a) * l.Factor)
		if r := &l.Rescale; r.Col != nil {
			v = float32(float32(v*r.Row[i])*r.Col[j]) + float32(r.AddCol[j]*r.AddRow[i])
		}
		if l.Scale != 0 {
			v = float32(v * l.Scale)
		}
		if l.Bias != nil {
			v += l.Bias[i*l.LDBias+j]
		}
		if l.Mask != nil {
			v += l.Mask[i*l.LDMask+j]
		}
		dst[j] = v
	}
}

// quantizeRow writes the codes of v; the columns of g.Alphas begin at col.
func (s *set) quantizeRow(dst []uint8, v []float32, g *Grid, col int) {
	if s.rowCodes != nil {
		s.rowCodes(dst, v, *g, col)
		return
	}
	if g.Alphas == nil {
		s.quantize(dst, v, g.Alpha, g.Zp, g.Qn, g.Qp, g.Offset)
		return
	}
	for j := range dst {
		quantizeGo(dst[j:j+1], v[j:], g.Alphas[col+j], g.Zp, g.Qn, g.Qp, g.Offset)
	}
}
