package dataset

import (
	"math"
	"math/rand/v2"
)

// plane is an image that is being augmented, in bytes, with room for the next version of it. All arithmetic on pixels
// is in integers.
type plane struct {
	c, h, w    int
	pix, spare []byte // [C,H,W]
	fill       []byte // [C], for what comes in from outside
}

// done makes what was written to spare the image.
func (p *plane) done() { p.pix, p.spare = p.spare, p.pix }

// One is the unit of positions and factors in fixed point.
const one = 1 << 16

func fixed(x float64) int { return int(math.RoundToEven(x * one)) }

// cut replaces the image by a random part of it, at least minArea of the area, stretched to its size.
func (p *plane) cut(r *rand.PCG, minArea float64) {
	y, x, h, w, ok := rectangle(r, p.h, p.w, minArea, 1, 0.75)
	if !ok || h == p.h && w == p.w {
		return
	}
	// pixel centres: (i + 1/2)·h/H - 1/2 + y
	p.warp(mapping{yy: h * one / p.h, xx: w * one / p.w,
		y0: y*one + (h*one/p.h-one)/2, x0: x*one + (w*one/p.w-one)/2}, true)
}

// mapping gives the place in the source of a pixel (y, x): (yy·y + yx·x + y0, xy·y + xx·x + x0), in units of 1/one.
type mapping struct{ yy, yx, y0, xy, xx, x0 int }

// about makes the mapping turn around the centre of the image.
func (m mapping) about(p *plane) mapping {
	cy, cx := (p.h-1)*one/2, (p.w-1)*one/2
	mul := func(a, b int) int { return int(int64(a) * int64(b) / one) }
	m.y0 += cy - mul(m.yy, cy) - mul(m.yx, cx)
	m.x0 += cx - mul(m.xy, cy) - mul(m.xx, cx)
	return m
}

// warp draws the image anew through a mapping, between four pixels each. What lies outside is the nearest pixel where
// inside is set, else the fill.
func (p *plane) warp(m mapping, inside bool) {
	for y := range p.h {
		sy, sx := m.yy*y+m.y0, m.xy*y+m.x0
		for x := range p.w {
			iy, ix := sy>>16, sx>>16
			fy, fx := sy&(one-1)>>8, sx&(one-1)>>8 // in 1/256
			at := y*p.w + x
			if !inside && (iy < -1 || ix < -1 || iy >= p.h || ix >= p.w) {
				for ch := range p.c {
					p.spare[ch*p.h*p.w+at] = p.fill[ch]
				}
			} else {
				for ch := range p.c {
					a := p.pixel(ch, iy, ix, inside)*(256-fx) + p.pixel(ch, iy, ix+1, inside)*fx
					b := p.pixel(ch, iy+1, ix, inside)*(256-fx) + p.pixel(ch, iy+1, ix+1, inside)*fx
					p.spare[ch*p.h*p.w+at] = byte((a*(256-fy) + b*fy + 1<<15) >> 16)
				}
			}
			sy, sx = sy+m.yx, sx+m.xx
		}
	}
	p.done()
}

func (p *plane) pixel(ch, y, x int, inside bool) int {
	if y < 0 || x < 0 || y >= p.h || x >= p.w {
		if !inside {
			return int(p.fill[ch])
		}
		y, x = min(max(y, 0), p.h-1), min(max(x, 0), p.w-1)
	}
	return int(p.pix[(ch*p.h+y)*p.w+x])
}
