package kernel

import "fmt"

// PanelWidth is the number of outputs in one panel of a low-bit product.
const PanelWidth = 64

// Weights is the constant right-hand side of a low-bit product: n outputs × k
// inputs of signed codes, held at their own width (3 bits as a plane of two bits
// and a plane of one) in panels of PanelWidth outputs, laid out for the set that
// was active when it was made. It is read-only and may be shared.
type Weights struct {
	form   form
	bits   int
	n, k   int
	stride int // bytes of one stored panel
	data   []uint8
	sums   []int32
}

// NewWeights packs codes (row-major, n × k) of bits bits: 2, 3, 4 or 8. They lie in
// -2^(bits-1) .. 2^(bits-1)-1. abits, 1 to 8, is the width of the unsigned codes
// that will be multiplied with them; a kernel may rely on it. Codes outside their
// width are a broken internal invariant and panic.
func NewWeights(bits, abits, n, k int, codes []int8) *Weights {
	return newWeights(active, bits, abits, n, k, codes)
}

func newWeights(s *set, bits, abits, n, k int, codes []int8) *Weights {
	if bits != 2 && bits != 3 && bits != 4 && bits != 8 {
		panic(fmt.Sprintf("kernel: no weights of %d bits", bits))
	}
	need("codes", len(codes), n*k)
	w := &Weights{form: s.form(bits, abits), bits: bits, n: n, k: k, sums: make([]int32, n)}
	low, high := int8(-1)<<(bits-1), int8(1<<(bits-1)-1)
	for j := range n {
		for _, q := range codes[j*k:][:k] {
			if q < low || q > high {
				panic(fmt.Sprintf("kernel: code %d does not fit in %d bits", q, bits))
			}
			w.sums[j] += int32(q)
		}
	}
	w.stride = w.form.storedBytes(bits, k)
	w.data = alignedBytes(nil, w.Panels()*w.stride)
	for j := range w.Panels() {
		rows := min(PanelWidth, n-j*PanelWidth)
		w.form.store(w.data[j*w.stride:][:w.stride], bits, codes[j*PanelWidth*k:][:rows*k], rows, k)
	}
	return w
}

// WeightBytes is the memory that NewWeights of these arguments takes.
func WeightBytes(bits, abits, n, k int) int {
	return (n+PanelWidth-1)/PanelWidth*active.form(bits, abits).storedBytes(bits, k) + 4*n
}

// Outputs is the number of rows of codes, n.
func (w *Weights) Outputs() int { return w.n }

// Inputs is the length of a row of codes, k.
func (w *Weights) Inputs() int { return w.k }

// Panels is the number of panels: ⌈n/PanelWidth⌉.
func (w *Weights) Panels() int { return (w.n + PanelWidth - 1) / PanelWidth }

// Bytes is the memory that the packed codes take.
func (w *Weights) Bytes() int { return len(w.data) }

// RowSums is Σ over k of each output's codes (length n), for the zero point of the
// activations. The slice is shared: read it only.
func (w *Weights) RowSums() []int32 { return w.sums }
