package runtime

import (
	"fmt"
	"sync"

	"github.com/qvitc/qvitc/internal/kernel"
	"github.com/qvitc/qvitc/ir"
)

// weightStore holds the weights of packed linear layers in the form of the
// kernels, by the tensor of the graph that they are made from. Programs of one
// Session share it, whatever their shapes.
type weightStore struct {
	mu   sync.Mutex
	made map[weightKey]*packedWeight

	convs map[*ir.Tensor]*kernel.Weights // of convolutions
}

// conv finds the packed weight made from t, or makes it.
func (s *weightStore) conv(t *ir.Tensor, pack func() *kernel.Weights) *kernel.Weights {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.convs[t]
	if w == nil {
		w = pack()
		if s.convs == nil {
			s.convs = map[*ir.Tensor]*kernel.Weights{}
		}
		s.convs[t] = w
	}
	return w
}

type weightKey struct {
	t     *ir.Tensor
	abits int
}

// packedWeight is one weight, n × k codes of bits bits for activations of abits
// bits. It is packed when the first State needs it: until then only its size is
// known.
type packedWeight struct {
	t                 *ir.Tensor
	bits, abits, n, k int
	once              sync.Once
	w                 *kernel.Weights
}

// weight finds the weight t of a layer, or notes it, after checking its size.
func (s *weightStore) weight(t *ir.Tensor, bits, abits, n, k int) (*packedWeight, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := weightKey{t, abits}
	if p := s.made[key]; p != nil {
		return p, nil
	}
	if err := checkPacked(t, bits, n, k); err != nil {
		return nil, err
	}
	p := &packedWeight{t: t, bits: bits, abits: abits, n: n, k: k}
	if s.made == nil {
		s.made = map[weightKey]*packedWeight{}
	}
	s.made[key] = p
	return p, nil
}

func (p *packedWeight) panels() int { return (p.n + kernel.PanelWidth - 1) / kernel.PanelWidth }

// pack makes w. All of its 2^bits codes are valid, so nothing can fail here.
func (p *packedWeight) pack() {
	p.once.Do(func() {
		if p.bits == 2 || p.bits == 4 {
			if p.w = kernel.NewWeightsOf(p.bits, p.abits, p.n, p.k, ir.Data[uint8](p.t)); p.w != nil {
				return
			}
		}
		q, err := unpack(p.t, p.bits, p.n, p.k)
		if err != nil {
			panic("runtime: " + err.Error())
		}
		p.w = kernel.NewWeights(p.bits, p.abits, p.n, p.k, q)
	})
}

// packWeights packs what the program's layers need, on several threads.
func (p *Program) packWeights(threads int) {
	p.ready.Do(func() {
		_ = Parallel(len(p.linears), threads, func(i int) error {
			p.linears[i].pack()
			return nil
		})
	})
}

// WeightMemory is the number of bytes of packed weights that all States of the
// program share, beside the graph's own.
func (p *Program) WeightMemory() int64 { return p.weightBytes }

// weighWeights computes WeightMemory.
func (p *Program) weighWeights() {
	seen := map[*packedWeight]bool{}
	for _, l := range p.linears {
		if w := l.weight; !seen[w] {
			seen[w] = true
			p.weightBytes += int64(kernel.WeightBytes(w.bits, w.abits, w.n, w.k))
		}
	}
}

// release drops the graph's own copy of the packed weights.
func (p *Program) release() {
	for _, l := range p.linears {
		l.weight.t.Release()
	}
}

// packedRow is the length in bytes of a row of k codes as a packed operator stores
// it, and the codes and bytes of a group.
func packedRow(w, k int) (row, per, bytes int) {
	switch w {
	case 8:
		per, bytes = 1, 1
	case 3:
		per, bytes = 8, 3
	default:
		per, bytes = 8/w, 1
	}
	return (k + per - 1) / per * bytes, per, bytes
}

func checkPacked(t *ir.Tensor, w, n, k int) error {
	row, _, _ := packedRow(w, k)
	switch {
	case w == 8 && (t.Elem != ir.Int8 || t.Len() != n*k):
		return fmt.Errorf("the 8-bit weight has %d codes of type %v, want %d×%d of i8", t.Len(), t.Elem, n, k)
	case w != 8 && (t.Elem != ir.Uint8 || t.Len() != n*row):
		return fmt.Errorf("the packed weight has %d elements of type %v, want %d rows of %d bytes for %d codes of %d bits", t.Len(), t.Elem, n, row, k, w)
	}
	return nil
}

// unpack reads the codes of a packed weight: w bits each, LSB first, biased by
// 2^(w-1), in groups of whole bytes (two, four or eight codes); 8 bits are
// plain int8.
func unpack(t *ir.Tensor, w, n, k int) ([]int8, error) {
	if err := checkPacked(t, w, n, k); err != nil {
		return nil, err
	}
	if w == 8 {
		return ir.Data[int8](t), nil
	}
	row, per, bytes := packedRow(w, k)
	data := ir.Data[uint8](t)
	out := make([]int8, n*k)
	half, mask := int8(1)<<(w-1), uint32(1)<<w-1
	for i := range n {
		src, dst := data[i*row:][:row], out[i*k:][:k]
		for len(dst) > 0 {
			word := uint32(src[0])
			if bytes == 3 {
				word |= uint32(src[1])<<8 | uint32(src[2])<<16
			}
			src = src[bytes:]
			m := min(per, len(dst))
			for j := range dst[:m] {
				dst[j] = int8(word&mask) - half
				word >>= w
			}
			dst = dst[m:]
		}
	}
	return out, nil
}
