package kernel

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestWeightsOfFileBytes packs codes as files have them and wants what the codes
// themselves give.
func TestWeightsOfFileBytes(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, widths := range [][2]int{{2, 4}, {2, 2}, {4, 4}} {
		bits, abits := widths[0], widths[1]
		for _, n := range []int{1, 16, 63, 64, 130} {
			for _, k := range []int{4, 8, 36, 100, 384} {
				t.Run(fmt.Sprintf("W%dA%d %dx%d", bits, abits, n, k), func(t *testing.T) {
					row := (k*bits + 7) / 8
					codes, stored := make([]int8, n*k), make([]uint8, n*row)
					for i := range codes {
						u := rng.IntN(1 << bits)
						codes[i] = int8(u - 1<<(bits-1))
						at := i % k * bits
						stored[i/k*row+at/8] |= uint8(u << (at % 8))
					}
					w := NewWeightsOf(bits, abits, n, k, stored)
					if w == nil {
						t.Skip("this set has no direct way")
					}
					want := NewWeights(bits, abits, n, k, codes)
					if w.form != want.form || len(w.data) > WeightBytes(bits, abits, n, k) || !bytes.Equal(w.data, want.data) || !slices.Equal(w.sums, want.sums) {
						t.Error("other weights than from codes")
					}
				})
			}
		}
	}
}

func TestSumCodes(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		bits := []int{2, 3, 4, 8}[rng.IntN(4)]
		half := 1 << (bits - 1)
		codes := make([]int8, rng.IntN(40)+rng.IntN(2)*1100)
		for i := range codes {
			codes[i] = int8(rng.IntN(2*half) - half)
		}
		if len(codes) > 0 && rng.IntN(3) == 0 {
			codes[rng.IntN(len(codes))] = int8(rng.IntN(256) - 128)
		}
		var want int32
		fits := true
		for _, q := range codes {
			want += int32(q)
			fits = fits && int(q) >= -half && int(q) < half
		}
		if sum, ok := sumCodes(codes, bits); sum != want || ok != fits {
			t.Fatalf("%d codes of %d bits: %d %v, want %d %v", len(codes), bits, sum, ok, want, fits)
		}
	}
}
