package runtime

import (
	"math"

	"github.com/qvitc/qvitc/ir"
)

func exp32(x float32) float32 { return float32(math.Exp(float64(x))) }

// conv is a two-dimensional convolution (ONNX Conv-11): the receptive field of
// every output position becomes one row of a matrix of patches, and one product
// per image and group does the rest. A patch embedding, whose kernel equals its
// stride, is the case in which every input element is copied once.
type conv struct {
	base
	x, w, bias, y   int // bias: -1 where left out
	dxg, dwg, dbg   grad
	cols, dcols     int // patches of all images, gradient of those of one
	batch, groups   int
	ci, h, wd       int // channels of the input, its height and width
	co, oh, ow      int
	kh, kw          int
	sh, sw, dh, dw  int
	padTop, padLeft int
	codes           *convCodes // forward on codes; nil: in floats
}

func buildConv(c *compiler, n *ir.Node) (bool, error) {
	x, w := c.shape(n.Inputs[0]), c.shape(n.Inputs[1])
	y := c.shape(n.Out())
	if len(x) != 4 || !isFloat(n.Inputs[0]) || !isFloat(n.Inputs[1]) || size(y) == 0 {
		return false, nil
	}
	two := func(name string) (int, int) {
		if v := n.Attrs.Ints(name); len(v) == 2 {
			return v[0], v[1]
		}
		return 1, 1
	}
	s := &conv{
		batch: x[0], groups: n.Attrs.Int("group", 1), ci: x[1], h: x[2], wd: x[3], co: w[0], oh: y[2], ow: y[3], kh: w[2], kw: w[3],
	}
	s.sh, s.sw = two("strides")
	s.dh, s.dw = two("dilations")
	switch n.Attrs.Str("auto_pad", "NOTSET") {
	case "NOTSET":
		if p := n.Attrs.Ints("pads"); len(p) == 4 {
			s.padTop, s.padLeft = p[0], p[1]
		}
	case "SAME_UPPER", "SAME_LOWER":
		extra := n.Attrs.Str("auto_pad", "") == "SAME_LOWER"
		s.padTop = samePad(s.h, s.oh, s.sh, (s.kh-1)*s.dh+1, extra)
		s.padLeft = samePad(s.wd, s.ow, s.sw, (s.kw-1)*s.dw+1, extra)
	}
	if k := c.convs[n]; k != nil {
		c.addPackedConv(n, s, k)
		return true, nil
	}
	s.x, s.w, s.bias, s.y = c.value(n.Inputs[0]), c.value(n.Inputs[1]), c.value(n.Input(2)), c.value(n.Out())
	l, k := s.oh*s.ow, s.ci/s.groups*s.kh*s.kw
	s.cols = c.temp(&s.base, s.batch*s.groups*l*k, untilBack)
	s.dcols = c.temp(&s.base, l*k, inBackward)
	s.in, s.out, s.keep = []int{s.x, s.w}, []int{s.y}, []int{s.w}
	s.dxg.id, s.dwg.id, s.dbg.id = s.x, s.w, s.bias
	s.dx = []*grad{&s.dxg, &s.dwg}
	if s.bias >= 0 {
		s.in, s.dx = append(s.in, s.bias), append(s.dx, &s.dbg)
	}
	c.trainOnCodes(n, s)
	c.emit(n, s)
	return true, nil
}

func samePad(in, out, stride, span int, lower bool) int {
	total := max(0, (out-1)*stride+span-in)
	if lower {
		return (total + 1) / 2
	}
	return total / 2
}

func (s *conv) forward(st *State) error {
	x, w, y, cols := st.v[s.x], st.v[s.w], st.v[s.y], st.v[s.cols]
	l, cg, og := s.oh*s.ow, s.ci/s.groups, s.co/s.groups
	k := cg * s.kh * s.kw
	if q := s.codes; q != nil {
		f := q.pack(st, s, k)
		for b := range s.batch {
			p := cols[b*l*k:][:l*k]
			s.gather(p, x[b*s.ci*s.h*s.wd:])
			q.image(st, s, &f, y[b*s.co*l:][:s.co*l], p, l, k)
		}
		return nil
	}
	for b := range s.batch {
		for g := range s.groups {
			p := cols[(b*s.groups+g)*l*k:][:l*k]
			s.gather(p, x[(b*s.ci+g*cg)*s.h*s.wd:])
			st.w.Gemm(false, true, og, l, k, 1, w[g*og*k:], k, p, k, 0, y[(b*s.co+g*og)*l:], l)
		}
	}
	if s.bias < 0 {
		return nil
	}
	bias := st.v[s.bias]
	for i := range s.batch * s.co {
		v := bias[i%s.co]
		for j := range y[i*l:][:l] {
			y[i*l+j] += v
		}
	}
	return nil
}

// gather writes the patches of one image and group, one row per output position.
func (s *conv) gather(p, x []float32) {
	cg := s.ci / s.groups
	for oy := range s.oh {
		for ox := range s.ow {
			y0, x0 := oy*s.sh-s.padTop, ox*s.sw-s.padLeft
			whole := s.dw == 1 && x0 >= 0 && x0+s.kw <= s.wd
			for ch := range cg {
				for ky := range s.kh {
					d := p[:s.kw]
					p = p[s.kw:]
					iy := y0 + ky*s.dh
					if iy < 0 || iy >= s.h {
						clear(d)
						continue
					}
					row := x[(ch*s.h+iy)*s.wd:][:s.wd]
					if whole {
						copy(d, row[x0:])
						continue
					}
					for kx := range d {
						d[kx] = 0
						if ix := x0 + kx*s.dw; ix >= 0 && ix < s.wd {
							d[kx] = row[ix]
						}
					}
				}
			}
		}
	}
}

// scatter adds patches back to one image and group.
func (s *conv) scatter(dx, p []float32) {
	cg := s.ci / s.groups
	for oy := range s.oh {
		for ox := range s.ow {
			y0, x0 := oy*s.sh-s.padTop, ox*s.sw-s.padLeft
			for ch := range cg {
				for ky := range s.kh {
					d := p[:s.kw]
					p = p[s.kw:]
					iy := y0 + ky*s.dh
					if iy < 0 || iy >= s.h {
						continue
					}
					row := dx[(ch*s.h+iy)*s.wd:][:s.wd]
					for kx, v := range d {
						if ix := x0 + kx*s.dw; ix >= 0 && ix < s.wd {
							row[ix] += v
						}
					}
				}
			}
		}
	}
}

func (s *conv) backward(st *State) {
	dy, w, cols := st.g[s.y], st.v[s.w], st.v[s.cols]
	l, cg, og := s.oh*s.ow, s.ci/s.groups, s.co/s.groups
	k := cg * s.kh * s.kw
	dx, dw, db := target(st, &s.dxg), target(st, &s.dwg), target(st, &s.dbg)
	for b := range s.batch {
		for g := range s.groups {
			gy := dy[(b*s.co+g*og)*l:]
			if dw != nil {
				st.w.Gemm(false, false, og, k, l, 1, gy, l, cols[(b*s.groups+g)*l*k:], k, 1, dw[g*og*k:], k)
			}
			if dx != nil {
				p := st.v[s.dcols]
				st.w.Gemm(true, false, l, k, og, 1, gy, l, w[g*og*k:], k, 0, p, k)
				s.scatter(dx[(b*s.ci+g*cg)*s.h*s.wd:], p)
			}
		}
	}
	if db == nil {
		return
	}
	for i := range s.batch * s.co {
		db[i%s.co] += sum(dy[i*l:][:l])
	}
}
