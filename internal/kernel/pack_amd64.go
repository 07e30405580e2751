//go:build amd64 && !noasm

package kernel

// vectorRows is the rows of codes that one call of the set's packRows packs.
func (f interleaved) vectorRows() int {
	if f.lanes == 64 {
		return 16
	}
	return 8
}

// putRowsBy packs by vectors where whole blocks of rows and of 16 codes allow.
func (f interleaved) putRowsBy(panel []uint8, k, j0, rows int, codes []uint8, ld int, offset uint8) {
	steps, v := k/16, f.vectorRows()
	for i := 0; i < rows; {
		// Rows up to the next gap between the lanes.
		left := min(rows-i, f.lanes-(j0+i)%f.lanes)
		d, s := panel[f.at(k, j0+i, 0):], codes[i*ld:]
		block, from := left, 0
		if steps > 0 && left >= 4 {
			block, from = 4, 16*steps
			switch {
			case left >= v && v == 16:
				block = v
				packRowsAVX512(&d[0], 4*f.lanes, &s[0], ld, steps, offset)
			case left >= v:
				block = v
				packRowsAVX2(&d[0], 4*f.lanes, &s[0], ld, steps, offset)
			default:
				packRows4AVX2(&d[0], 4*f.lanes, &s[0], ld, steps, offset)
			}
		}
		if from < k {
			f.putRowsFrom(panel, k, j0+i, from, block, s, ld, offset)
		}
		i += block
	}
}

func (f formVNNI) putRows(panel []uint8, k, j0, rows int, codes []uint8, ld int, offset uint8) {
	f.putRowsBy(panel, k, j0, rows, codes, ld, offset)
}

func (f formAVX2) putRows(panel []uint8, k, j0, rows int, codes []uint8, ld int, offset uint8) {
	f.putRowsBy(panel, k, j0, rows, codes, ld, offset)
}

func (f formVNNI) putCols(panel []uint8, k, p0, rows, cols int, codes []uint8, ld int, offset uint8) {
	packColsAVX512(&panel[f.at(k, 0, p0)], &codes[0], ld, rows, cols, offset)
}

// putKeys packs a whole panel, and zero times the sums of its outputs; false where it cannot.
func (f formVNNI) putKeys(panel []uint8, k, rows int, codes []uint8, ld int, offset uint8, sums []int32, zero int32) bool {
	if k%16 != 0 || rows < 16 {
		return false
	}
	packKeysAVX512(&panel[0], &codes[0], ld, k/16, rows, offset, &sums[0], zero)
	return true
}

func (f formAVX2) putCols(panel []uint8, k, p0, rows, cols int, codes []uint8, ld int, offset uint8) {
	steps, c := rows/4, 0
	if steps > 0 {
		for ; c+16 <= cols; c += 16 {
			packColsAVX2(&panel[f.at(k, c, p0)], &codes[c], ld, steps, 16, offset)
		}
		f.putColsFrom(panel, k, p0, 4*steps, c, cols, codes, ld, offset)
	}
	if done := 4 * steps; done < rows {
		f.interleaved.putCols(panel, k, p0+done, rows-done, cols, codes[done*ld:], ld, offset)
	}
}
