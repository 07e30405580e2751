package kernel

// RescaleRows puts the deviations and means of normalised queries and keys back into
// rows of their scores x and scales them, as SoftmaxQuantize does (method.md 5.5):
//
//	dst[i,j] = (x[i,j]·r.Row[i]·r.Col[j] + r.AddCol[j]·r.AddRow[i]) · scale
//
// each operation rounded. Every set gives the same bits.
func RescaleRows(dst, x []float32, r *Rescale, scale float32, rows, n int) {
	need("dst", len(dst), rows*n)
	need("x", len(x), rows*n)
	r.need(rows, n)
	if rows > 0 && n > 0 {
		active.rescaleRows(dst, x, r.Row, r.Col, r.AddRow, r.AddCol, scale, rows, n)
	}
}

// RescaleRowsBackward writes the gradient of RescaleRows with respect to x into dx,
// which may be dy, and adds those of the four vectors to the slices of d, none nil:
// sums of a row in vector lanes, of a column from the first row to the last.
func RescaleRowsBackward(dx []float32, d *Rescale, dy, x []float32, r *Rescale, scale float32, rows, n int) {
	need("dx", len(dx), rows*n)
	need("dy", len(dy), rows*n)
	need("x", len(x), rows*n)
	r.need(rows, n)
	d.need(rows, n)
	if rows > 0 && n > 0 {
		active.rescaleRowsBackward(dx, d.Row, d.Col, d.AddRow, d.AddCol, dy, x, r.Row, r.Col, r.AddRow, r.AddCol, scale, rows, n)
	}
}

func (r *Rescale) need(rows, n int) {
	need("rescale", min(len(r.Row), len(r.AddRow)), rows)
	need("rescale", min(len(r.Col), len(r.AddCol)), n)
}

func rescaleRowsGo(dst, x, row, col, addRow, addCol []float32, scale float32, rows, n int) {
	for i := range rows {
		d := dst[i*n:][:n]
		for j, v := range x[i*n:][:n] {
			v = float32(float32(v*row[i])*col[j]) + float32(addCol[j]*addRow[i])
			d[j] = float32(v * scale)
		}
	}
}

func rescaleRowsBackwardGo(dx, dRow, dCol, dAddRow, dAddCol, dy, x, row, col, addRow, addCol []float32, scale float32, rows, n int) {
	for i := range rows {
		var s, a float32
		d := dx[i*n:][:n]
		for j, t := range dy[i*n:][:n] {
			t *= scale
			v := x[i*n+j]
			g := t * row[i]
			dAddCol[j] += t * addRow[i]
			a += t * addCol[j]
			dCol[j] += g * v
			s += t * col[j] * v
			d[j] = g * col[j]
		}
		dRow[i] += s
		dAddRow[i] += a
	}
}
