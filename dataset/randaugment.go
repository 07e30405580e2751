package dataset

import (
	"math"
	"math/rand/v2"
)

// operations of RandAugment; level is the strength from 0 to 1 with a random sign where the operation has two
// directions. At level 1 the image is turned by 30 degrees, sheared by 0.3, moved by 45 % of its side, reduced to 4 bits,
// solarised from 0 on, or its contrast, brightness, colour or sharpness changed by 90 %.
var operations = []struct {
	signed bool
	do     func(p *plane, level float64)
}{
	{false, func(*plane, float64) {}},
	{true, func(p *plane, l float64) { // turn
		sin, cos := fixed(math.Sin(l*math.Pi/6)), fixed(math.Cos(l*math.Pi/6))
		p.warp(mapping{yy: cos, yx: -sin, xy: sin, xx: cos}.about(p), false)
	}},
	{true, func(p *plane, l float64) { p.warp(mapping{yy: one, xx: one, xy: fixed(0.3 * l)}.about(p), false) }},
	{true, func(p *plane, l float64) { p.warp(mapping{yy: one, xx: one, yx: fixed(0.3 * l)}.about(p), false) }},
	{true, func(p *plane, l float64) {
		p.warp(mapping{yy: one, xx: one, x0: fixed(math.Round(0.45 * l * float64(p.w)))}, false)
	}},
	{true, func(p *plane, l float64) {
		p.warp(mapping{yy: one, xx: one, y0: fixed(math.Round(0.45 * l * float64(p.h)))}, false)
	}},
	{true, func(p *plane, l float64) { p.blend(l, func(int) int { return 0 }) }},
	{true, func(p *plane, l float64) { m := p.meanLuma(); p.blend(l, func(int) int { return m }) }},
	{true, func(p *plane, l float64) {
		if p.c == 3 {
			p.blend(l, p.luma)
		}
	}},
	{true, (*plane).sharpen},
	{false, func(p *plane, l float64) {
		mask := byte(0xff) << int(math.Round(4*l))
		p.lookup(func(v byte) byte { return v & mask })
	}},
	{false, func(p *plane, l float64) {
		from := math.Round(256 * (1 - l))
		p.lookup(func(v byte) byte {
			if float64(v) >= from {
				return 255 - v
			}
			return v
		})
	}},
	{false, func(p *plane, _ float64) { p.stretch() }},
	{false, func(p *plane, _ float64) { p.equalise() }},
}

// random applies one of the operations.
func (p *plane) random(r *rand.PCG, level float64) {
	op := operations[below(r, len(operations))]
	if negative := below(r, 2) == 1; negative && op.signed {
		level = -level
	}
	op.do(p, level)
}

// lookup replaces every byte.
func (p *plane) lookup(f func(byte) byte) {
	var t [256]byte
	for v := range t {
		t[v] = f(byte(v))
	}
	for i, v := range p.pix {
		p.pix[i] = t[v]
	}
}

// blend moves every byte away from (level above 0) or towards the value that base gives its place, by 90 % of the
// distance at level 1.
func (p *plane) blend(level float64, base func(at int) int) {
	f := fixed(1 + 0.9*level)
	n := p.h * p.w
	for at := range n {
		d := base(at)
		for i := at; i < len(p.pix); i += n {
			p.spare[i] = byte(min(255, max(0, d+(f*(int(p.pix[i])-d)+one/2)>>16)))
		}
	}
	p.done()
}

// luma is the brightness of a pixel.
func (p *plane) luma(at int) int {
	if p.c != 3 {
		return int(p.pix[at])
	}
	n := p.h * p.w
	return (19595*int(p.pix[at]) + 38470*int(p.pix[at+n]) + 7471*int(p.pix[at+2*n]) + one/2) >> 16
}

func (p *plane) meanLuma() int {
	n := p.h * p.w
	sum := 0
	for at := range n {
		sum += p.luma(at)
	}
	return (sum + n/2) / n
}

// sharpen blends with the image smoothed by the weights 1 1 1, 1 5 1, 1 1 1; the edge stays.
func (p *plane) sharpen(level float64) {
	f := fixed(1 + 0.9*level)
	copy(p.spare, p.pix)
	for ch := range p.c {
		for y := 1; y < p.h-1; y++ {
			at := (ch*p.h + y) * p.w
			up, row, down := p.pix[at-p.w:at], p.pix[at:at+p.w], p.pix[at+p.w:at+2*p.w]
			for x := 1; x < p.w-1; x++ {
				sum := 4 * int(row[x])
				for k := x - 1; k <= x+1; k++ {
					sum += int(up[k]) + int(row[k]) + int(down[k])
				}
				d := (sum + 6) / 13
				p.spare[at+x] = byte(min(255, max(0, d+(f*(int(row[x])-d)+one/2)>>16)))
			}
		}
	}
	p.done()
}

// stretch makes the darkest byte of each channel 0 and the brightest 255.
func (p *plane) stretch() {
	n := p.h * p.w
	for ch := range p.c {
		part := p.pix[ch*n : (ch+1)*n]
		lo, hi := part[0], part[0]
		for _, v := range part {
			lo, hi = min(lo, v), max(hi, v)
		}
		if lo == hi {
			continue
		}
		for i, v := range part {
			part[i] = byte((int(v-lo)*255 + int(hi-lo)/2) / int(hi-lo))
		}
	}
}

// equalise spreads the bytes of each channel so that all are about equally frequent.
func (p *plane) equalise() {
	n := p.h * p.w
	for ch := range p.c {
		part := p.pix[ch*n : (ch+1)*n]
		var count [256]int
		for _, v := range part {
			count[v]++
		}
		darkest := 0
		for count[darkest] == 0 {
			darkest++
		}
		least := count[darkest]
		if least == n {
			continue
		}
		var t [256]byte
		below := 0
		for v := range t {
			below += count[v]
			t[v] = byte(max(0, (below-least)*255+(n-least)/2) / (n - least))
		}
		for i, v := range part {
			part[i] = t[v]
		}
	}
}
