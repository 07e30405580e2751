//go:build amd64 && !noasm

package kernel

// formVNNI multiplies any 8-bit codes by VPDPBUSD, 64 outputs side by side.
type formVNNI struct{ interleaved }

func lowBitVNNI(bits, abits int) form { return formVNNI{interleaved{64}} }

func (f formVNNI) unpack(dst, src []uint8, bits, k int) []uint8 {
	groups := len(dst) / 256
	switch {
	case bits == 8:
		return src
	case groups == 0:
	case bits == 2:
		unpack2AVX512(&dst[0], &src[0], groups)
	case bits == 3:
		unpack3AVX512(&dst[0], &src[0], groups)
	default:
		unpack4AVX512(&dst[0], &src[0], groups)
	}
	return dst
}

func (f formVNNI) tile(_ *Workspace, panel []uint8, k, m int, a []uint8, lda int, tile []int32, ldt int) {
	tileAVX512(&a[0], lda, &panel[0], (k+3)/4, &tile[0], 4*ldt, m)
}

// formAVX2 multiplies by VPMADDUBSW, 16 outputs side by side, and adds its 16-bit
// results for as many steps as cannot overflow.
type formAVX2 struct {
	interleaved
	steps int // 0: even one result may overflow
}

func lowBitAVX2(bits, abits int) form {
	return formAVX2{interleaved{16}, 1 << 15 / (2 * (1<<abits - 1) << (bits - 1))}
}

func (f formAVX2) unpack(dst, src []uint8, bits, k int) []uint8 {
	groups := len(dst) / 256
	switch {
	case bits == 8:
		return src
	case groups == 0:
	case bits == 2:
		unpack2AVX2(&dst[0], &src[0], groups)
	case bits == 3:
		unpack3AVX2(&dst[0], &src[0], groups)
	default:
		unpack4AVX2(&dst[0], &src[0], groups)
	}
	return dst
}

func (f formAVX2) tile(_ *Workspace, panel []uint8, k, m int, a []uint8, lda int, tile []int32, ldt int) {
	steps, block := (k+3)/4, f.kp(k)*f.lanes
	for c := 0; c < PanelWidth; c += f.lanes {
		b := panel[c/f.lanes*block:][:block]
		if f.steps == 0 {
			tileExactAVX2(&a[0], lda, &b[0], steps, &tile[c], 4*ldt, m, 0)
			continue
		}
		for s := 0; s < steps; s += f.steps {
			tileAVX2(&a[4*s], lda, &b[4*f.lanes*s], min(f.steps, steps-s), &tile[c], 4*ldt, m, s)
		}
	}
}
