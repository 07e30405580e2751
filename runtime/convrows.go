package runtime

// convRows gathers receptive fields, as many as there are in one row of an image at a
// time.
type convRows packedConv

func (s *convRows) items(l lane) int {
	lo, hi := l.rows((*packedConv)(s).positions())
	return (hi - lo + s.at.ow - 1) / s.at.ow
}

func (s *convRows) rowwise(int) (reads, writes []part) {
	return []part{{s.image, 0}}, []part{{s.rows, (*packedConv)(s).positions()}}
}

func (s *convRows) item(st *State, _ *hand, l lane, i int) {
	a := &s.at
	lo, hi := l.rows((*packedConv)(s).positions())
	lo += i * a.ow
	hi = min(hi, lo+a.ow)
	ld := st.p.values[s.rows].ld
	for at := lo; at < hi; {
		// positions in one row of an image
		b, oy, ox := at/(a.oh*a.ow), at/a.ow%a.oh, at%a.ow
		n := min(hi-at, a.ow-ox)
		image := st.u(s.image)[b*a.ci*a.h*a.wd:][:a.ci*a.h*a.wd]
		x0 := ox*a.sw - a.padLeft
		inside := a.dw == 1 && x0 >= 0 && x0+(n-1)*a.sw+a.kw <= a.wd
		p := st.u(s.rows)[at*ld:]
		for ch := range a.ci {
			for ky := range a.kh {
				iy := oy*a.sh - a.padTop + ky*a.dh
				var line []uint8
				if iy >= 0 && iy < a.h {
					line = image[(ch*a.h+iy)*a.wd:][:a.wd]
				}
				if inside && line != nil {
					fields(p, line[x0:], n, ld, a.sw, a.kw)
				} else {
					s.padded(p, line, n, ld, x0)
				}
				p = p[a.kw:]
			}
		}
		at += n
	}
}

// fields copies k bytes of a line to each of n rows, from places step apart.
func fields(rows, line []uint8, n, ld, step, k int) {
	rows, line = rows[:(n-1)*ld+k], line[:(n-1)*step+k]
	switch {
	case k == 4:
		for i := range n {
			*(*[4]uint8)(rows[i*ld:]) = *(*[4]uint8)(line[i*step:])
		}
	case k == 16:
		for i := range n {
			*(*[16]uint8)(rows[i*ld:]) = *(*[16]uint8)(line[i*step:])
		}
	case k%8 == 0:
		for i := range n {
			d, s := rows[i*ld:][:k], line[i*step:][:k]
			for ; len(d) >= 8 && len(s) >= 8; d, s = d[8:], s[8:] {
				*(*[8]uint8)(d) = *(*[8]uint8)(s)
			}
		}
	default:
		for i := range n {
			copy(rows[i*ld:][:k], line[i*step:])
		}
	}
}

// padded is fields where some of the places, or (nil) the line, lie outside the image.
func (s *convRows) padded(rows, line []uint8, n, ld, x0 int) {
	a := &s.at
	for i := range n {
		d := rows[i*ld:][:a.kw]
		for kx := range d {
			d[kx] = s.pad
			if ix := x0 + i*a.sw + kx*a.dw; ix >= 0 && ix < len(line) {
				d[kx] = line[ix]
			}
		}
	}
}
