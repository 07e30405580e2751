package runtime

import "slices"

// maxRank is the largest number of dimensions that the strided loops walk after
// neighbouring dimensions have been merged. Nodes that need more take the slow
// path.
const maxRank = 8

// layout is a set of nested loops over several tensors at once: the sizes from
// outside in and, for each tensor, how far one step of each loop moves in it.
type layout struct {
	dims    []int
	strides [][]int // by tensor
}

// merge drops loops of length 1 and joins neighbours that every tensor walks as
// one. There is always at least one loop left.
func (l layout) merge() layout {
	out := layout{strides: make([][]int, len(l.strides))}
	for i, d := range l.dims {
		if d == 1 {
			continue
		}
		k := len(out.dims) - 1
		join := k >= 0
		for t := range l.strides {
			join = join && out.strides[t][k] == l.strides[t][i]*d
		}
		if join {
			out.dims[k] *= d
			for t := range l.strides {
				out.strides[t][k] = l.strides[t][i]
			}
			continue
		}
		out.dims = append(out.dims, d)
		for t := range l.strides {
			out.strides[t] = append(out.strides[t], l.strides[t][i])
		}
	}
	if len(out.dims) == 0 {
		out.dims = []int{1}
		for t := range out.strides {
			out.strides[t] = []int{1}
		}
	}
	return out
}

// inner is the innermost loop: its length and a tensor's stride in it.
func (l *layout) inner() int { return l.dims[len(l.dims)-1] }

func (l *layout) last(t int) int { s := l.strides[t]; return s[len(s)-1] }

// broadcastStrides gives the strides with which a dense tensor of the given shape
// is read as one of shape out (ONNX multidirectional broadcasting).
func broadcastStrides(shape, out []int) []int {
	st := make([]int, len(out))
	dense := rowMajor(shape)
	lead := len(out) - len(shape)
	for i, d := range shape {
		if d != 1 {
			st[lead+i] = dense[i]
		}
	}
	return st
}

// broadcastLayout is the merged loop nest over a dense result of shape out and
// operands broadcast to it; tensor 0 is the result.
func broadcastLayout(out []int, operands ...[]int) layout {
	l := layout{dims: slices.Clone(out), strides: [][]int{rowMajor(out)}}
	for _, s := range operands {
		l.strides = append(l.strides, broadcastStrides(s, out))
	}
	return l.merge()
}

// walk is the position of the outer loops of a layout over up to four tensors.
type walk struct {
	idx [maxRank]int
	at  [4]int // offset of the inner run in each tensor
}

// next moves to the next inner run and reports false after the last.
func (w *walk) next(l *layout) bool {
	for j := len(l.dims) - 2; j >= 0; j-- {
		w.idx[j]++
		for t := range l.strides {
			w.at[t] += l.strides[t][j]
		}
		if w.idx[j] < l.dims[j] {
			return true
		}
		for t := range l.strides {
			w.at[t] -= l.strides[t][j] * l.dims[j]
		}
		w.idx[j] = 0
	}
	return false
}

// sumTo adds the elements of a dense tensor src of shape l (tensor 0) into dst,
// which is broadcast in l (tensor 1): the gradient of broadcasting. Runs are
// summed in float64.
func sumTo(dst, src []float32, l *layout) {
	n, st := l.inner(), l.last(1)
	var w walk
	for {
		run := src[w.at[0]:][:n]
		if st == 0 {
			dst[w.at[1]] += sum(run)
		} else {
			d := dst[w.at[1]:][:n]
			for i, v := range run {
				d[i] += v
			}
		}
		if !w.next(l) {
			return
		}
	}
}

// sum adds a run in float64.
func sum(x []float32) float32 {
	var s0, s1, s2, s3 float64
	for len(x) >= 4 {
		s0 += float64(x[0])
		s1 += float64(x[1])
		s2 += float64(x[2])
		s3 += float64(x[3])
		x = x[4:]
	}
	for _, v := range x {
		s0 += float64(v)
	}
	return float32((s0 + s1) + (s2 + s3))
}
