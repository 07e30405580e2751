package passes

import (
	"fmt"

	"github.com/qvitc/qvitc/ir"
)

// packGroup gives the codes and bytes of one packed group at a width: 4 bits
// are 2 codes a byte, 2 bits are 4 codes a byte, 3 bits are 8 codes in 3 bytes.
func packGroup(bits int) (codes, bytes int, ok bool) {
	switch bits {
	case 2:
		return 4, 1, true
	case 3:
		return 8, 3, true
	case 4:
		return 2, 1, true
	case 8:
		return 1, 1, true
	}
	return 0, 0, false
}

// PackWeights packs the rows of signed codes q (row-major [n, k], each in
// [-2^(bits-1), 2^(bits-1)-1]) as the packed operators store them: u = q +
// 2^(bits-1), value j of a group at bit bits*j, lowest first; K is padded to
// whole groups with code 0. The result is u8 [n, groups, bytes a group], and
// plain i8 [n, k] at 8 bits.
func PackWeights(q []int8, n, k, bits int) (*ir.Tensor, error) {
	codes, bytes, ok := packGroup(bits)
	if !ok {
		return nil, fmt.Errorf("pack: %d bits; want 2, 3, 4 or 8", bits)
	}
	if n < 0 || k < 0 || len(q) != n*k {
		return nil, fmt.Errorf("pack: %d codes do not fill [%d,%d]", len(q), n, k)
	}
	if bits == 8 {
		return ir.Wrap(ir.Int8, []int{n, k}, append([]int8(nil), q...))
	}
	half := 1 << (bits - 1)
	groups := (k + codes - 1) / codes
	out := make([]uint8, n*groups*bytes)
	for row := range n {
		for g := range groups {
			var word uint32
			in := q[row*k+g*codes:][:min(codes, k-g*codes)]
			for j, v := range in {
				u := int(v) + half
				if u < 0 || u >= 2*half {
					return nil, fmt.Errorf("pack: code %d at [%d,%d] does not fit %d bits", v, row, g*codes+j, bits)
				}
				word |= uint32(u) << (bits * j & 31)
			}
			for j := len(in); j < codes; j++ {
				word |= uint32(half) << (bits * j)
			}
			for b := range bytes {
				out[(row*groups+g)*bytes+b] = uint8(word >> (8 * b))
			}
		}
	}
	return ir.Wrap(ir.Uint8, []int{n, groups, bytes}, out)
}

// UnpackWeights is the inverse of PackWeights: the signed codes [n, k].
func UnpackWeights(t *ir.Tensor, k, bits int) ([]int8, error) {
	codes, bytes, ok := packGroup(bits)
	if !ok {
		return nil, fmt.Errorf("unpack: %d bits; want 2, 3, 4 or 8", bits)
	}
	if bits == 8 {
		if t.Elem != ir.Int8 || len(t.Shape) != 2 || t.Shape[1] != k {
			return nil, fmt.Errorf("unpack: %v does not hold 8-bit codes of width %d", t.Type(), k)
		}
		return append([]int8(nil), ir.Data[int8](t)...), nil
	}
	groups := (k + codes - 1) / codes
	if t.Elem != ir.Uint8 || len(t.Shape) != 3 || t.Shape[1] != groups || t.Shape[2] != bytes {
		return nil, fmt.Errorf("unpack: %v does not hold %d-bit codes of width %d", t.Type(), bits, k)
	}
	n := t.Shape[0]
	src := ir.Data[uint8](t)
	half := 1 << (bits - 1)
	out := make([]int8, n*k)
	for row := range n {
		for g := range groups {
			var word uint32
			for b := range bytes {
				word |= uint32(src[(row*groups+g)*bytes+b]) << (8 * b)
			}
			for j := range codes {
				if c := g*codes + j; c < k {
					out[row*k+c] = int8(int(word>>(bits*j))&(2*half-1) - half)
				}
			}
		}
	}
	return out, nil
}
