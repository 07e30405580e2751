package kernel

const (
	sqrtHalf  = 0.7071067811865476
	invSqrt2π = 0.3989422804014327
)

// Gelu writes x·Φ(x) = x/2·(1 + erf(x/√2)) for each element (the exact form;
// ONNX Gelu-20 with approximate="none"). Absolute error below 4e-7·max(1,|x|).
func Gelu(dst, x []float32) {
	need("x", len(x), len(dst))
	active.gelu(dst, x[:len(dst)])
}

// GeluBackward writes (acc: adds) dy·(Φ(x) + x·φ(x)), the gradient of Gelu at
// x, into dx. Absolute error of the factor below 1e-6.
func GeluBackward(dx, x, dy []float32, acc bool) {
	need("x", len(x), len(dx))
	need("dy", len(dy), len(dx))
	active.geluBackward(dx, x[:len(dx)], dy[:len(dx)], acc)
}

func geluGo(dst, x []float32) {
	for i, v := range x[:len(dst)] {
		h := 0.5 * v
		dst[i] = h*erf32(v*sqrtHalf) + h
	}
}

func geluBackwardGo(dx, x, dy []float32, acc bool) {
	x, dy = x[:len(dx)], dy[:len(dx)]
	for i := range dx {
		v := x[i]
		d := 0.5*erf32(v*sqrtHalf) + 0.5 + v*invSqrt2π*exp32(-0.5*v*v)
		if acc {
			dx[i] += dy[i] * d
		} else {
			dx[i] = dy[i] * d
		}
	}
}
