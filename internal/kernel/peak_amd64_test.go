//go:build amd64 && !noasm

package kernel

import "testing"

// peaks measures the tile's instruction on registers only.
func peaks(b *testing.B) {
	if sets()[0].name != "avx512" {
		return
	}
	const steps = 4096
	b.Run("avx512/peak", func(b *testing.B) {
		gops(b, 24*16*4*2*steps, func() { peakAVX512(steps) })
	})
}
