package kernel

// finiteRun is how many sums NotFinite keeps side by side.
const finiteRun = 128

// NotFinite gives the index of the first NaN or infinity in x, -1 where there is none. It
// costs a read: sums of finite numbers are finite but where they overflow, and only then
// is x looked through one by one.
func (w *Workspace) NotFinite(x []float32) int {
	sums := w.row(finiteRun)[:finiteRun]
	clear(sums)
	whole := len(x) / finiteRun * finiteRun
	if whole > 0 {
		active.sumRows(sums, x[:whole], whole/finiteRun, finiteRun)
	}
	var a, b, c, d float32 // four chains: one is as slow as the sum of x
	for i := 0; i < finiteRun; i += 4 {
		a, b, c, d = a+sums[i], b+sums[i+1], c+sums[i+2], d+sums[i+3]
	}
	for _, v := range x[whole:] {
		a += v
	}
	if s := a + b + c + d; s-s == 0 {
		return -1
	}
	for i, v := range x {
		if v-v != 0 {
			return i
		}
	}
	return -1
}
