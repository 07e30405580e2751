package distill

import "math"

// The products of DGD: small matrices (17 to 200 tokens, 16 to 64 channels), for
// which plain loops over four rows at a time do.

// gramRows fills s [n,n] with X·Xᵀ of x [n,d].
func gramRows[T real](s, x []T, n, d int) {
	for i := range n {
		r := x[i*d : (i+1)*d]
		j := 0
		for ; j+4 <= i+1; j += 4 {
			a, b, c, e := x[j*d:], x[(j+1)*d:], x[(j+2)*d:], x[(j+3)*d:]
			a, b, c, e = a[:len(r)], b[:len(r)], c[:len(r)], e[:len(r)]
			var s0, s1, s2, s3 T
			for k, v := range r {
				s0 += v * a[k]
				s1 += v * b[k]
				s2 += v * c[k]
				s3 += v * e[k]
			}
			s[i*n+j], s[i*n+j+1], s[i*n+j+2], s[i*n+j+3] = s0, s1, s2, s3
		}
		for ; j <= i; j++ {
			a := x[j*d:]
			a = a[:len(r)]
			var s0 T
			for k, v := range r {
				s0 += v * a[k]
			}
			s[i*n+j] = s0
		}
		for j := range i {
			s[j*n+i] = s[i*n+j]
		}
	}
}

// gramCols fills g [dy,dx] with Yᵀ·X of y [n,dy] and x [n,dx].
func gramCols[T real](g, y, x []T, n, dy, dx int) {
	clear(g[:dy*dx])
	i := 0
	for ; i+4 <= n; i += 4 {
		x0, x1, x2, x3 := x[i*dx:(i+1)*dx], x[(i+1)*dx:], x[(i+2)*dx:], x[(i+3)*dx:]
		for r := range dy {
			axpy4(g[r*dx:(r+1)*dx], x0, x1, x2, x3, y[i*dy+r], y[(i+1)*dy+r], y[(i+2)*dy+r], y[(i+3)*dy+r])
		}
	}
	for ; i < n; i++ {
		for r := range dy {
			axpy(g[r*dx:(r+1)*dx], x[i*dx:], y[i*dy+r])
		}
	}
}

// addMatMul adds A·B of a [n,k] and b [k,m] to c [n,m].
func addMatMul[T real](c, a, b []T, n, k, m int) {
	for i := range n {
		row, dst := a[i*k:(i+1)*k], c[i*m:(i+1)*m]
		j := 0
		for ; j+4 <= k; j += 4 {
			axpy4(dst, b[j*m:], b[(j+1)*m:], b[(j+2)*m:], b[(j+3)*m:], row[j], row[j+1], row[j+2], row[j+3])
		}
		for ; j < k; j++ {
			axpy(dst, b[j*m:], row[j])
		}
	}
}

func axpy[T real](y, x []T, f T) {
	x = x[:len(y)]
	for i := range y {
		y[i] += f * x[i]
	}
}

func axpy4[T real](y, a, b, c, d []T, fa, fb, fc, fd T) {
	n := len(y)
	a, b, c, d = a[:n], b[:n], c[:n], d[:n]
	for i := range y {
		y[i] += (fa*a[i] + fb*b[i]) + (fc*c[i] + fd*d[i])
	}
}

func frobenius[T real](a []T) float64 {
	var s float64
	for _, v := range a {
		s += float64(v) * float64(v)
	}
	return math.Sqrt(s)
}
