package kernel

// GeluQuantBackward is the gradient of a quantiser of Gelu(x): FakeQuantBackward at
// Gelu(x), which is computed again, then GeluBackward at x. It writes (acc: adds) the
// gradient with respect to x into dx, which may be dy, and returns those of alpha and
// zp. dx must not be nil. Sets may compute Gelu(x) here in another way than Gelu does:
// within 3e-7·max(1, |x|), and its slope within 7e-7.
func GeluQuantBackward(w *Workspace, dx, x, dy []float32, alpha, zp, qn, qp float32, acc bool) (dalpha, dzp float64) {
	need("dx", len(dx), len(x))
	need("dy", len(dy), len(x))
	dalpha, out := active.geluQuantBackward(active, w, dx[:len(x)], x, dy[:len(x)], alpha, zp, qn, qp, acc)
	return dalpha, -float64(alpha) * out
}

// geluQuantBackward does the loops of s after each other, on blocks that stay in the
// cache.
func geluQuantBackward(s *set, w *Workspace, dx, x, dy []float32, alpha, zp, qn, qp float32, acc bool) (dalpha, dout float64) {
	const block = 1024
	buf := w.row(2 * block)
	for i := 0; i < len(x); i += block {
		n := min(block, len(x)-i)
		y, g, x := buf[:n], buf[block:][:n], x[i:][:n]
		s.gelu(y, x)
		a, o := s.fakeQuantBackward(g, y, dy[i:][:n], alpha, zp, qn, qp, false)
		dalpha, dout = dalpha+a, dout+o
		s.geluBackward(dx[i:][:n], x, g, acc)
	}
	return dalpha, dout
}
