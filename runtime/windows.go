package runtime

import (
	"cmp"
	"slices"
	"unsafe"

	"github.com/qvitc/qvitc/internal/kernel"
)

// Attention in windows. The queries of a window are one block, so that its keys and values are
// packed by whoever takes it, in the first-level cache, and never written elsewhere. Windows
// that share a bias follow each other, and windows with equal masks share one.

// packedHead is the right-hand sides of one matrix of an attention.
type packedHead struct {
	k, v *kernel.Operand
	sums []int32 // zero point of q times the sum of each key's codes
}

// packedFloats is the memory of a packedHead.
func (s *attend) packedFloats() int { return (s.kbytes + s.vbytes + s.sums) / 4 }

// newPacked makes it of mem.
func (s *attend) newPacked(mem []float32) *packedHead {
	n := s.sums / 4
	b := kernel.AsUnsigned(mem[n:])[:s.kbytes+s.vbytes]
	return &packedHead{
		sums: unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(mem))), n),
		k:    kernel.NewOperand(b[:s.kbytes], s.kbits, s.qbits, s.keys, s.depth),
		v:    kernel.NewOperand(b[s.kbytes:], s.vbits, s.pbits, s.width, s.keys),
	}
}

// packedBy is the operands of a hand for this step.
func (s *attend) packedBy(h *hand) *packedHead {
	for len(h.heads) <= s.slot {
		h.heads = append(h.heads, nil)
	}
	if h.heads[s.slot] == nil {
		h.heads[s.slot] = s.newPacked(h.packed)
	}
	return h.heads[s.slot]
}

// pack packs the keys and values of matrix m.
func (s *attend) pack(st *State, h *hand, m int, p *packedHead) {
	k, ldk := st.u(s.k), st.p.values[s.k].ld
	h.w.PackKeys(p.k, k[m*s.keys*ldk:], ldk, 1<<(s.kbits-1), p.sums, s.zq)
	v, ldv := st.u(s.v), st.p.values[s.v].ld
	kernel.PackCols(p.v, 0, s.keys, v[m*s.keys*ldv:], ldv, 1<<(s.vbits-1))
}

// byBias puts blocks that add the same bias together.
func (s *attend) byBias(list []queries) {
	if s.bias == nil || !s.window {
		return
	}
	slices.SortStableFunc(list, func(a, b queries) int {
		return cmp.Compare(s.bias.by.offset(a.matrix, 0), s.bias.by.offset(b.matrix, 0))
	})
}

// shareMasks lets matrices with equal masks read the same one, and finds those whose mask is 0
// everywhere, as it is for the windows that a shift does not cut: adding it changes no code.
func (s *attend) shareMasks(f *fuser) {
	by := &s.mask.by
	v := &f.p.values[by.id]
	if v.kind != constant || v.param >= 0 || by.at == nil {
		return
	}
	data := v.tens.F32()
	row := func(at int32, r int) []float32 { return data[int(at)+r*by.row:][:s.keys] }
	same := func(a, b int32) bool {
		for r := range s.rows {
			if !slices.Equal(row(a, r), row(b, r)) {
				return false
			}
		}
		return true
	}
	var distinct []int32
	none := map[int32]bool{}
	shared := map[int32]int32{} // by offset: that of the first equal mask
	for m, at := range by.at {
		first, ok := shared[at]
		if !ok {
			i := slices.IndexFunc(distinct, func(k int32) bool { return same(k, at) })
			if i < 0 {
				i = len(distinct)
				distinct = append(distinct, at)
				none[at] = true
				for r := 0; r < s.rows && none[at]; r++ {
					none[at] = !slices.ContainsFunc(row(at, r), func(x float32) bool { return x != 0 })
				}
			}
			first = distinct[i]
			shared[at] = first
		}
		by.at[m] = first
		s.masked = append(s.masked, !none[first])
	}
}
