package kernel

import "math"

// SoftmaxRows writes the softmax of each of the rows of n elements (ONNX
// Softmax-13 on the last axis). The largest element of a row is subtracted
// first; relative error below 1e-6 + 2^-24·(max-x) for n up to a few thousand. A row of only
// -Inf gives NaN.
func SoftmaxRows(dst, x []float32, rows, n int) {
	need("dst", len(dst), rows*n)
	need("x", len(x), rows*n)
	if rows > 0 && n > 0 {
		active.softmaxRows(dst, x, rows, n)
	}
}

// SoftmaxRowsBackward writes (acc: adds) y·(dy - Σ y·dy) row by row, where y is
// the output of SoftmaxRows, into dx.
func SoftmaxRowsBackward(dx, y, dy []float32, rows, n int, acc bool) {
	need("dx", len(dx), rows*n)
	need("y", len(y), rows*n)
	need("dy", len(dy), rows*n)
	if rows > 0 && n > 0 {
		active.softmaxRowsBackward(dx, y, dy, rows, n, acc)
	}
}

// LogSoftmaxRows writes x - max - ln Σ exp(x - max) row by row (ONNX
// LogSoftmax-13 on the last axis).
func LogSoftmaxRows(dst, x []float32, rows, n int) {
	need("dst", len(dst), rows*n)
	need("x", len(x), rows*n)
	if rows > 0 && n > 0 {
		active.logSoftmaxRows(dst, x, rows, n)
	}
}

func rowMax(x []float32) float32 {
	m := x[0]
	for _, v := range x[1:] {
		if v > m {
			m = v
		}
	}
	return m
}

func softmaxRowsGo(dst, x []float32, rows, n int) {
	for r := range rows {
		x, dst := x[r*n:][:n], dst[r*n:][:n]
		m := rowMax(x)
		var s float64
		for i, v := range x {
			e := exp32(v - m)
			dst[i] = e
			s += float64(e)
		}
		k := float32(1 / s)
		for i := range dst {
			dst[i] *= k
		}
	}
}

func softmaxRowsBackwardGo(dx, y, dy []float32, rows, n int, acc bool) {
	for r := range rows {
		y, dy, dx := y[r*n:][:n], dy[r*n:][:n], dx[r*n:][:n]
		var sum float64
		for i, v := range y {
			sum += float64(v * dy[i])
		}
		s := float32(sum)
		for i, v := range y {
			d := v * (dy[i] - s)
			if acc {
				d += dx[i]
			}
			dx[i] = d
		}
	}
}

func logSoftmaxRowsGo(dst, x []float32, rows, n int) {
	for r := range rows {
		x, dst := x[r*n:][:n], dst[r*n:][:n]
		m := rowMax(x)
		var s float64
		for _, v := range x {
			s += float64(exp32(v - m))
		}
		l := float32(math.Log(s))
		for i, v := range x {
			dst[i] = v - m - l
		}
	}
}
