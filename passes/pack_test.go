package passes

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/qvitc/qvitc/ir"
)

// TestPackEveryLength packs and unpacks rows of every length 0..257 at every
// width, alone and as the second of three rows.
func TestPackEveryLength(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, bits := range []int{2, 3, 4, 8} {
		codes, bytes, _ := packGroup(bits)
		for k := range 258 {
			for _, n := range []int{1, 3} {
				q := make([]int8, n*k)
				for i := range q {
					q[i] = int8(r.IntN(1<<bits) - 1<<(bits-1))
				}
				p, err := PackWeights(q, n, k, bits)
				if err != nil {
					t.Fatalf("%d bits, [%d,%d]: %v", bits, n, k, err)
				}
				want := fmt.Sprintf("u8[%d,%d,%d]", n, (k+codes-1)/codes, bytes)
				if bits == 8 {
					want = fmt.Sprintf("i8[%d,%d]", n, k)
				}
				if p.Type().String() != want {
					t.Fatalf("%d bits, [%d,%d]: %v, want %s", bits, n, k, p.Type(), want)
				}
				back, err := UnpackWeights(p, k, bits)
				if err != nil || !slices.Equal(back, q) {
					t.Fatalf("%d bits, [%d,%d]: %v, %v, want %v", bits, n, k, back, err, q)
				}
			}
		}
	}
}

// TestPackGolden fixes the bytes: lowest bits first, u = q + 2^(bits-1), padded
// with code 0.
func TestPackGolden(t *testing.T) {
	for _, c := range []struct {
		bits int
		q    []int8
		want []uint8
	}{
		{4, []int8{-8, 7, 0}, []uint8{0xf0, 0x88}},
		{2, []int8{-2, -1, 0, 1, 1}, []uint8{0xe4, 0xab}},
		{3, []int8{-4, -3, -2, -1, 0, 1, 2, 3}, []uint8{0x88, 0xc6, 0xfa}},
		{3, []int8{3}, []uint8{0x27, 0x49, 0x92}},
	} {
		p, err := PackWeights(c.q, 1, len(c.q), c.bits)
		if err != nil || !slices.Equal(ir.Data[uint8](p), c.want) {
			t.Errorf("%d bits %v: %x, %v, want %x", c.bits, c.q, ir.Data[uint8](p), err, c.want)
		}
	}
}

func TestPackRefuses(t *testing.T) {
	for _, err := range []error{
		second(PackWeights([]int8{1}, 1, 1, 5)),
		second(PackWeights([]int8{1}, 1, 2, 4)),
		second(PackWeights([]int8{8}, 1, 1, 4)),
		second(PackWeights([]int8{-3}, 1, 1, 2)),
		second(PackWeights(nil, -1, 0, 4)),
		second(UnpackWeights(ir.Of([]uint8{1}, 1, 1, 1), 1, 7)),
		second(UnpackWeights(ir.Of([]uint8{1}, 1, 1, 1), 3, 4)),
		second(UnpackWeights(ir.Of([]int8{1}, 1, 1), 2, 8)),
	} {
		if err == nil {
			t.Error("accepted")
		}
	}
}

func second[T any](_ T, err error) error { return err }
