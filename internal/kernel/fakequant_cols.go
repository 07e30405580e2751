package kernel

// FakeQuantCols is FakeQuant with one group per column of a rows × n matrix:
// alpha and zp have length n; zp may be nil (0).
func FakeQuantCols(dst, x, alpha, zp []float32, qn, qp float32, rows, n int) {
	need("dst", len(dst), rows*n)
	need("x", len(x), rows*n)
	need("alpha", len(alpha), n)
	if zp != nil {
		need("zp", len(zp), n)
	}
	if rows > 0 && n > 0 {
		active.fakeQuantCols(dst, x, alpha, zp, qn, qp, rows, n)
	}
}

// colRows is the number of rows that sets go down at a time: they fetch the eighth row
// after the one at work, which is then that of the same strip in the next call.
const colRows = 8

// FakeQuantColsBackward is FakeQuantBackward with one group per column: it adds
// the gradients of the scales to dalpha and of the zero points to dzp, both of
// length n, each column from its first row to its last in float64. dx and dzp
// may be nil.
func FakeQuantColsBackward(dx, x, dy, alpha, zp []float32, qn, qp float32, dalpha, dzp []float64, rows, n int, acc bool) {
	need("x", len(x), rows*n)
	need("dy", len(dy), rows*n)
	need("alpha", len(alpha), n)
	need("dalpha", len(dalpha), n)
	if dx != nil {
		need("dx", len(dx), rows*n)
	}
	if zp != nil {
		need("zp", len(zp), n)
	}
	if dzp != nil {
		need("dzp", len(dzp), n)
	}
	if n <= 0 {
		return
	}
	for r := 0; r < rows; r += colRows {
		m, at := min(colRows, rows-r), r*n
		var d []float32
		if dx != nil {
			d = dx[at:][:m*n]
		}
		active.fakeQuantColsBackward(d, x[at:][:m*n], dy[at:][:m*n], alpha, zp, qn, qp, dalpha, dzp, m, n, acc)
	}
}

func fakeQuantColsGo(dst, x, alpha, zp []float32, qn, qp float32, rows, n int) {
	for r := range rows {
		x, dst := x[r*n:][:n], dst[r*n:][:n]
		for i, v := range x {
			var z float32
			if zp != nil {
				z = zp[i]
			}
			dst[i] = (code(v/alpha[i], z, qn, qp) - z) * alpha[i]
		}
	}
}

func fakeQuantColsBackwardGo(dx, x, dy, alpha, zp []float32, qn, qp float32, dalpha, dzp []float64, rows, n int, acc bool) {
	for r := range rows {
		for i, v := range x[r*n:][:n] {
			a := alpha[i]
			var z, in float32
			if zp != nil {
				z = zp[i]
			}
			d := v / a
			t := code(d, z, qn, qp) - z
			u := d + z
			g := dy[r*n+i]
			if qn <= u && u <= qp {
				t -= d
				in = g
			} else if dzp != nil {
				dzp[i] -= float64(a) * float64(g)
			}
			dalpha[i] += float64(t) * float64(g)
			if dx != nil {
				if acc {
					in += dx[r*n+i]
				}
				dx[r*n+i] = in
			}
		}
	}
}
