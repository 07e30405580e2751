package dataset

import (
	"math/bits"
	"math/rand/v2"
)

// stream returns the random numbers that belong to (seed, a, b). Streams of different keys are independent for
// every practical purpose.
func stream(seed, a, b uint64) *rand.PCG {
	return rand.NewPCG(scramble(seed^scramble(a)), scramble(b+0x632be59bd9b4e019))
}

// scramble spreads the bits of x, one to one (the finaliser of the SplitMix64 generator).
func scramble(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// below returns a number from 0 to n-1, each equally likely.
func below(r *rand.PCG, n int) int {
	for {
		hi, lo := bits.Mul64(r.Uint64(), uint64(n))
		if lo >= -uint64(n)%uint64(n) {
			return int(hi)
		}
	}
}

// permutation returns the numbers 0 to n-1 in the order that belongs to (seed, epoch).
func permutation(n int, seed, epoch uint64) []int32 {
	p := make([]int32, n)
	for i := range p {
		p[i] = int32(i)
	}
	r := stream(seed, epoch, 0)
	for i := n - 1; i > 0; i-- {
		j := below(r, i+1)
		p[i], p[j] = p[j], p[i]
	}
	return p
}
