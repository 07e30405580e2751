package kernel

// Add writes a + b.
func Add(dst, a, b []float32) {
	need("a", len(a), len(dst))
	need("b", len(b), len(dst))
	active.add(dst, a[:len(dst)], b[:len(dst)])
}

// Sub writes a - b.
func Sub(dst, a, b []float32) {
	need("a", len(a), len(dst))
	need("b", len(b), len(dst))
	active.sub(dst, a[:len(dst)], b[:len(dst)])
}

// Mul writes a · b.
func Mul(dst, a, b []float32) {
	need("a", len(a), len(dst))
	need("b", len(b), len(dst))
	active.mul(dst, a[:len(dst)], b[:len(dst)])
}

// MulAdd adds a · b to dst.
func MulAdd(dst, a, b []float32) {
	need("a", len(a), len(dst))
	need("b", len(b), len(dst))
	active.mulAdd(dst, a[:len(dst)], b[:len(dst)])
}

// Scale writes s · x.
func Scale(dst, x []float32, s float32) {
	need("x", len(x), len(dst))
	active.scale(dst, x[:len(dst)], s)
}

// Axpy adds s · x to dst.
func Axpy(dst, x []float32, s float32) {
	need("x", len(x), len(dst))
	active.axpy(dst, x[:len(dst)], s)
}

// AddBias writes x + bias, where x has rows rows of n elements and bias has n.
func AddBias(dst, x, bias []float32, rows, n int) {
	need("dst", len(dst), rows*n)
	need("x", len(x), rows*n)
	need("bias", len(bias), n)
	if rows > 0 && n > 0 {
		active.addBias(dst, x, bias, rows, n)
	}
}

// SumRows adds the column sums of x (rows × n) to dst (n), each column from its
// first row to its last in float32.
func SumRows(dst, x []float32, rows, n int) {
	need("dst", len(dst), n)
	need("x", len(x), rows*n)
	if rows > 0 && n > 0 {
		active.sumRows(dst[:n], x, rows, n)
	}
}

// Dot returns Σ a·b over len(a) elements. Products are exact; they are summed in
// float64 in sixteen interleaved partial sums, so every set gives the same bits.
func Dot(a, b []float32) float64 {
	need("b", len(b), len(a))
	return active.dot(a, b[:len(a)])
}

// SumSquares returns Σ x² with the precision of Dot.
func SumSquares(x []float32) float64 { return active.dot(x, x) }

// Fill sets every element of dst to v.
func Fill(dst []float32, v float32) {
	if v == 0 {
		clear(dst)
		return
	}
	for i := range dst {
		dst[i] = v
	}
}

// Transpose writes the transpose of src (rows × cols) to dst (cols × rows). dst
// must not overlap src.
func Transpose(dst, src []float32, rows, cols int) {
	need("dst", len(dst), rows*cols)
	need("src", len(src), rows*cols)
	if rows > 0 && cols > 0 {
		active.transpose(dst, src, rows, cols)
	}
}

func addGo(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] + b[i]
	}
}

func subGo(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] - b[i]
	}
}

func mulGo(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] * b[i]
	}
}

func mulAddGo(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] += a[i] * b[i]
	}
}

func scaleGo(dst, x []float32, s float32) {
	x = x[:len(dst)]
	for i := range dst {
		dst[i] = x[i] * s
	}
}

func axpyGo(dst, x []float32, s float32) {
	x = x[:len(dst)]
	for i := range dst {
		dst[i] += x[i] * s
	}
}

func addBiasGo(dst, x, bias []float32, rows, n int) {
	for r := range rows {
		addGo(dst[r*n:][:n], x[r*n:][:n], bias)
	}
}

func sumRowsGo(dst, x []float32, rows, n int) {
	for r := range rows {
		addGo(dst, dst, x[r*n:][:n])
	}
}

// lanes is the number of interleaved partial sums of a float64 reduction.
const lanes = 16

// sumLanes adds the partial sums pairwise, always in the same order.
func sumLanes(s *[lanes]float64) float64 {
	for h := lanes / 2; h > 0; h /= 2 {
		for i := range h {
			s[i] += s[i+h]
		}
	}
	return s[0]
}

func dotGo(a, b []float32) float64 {
	var s [lanes]float64
	b = b[:len(a)]
	for len(a) >= lanes && len(b) >= lanes {
		for i := range lanes {
			s[i] += float64(a[i]) * float64(b[i])
		}
		a, b = a[lanes:], b[lanes:]
	}
	for i := range a {
		s[i] += float64(a[i]) * float64(b[i])
	}
	return sumLanes(&s)
}

func transposeGo(dst, src []float32, rows, cols int) { transposeFrom(dst, src, 0, rows, cols) }

// transposeFrom transposes the rows from r0 on.
func transposeFrom(dst, src []float32, r0, rows, cols int) {
	const blk = 16
	for ; r0 < rows; r0 += blk {
		r1 := min(r0+blk, rows)
		for c := range cols {
			d := dst[c*rows+r0 : c*rows+r1]
			for i := range d {
				d[i] = src[(r0+i)*cols+c]
			}
		}
	}
}
