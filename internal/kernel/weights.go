package kernel

import (
	"encoding/binary"
	"fmt"
)

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
	w := &Weights{form: s.weights(bits, abits, k), bits: bits, n: n, k: k, sums: make([]int32, n)}
	for j := range n {
		var ok bool
		if w.sums[j], ok = sumCodes(codes[j*k:][:k], bits); !ok {
			panic(fmt.Sprintf("kernel: a code of output %d does not fit in %d bits", j, bits))
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

// byteForm is a form that can store codes as files have them.
type byteForm interface {
	storeBytes(dst []uint8, bits int, src []uint8, row, rows, k int) bool
}

// NewWeightsOf is NewWeights of codes of 2 or 4 bits as files have them: raised by
// 2^(bits-1), lowest bits first, each row in whole bytes. It gives nil where the active
// set has no direct way, which is faster, from there.
func NewWeightsOf(bits, abits, n, k int, stored []uint8) *Weights {
	w := &Weights{form: active.weights(bits, abits, k), bits: bits, n: n, k: k, sums: make([]int32, n)}
	f, ok := w.form.(byteForm)
	if !ok || bits != 2 && bits != 4 {
		return nil
	}
	row := (k*bits + 7) / 8
	need("stored", len(stored), n*row)
	w.stride = w.form.storedBytes(bits, k)
	w.data = alignedBytes(nil, w.Panels()*w.stride)
	for j := range w.Panels() {
		rows := min(PanelWidth, n-j*PanelWidth)
		if !f.storeBytes(w.data[j*w.stride:][:w.stride], bits, stored[j*PanelWidth*row:][:rows*row], row, rows, k) {
			return nil
		}
	}
	for j := range w.sums {
		w.sums[j] = sumRaised(stored[j*row:][:row], bits) - int32(k)<<(bits-1)
	}
	return w
}

// sumRaised adds up codes of 4 or 2 bits that fill whole bytes.
func sumRaised(b []uint8, bits int) (sum int32) {
	const nibbles, pairs, every = 0x0f0f0f0f0f0f0f0f, 0x3333333333333333, 0x0101010101010101
	add := func(x uint64) {
		if bits == 2 {
			x = x&pairs + x>>2&pairs // at most 6 in four bits
		}
		x = x&nibbles + x>>4&nibbles // at most 30 in a byte
		sum += int32(x * every >> 56)
	}
	for ; len(b) >= 8; b = b[8:] {
		add(binary.LittleEndian.Uint64(b))
	}
	for _, v := range b {
		add(uint64(v))
	}
	return sum
}

// WeightBytes is the memory that NewWeights of these arguments takes.
func WeightBytes(bits, abits, n, k int) int {
	return (n+PanelWidth-1)/PanelWidth*active.weights(bits, abits, k).storedBytes(bits, k) + 4*n
}

// weights is the form of weights, where the set has another than for operands.
func (s *set) weights(bits, abits, k int) form {
	if s.fixed != nil {
		return s.fixed(bits, abits, k)
	}
	return s.form(bits, abits)
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

// sumCodes adds codes up and says whether all fit in bits bits, eight at a time.
func sumCodes(codes []int8, bits int) (sum int32, ok bool) {
	const every, pairs = 0x0101010101010101, 0x00ff00ff00ff00ff
	half := uint64(1) << (bits - 1)
	low, beyond := every*(128-half), every*(255^(2*half-1))
	if bits == 8 {
		low, beyond = 0, 0
	}
	var outside uint64
	n := len(codes)
	b := bytesOf(codes)
	for len(b) >= 8 {
		// Four sums of 16 bits hold 128 words of codes raised by 128.
		run := min(len(b)/8, 128)
		var s uint64
		for i := 0; i < 8*run; i += 8 {
			v := binary.LittleEndian.Uint64(b[i:]) ^ every<<7
			s += v&pairs + v>>8&pairs
			outside |= (v - low) & beyond // borrows spread from a code that is outside
		}
		sum += int32(s&0xffff + s>>16&0xffff + s>>32&0xffff + s>>48)
		b = b[8*run:]
	}
	for _, c := range b {
		v := uint64(c ^ 128)
		sum += int32(v)
		outside |= (v - low&255) & beyond
	}
	return sum - 128*int32(n), outside == 0
}
