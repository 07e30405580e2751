package dataset

import (
	"errors"
	"image"
	"image/color"
	stddraw "image/draw"
	"math"
	"slices"
	"sync"

	"golang.org/x/image/draw"
)

// pixels is an image as its source holds it; exactly one of img, bytes and floats is set.
type pixels struct {
	img     image.Image
	bytes   []byte    // [C,H,W]
	floats  []float32 // [C,H,W], preprocessed by whoever wrote it
	c, h, w int       // of bytes and floats
}

// Bounds on the work of resizing one image, for pictures a few pixels wide and very long.
const (
	maxSide    = 1 << 16 // pixels
	maxScratch = 1 << 23 // resized width times source height
)

var errThin = errors.New("the picture is too long and thin to resize")

// fit brings an image to the size c, h, w by the geometry of p and returns its bytes [C,H,W]. The result may share
// memory with the source and must not be written to.
func (p Preprocess) fit(src pixels, to Shape) ([]byte, error) {
	if p.Pad > 0 {
		return p.fitPadded(src, to)
	}
	if src.img == nil {
		if p.keeps(src.h, src.w, to) {
			if src.c == to.C {
				return src.bytes, nil
			}
			if src.c == 1 && to.C == 3 {
				return append(append(append(make([]byte, 0, 3*len(src.bytes)), src.bytes...), src.bytes...), src.bytes...), nil
			}
		}
		switch src.c {
		case 1:
			src.img = grey(src.bytes, src.h, src.w)
		case 3:
			src.img = rgb(src.bytes, src.h, src.w)
		default:
			return p.fitPlanes(src, to)
		}
	}
	src.img = opaque(src.img)
	size := src.img.Bounds().Size()
	if p.keeps(size.Y, size.X, to) {
		return planes(src.img, src.img.Bounds(), to.C), nil
	}
	if max(size.X, size.Y) > maxSide {
		return nil, errThin
	}
	rh, rw, window := p.geometry(size.Y, size.X, to)
	if rh == size.Y && rw == size.X {
		return planes(src.img, window.Add(src.img.Bounds().Min), to.C), nil
	}
	if rh > maxSide || rw > maxSide || int64(rw)*int64(size.Y) > maxScratch {
		return nil, errThin
	}
	dst := image.NewRGBA64(window)
	p.scaler(rw, rh, size).Scale(dst, image.Rect(0, 0, rw, rh), src.img, src.img.Bounds(), draw.Src, nil)
	return planes(dst, window, to.C), nil
}

// fitPadded is fit with a black border.
func (p Preprocess) fitPadded(src pixels, to Shape) ([]byte, error) {
	in, pad := to.inside(p.Pad), p.Pad
	p.Pad = 0
	b, err := p.fit(src, in)
	if err != nil {
		return nil, err
	}
	out := make([]byte, to.C*to.H*to.W)
	for row := range to.C * in.H {
		ch, y := row/in.H, row%in.H
		copy(out[(ch*to.H+y+pad)*to.W+pad:], b[row*in.W:(row+1)*in.W])
	}
	return out, nil
}

// fitPlanes is fit for arrays of other than one or three channels, plane by plane.
func (p Preprocess) fitPlanes(src pixels, to Shape) ([]byte, error) {
	if src.c != to.C {
		return nil, errors.New("the image has another number of channels than the model's input")
	}
	var out []byte
	for ch := range src.c {
		plane := pixels{img: grey(src.bytes[ch*src.h*src.w:], src.h, src.w)}
		b, err := p.fit(plane, Shape{1, to.H, to.W})
		if err != nil {
			return nil, err
		}
		out = append(out, b...)
	}
	return out, nil
}

// geometry returns the size h, w that a source of sh x sw pixels is resized to and the window cut out of it.
// The rules are those of torchvision's Resize(int) and CenterCrop; without resize and crop the picture is
// stretched to the model's size.
func (p Preprocess) geometry(sh, sw int, to Shape) (h, w int, window image.Rectangle) {
	h, w = sh, sw
	short := p.Resize
	switch {
	case p.Resize == 0 && p.Crop == 0:
		h, w = to.H, to.W
	case p.Resize == 0 && min(sh, sw) < p.Crop:
		short = p.Crop
	}
	if short > 0 {
		if sh < sw {
			h, w = short, scaled(short, sw, sh)
		} else {
			h, w = scaled(short, sh, sw), short
		}
	}
	y := int(math.RoundToEven(float64(h-to.H) / 2))
	x := int(math.RoundToEven(float64(w-to.W) / 2))
	return h, w, image.Rect(x, y, x+to.W, y+to.H)
}

// scaled returns side*long/short rounded down, at most maxSide+1.
func scaled(side, long, short int) int {
	return int(min(int64(side)*int64(long)/int64(short), maxSide+1))
}

// keeps tells whether an image of h x w pixels goes to the model as it is.
func (p Preprocess) keeps(h, w int, to Shape) bool {
	return p.Pad == 0 && h == to.H && w == to.W && (p.Resize == 0 || p.Resize == min(h, w))
}

// scalers holds resampling weights by kernel and sizes; most sets have one size only.
var scalers struct {
	sync.Mutex
	m map[scalerKey]draw.Scaler
}

type scalerKey struct {
	interp         string
	dw, dh, sw, sh int
}

// scaler returns the resampler of p from one size to another. x/image's kernels widen when they shrink, as those of
// Pillow and torchvision with antialias do.
func (p Preprocess) scaler(dw, dh int, from image.Point) draw.Scaler {
	if p.Interp == Nearest {
		return draw.NearestNeighbor
	}
	key := scalerKey{p.Interp, dw, dh, from.X, from.Y}
	scalers.Lock()
	defer scalers.Unlock()
	if s, ok := scalers.m[key]; ok {
		return s
	}
	kernel := draw.CatmullRom
	if p.Interp == Bilinear {
		kernel = draw.BiLinear
	}
	s := kernel.NewScaler(dw, dh, from.X, from.Y)
	if scalers.m == nil || len(scalers.m) >= 64 {
		scalers.m = map[scalerKey]draw.Scaler{}
	}
	scalers.m[key] = s
	return s
}

// planes returns the part r of an opaque image as bytes [C,H,W], C being 1 (luma) or 3 (RGB). Wider samples
// are rounded to 8 bits.
func planes(img image.Image, r image.Rectangle, c int) []byte {
	h, w := r.Dy(), r.Dx()
	out := make([]byte, c*h*w)
	if g, ok := img.(*image.Gray); ok {
		for y := range h {
			at := g.PixOffset(r.Min.X, r.Min.Y+y)
			copy(out[y*w:(y+1)*w], g.Pix[at:at+w])
		}
		for ch := 1; ch < c; ch++ {
			copy(out[ch*h*w:], out[:h*w])
		}
		return out
	}
	put := func(at int, red, green, blue uint32) {
		if c == 1 {
			out[at] = byte((19595*red + 38470*green + 7471*blue + 1<<15) >> 16)
			return
		}
		out[at], out[at+h*w], out[at+2*h*w] = byte(red), byte(green), byte(blue)
	}
	switch m := img.(type) {
	case *image.RGBA64:
		for y := range h {
			row := m.Pix[m.PixOffset(r.Min.X, r.Min.Y+y):]
			for x := range w {
				s := row[8*x : 8*x+6]
				put(y*w+x, to8(s[0], s[1]), to8(s[2], s[3]), to8(s[4], s[5]))
			}
		}
	case *image.NRGBA64, *image.Gray16:
		for y := range h {
			for x := range w {
				red, green, blue, _ := img.At(r.Min.X+x, r.Min.Y+y).RGBA()
				put(y*w+x, round8(red), round8(green), round8(blue))
			}
		}
	default:
		flat := image.NewRGBA(image.Rect(0, 0, w, h))
		stddraw.Draw(flat, flat.Rect, img, r.Min, stddraw.Src)
		for i := range h * w {
			s := flat.Pix[4*i : 4*i+3]
			put(i, uint32(s[0]), uint32(s[1]), uint32(s[2]))
		}
	}
	return out
}

// to8 rounds the 16-bit sample of the bytes hi, lo to 8 bits.
func to8(hi, lo byte) uint32 { return round8(uint32(hi)<<8 | uint32(lo)) }

func round8(v uint32) uint32 { return (v + 128) / 257 }

// opaque returns the image with its alpha dropped: the colours stored under transparent pixels count, as in
// Pillow's convert("RGB").
func opaque(img image.Image) image.Image {
	if m, ok := img.(*image.NYCbCrA); ok {
		return &m.YCbCr
	}
	if m, ok := img.(interface{ Opaque() bool }); ok && m.Opaque() {
		return img
	}
	switch m := img.(type) {
	case *image.NRGBA:
		c := *m
		c.Pix = slices.Clone(m.Pix)
		for i := 3; i < len(c.Pix); i += 4 {
			c.Pix[i] = 255
		}
		return &c
	case *image.NRGBA64:
		c := *m
		c.Pix = slices.Clone(m.Pix)
		for i := 6; i+1 < len(c.Pix); i += 8 {
			c.Pix[i], c.Pix[i+1] = 255, 255
		}
		return &c
	case *image.Paletted:
		c := *m
		c.Palette = make(color.Palette, len(m.Palette))
		for i := range c.Palette {
			c.Palette[i] = solid(m.Palette[i])
		}
		return &c
	}
	b := img.Bounds()
	out := image.NewNRGBA64(b)
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			out.Set(x, y, solid(img.At(x, y)))
		}
	}
	return out
}

// solid returns the colour without its alpha.
func solid(c color.Color) color.Color {
	if n, ok := c.(color.NRGBA); ok {
		n.A = 255
		return n
	}
	n := color.NRGBA64Model.Convert(c).(color.NRGBA64)
	n.A = 0xffff
	return n
}

// grey wraps the samples [H,W] as an image.
func grey(pix []byte, h, w int) *image.Gray {
	return &image.Gray{Pix: pix[:h*w], Stride: w, Rect: image.Rect(0, 0, w, h)}
}

// rgb copies the planes [3,H,W] into an image.
func rgb(pix []byte, h, w int) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for i := range h * w {
		img.Pix[4*i], img.Pix[4*i+1], img.Pix[4*i+2], img.Pix[4*i+3] = pix[i], pix[h*w+i], pix[2*h*w+i], 255
	}
	return img
}
