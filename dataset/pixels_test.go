package dataset

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"math"
	"testing"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
)

// TestGeometry compares with torchvision's Resize(int) and CenterCrop.
func TestGeometry(t *testing.T) {
	for _, c := range []struct {
		h, w, resize, crop int
		to                 Shape
		wantH, wantW       int
		y, x               int
	}{
		{375, 500, 256, 224, Shape{3, 224, 224}, 256, 341, 16, 58},
		{500, 375, 256, 224, Shape{3, 224, 224}, 341, 256, 58, 16},
		{256, 341, 256, 224, Shape{3, 224, 224}, 256, 341, 16, 58},
		{28, 28, 32, 32, Shape{1, 32, 32}, 32, 32, 0, 0},
		{28, 20, 0, 0, Shape{1, 32, 48}, 32, 48, 0, 0},
		{28, 20, 0, 16, Shape{1, 16, 16}, 28, 20, 6, 2},
		{10, 20, 0, 16, Shape{1, 16, 16}, 16, 32, 0, 8},
		{33, 100, 40, 0, Shape{3, 32, 40}, 40, 121, 4, 40},
	} {
		h, w, r := Preprocess{Resize: c.resize, Crop: c.crop}.geometry(c.h, c.w, c.to)
		if h != c.wantH || w != c.wantW || r != image.Rect(c.x, c.y, c.x+c.to.W, c.y+c.to.H) {
			t.Errorf("%+v: %d x %d, window %v", c, h, w, r)
		}
	}
}

// ramp has red from left to right, green from top to bottom, blue 100.
func ramp(w, h int) *image.RGBA {
	img := image.NewRGBA(image.Rect(3, 5, 3+w, 5+h))
	for y := range h {
		for x := range w {
			img.SetRGBA(3+x, 5+y, color.RGBA{byte(255 * x / (w - 1)), byte(255 * y / (h - 1)), 100, 255})
		}
	}
	return img
}

func TestCropWithoutResize(t *testing.T) {
	b, err := Preprocess{Resize: 16}.fit(pixels{img: ramp(20, 16)}, Shape{3, 16, 16})
	if err != nil {
		t.Fatal(err)
	}
	for y := range 16 {
		for x := range 16 {
			at := y*16 + x
			if b[at] != byte(255*(x+2)/19) || b[256+at] != byte(255*y/15) || b[512+at] != 100 {
				t.Fatalf("pixel %d,%d is %d,%d,%d", x, y, b[at], b[256+at], b[512+at])
			}
		}
	}
}

// TestResample checks every kernel on a ramp, which stays a ramp, and on one colour, which stays that colour.
func TestResample(t *testing.T) {
	for _, interp := range []string{Bicubic, Bilinear, Nearest} {
		for _, to := range []Shape{{3, 16, 16}, {3, 50, 50}, {1, 16, 16}} {
			p := Preprocess{Interp: interp}
			b, err := p.fit(pixels{img: ramp(32, 32)}, to)
			if err != nil {
				t.Fatal(err)
			}
			mid, n := b[to.H/2*to.W:], to.H*to.W
			if to.C == 3 {
				for x := 3; x < to.W-3; x++ {
					want := (float64(x) + 0.5) * 32 / float64(to.W)
					want = (want - 0.5) * 255 / 31
					if d := math.Abs(float64(mid[x]) - want); d > 1.6 && interp != Nearest || d > 9 {
						t.Errorf("%s to %v: red at %d is %d, want %.1f", interp, to, x, mid[x], want)
					}
				}
				if mid[2*n] != 100 {
					t.Errorf("%s: blue is %d", interp, mid[2*n])
				}
			}
			flat := image.NewUniform(color.RGBA{200, 100, 50, 255})
			src := image.NewRGBA(image.Rect(0, 0, 37, 23))
			for i := range 37 * 23 {
				src.Set(i%37, i/37, flat.C)
			}
			b, err = p.fit(pixels{img: src}, to)
			want := []byte{200, 100, 50}
			if to.C == 1 {
				want = []byte{byte((19595*200 + 38470*100 + 7471*50 + 1<<15) >> 16)}
			}
			for i, v := range b {
				if v != want[i/n] {
					t.Fatalf("%s to %v: sample %d is %d, want %d, %v", interp, to, i, v, want[i/n], err)
				}
			}
		}
	}
}

// TestColourModels decodes pictures of one colour in each model.
func TestColourModels(t *testing.T) {
	each := func(img interface {
		image.Image
		Set(x, y int, c color.Color)
	}, c color.Color) image.Image {
		for i := range 64 {
			img.Set(i%8, i/8, c)
		}
		return img
	}
	r := image.Rect(0, 0, 8, 8)
	var asTIFF, asBMP, asGIF bytes.Buffer
	rgba := each(image.NewRGBA(r), color.RGBA{200, 100, 50, 255})
	tiff.Encode(&asTIFF, rgba, nil)
	bmp.Encode(&asBMP, rgba)
	pal := image.NewPaletted(r, color.Palette{color.RGBA{200, 100, 50, 255}, color.Transparent})
	gif.Encode(&asGIF, pal, nil)
	clear := image.NewPaletted(r, color.Palette{color.NRGBA{200, 100, 50, 0}})
	for name, c := range map[string]struct {
		data []byte
		want [3]byte
		off  int
	}{
		"png":           {encodePNG(rgba), [3]byte{200, 100, 50}, 0},
		"jpeg":          {encodeJPEG(rgba), [3]byte{200, 100, 50}, 3},
		"gif":           {asGIF.Bytes(), [3]byte{200, 100, 50}, 0},
		"tiff":          {asTIFF.Bytes(), [3]byte{200, 100, 50}, 0},
		"bmp":           {asBMP.Bytes(), [3]byte{200, 100, 50}, 0},
		"grey":          {encodePNG(each(image.NewGray(r), color.Gray{77})), [3]byte{77, 77, 77}, 0},
		"grey jpeg":     {encodeJPEG(each(image.NewGray(r), color.Gray{77})), [3]byte{77, 77, 77}, 1},
		"16-bit grey":   {encodePNG(each(image.NewGray16(r), color.Gray16{77*257 + 128})), [3]byte{77, 77, 77}, 0},
		"16-bit colour": {encodePNG(each(image.NewRGBA64(r), color.RGBA64{200 * 257, 100*257 - 120, 50*257 + 120, 0xffff})), [3]byte{200, 100, 50}, 0},
		"transparent":   {encodePNG(each(image.NewNRGBA(r), color.NRGBA{200, 100, 50, 0})), [3]byte{200, 100, 50}, 0},
		"clear palette": {encodePNG(clear), [3]byte{200, 100, 50}, 0},
		"clear 16-bit":  {encodePNG(each(image.NewNRGBA64(r), color.NRGBA64{200 * 257, 100 * 257, 50 * 257, 0})), [3]byte{200, 100, 50}, 0},
		"half":          {encodePNG(each(image.NewNRGBA(r), color.NRGBA{200, 100, 50, 128})), [3]byte{200, 100, 50}, 0},
		"palette":       {encodePNG(pal), [3]byte{200, 100, 50}, 0},
		"cmyk":          {cmykJPEG(), [3]byte{63, 63, 63}, 2},
	} {
		img, _, err := DecodeImage(c.data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, side := range []int{8, 5} {
			b, err := Preprocess{}.fit(pixels{img: img}, Shape{3, side, side})
			for i, v := range b {
				if d := int(v) - int(c.want[i/(side*side)]); d > c.off || d < -c.off {
					t.Errorf("%s at %d pixels: sample %d is %d, want %v, %v", name, side, i, v, c.want, err)
					break
				}
			}
		}
		if _, err := (Preprocess{}).fit(pixels{img: img}, Shape{1, 8, 8}); err != nil {
			t.Error(err)
		}
	}
}

func TestPlanarBytes(t *testing.T) {
	src := pixels{bytes: []byte{1, 3, 3, 5, 11, 13, 13, 15, 21, 23, 23, 25}, c: 3, h: 2, w: 2}
	for _, c := range []struct {
		src  pixels
		to   Shape
		want string
	}{
		{src, Shape{3, 2, 2}, "[1 3 3 5 11 13 13 15 21 23 23 25]"},
		{src, Shape{3, 1, 1}, "[3 13 23]"},
		{pixels{bytes: []byte{5, 6}, c: 1, h: 1, w: 2}, Shape{3, 1, 2}, "[5 6 5 6 5 6]"},
		{pixels{bytes: []byte{5, 5}, c: 1, h: 1, w: 2}, Shape{3, 2, 1}, "[5 5 5 5 5 5]"},
		{pixels{bytes: []byte{5, 6}, c: 2, h: 1, w: 1}, Shape{2, 2, 2}, "[5 5 5 5 6 6 6 6]"},
	} {
		got, err := Preprocess{}.fit(c.src, c.to)
		if err != nil || fmt.Sprint(got) != c.want {
			t.Errorf("to %v: %v, %v", c.to, got, err)
		}
	}
}

func TestThinPictures(t *testing.T) {
	for name, c := range map[string]struct {
		w, h int
		p    Preprocess
	}{
		"side":    {1, maxSide + 1, Preprocess{}},
		"resized": {1, 60_000, Preprocess{Resize: 8}},
		"scratch": {1, 60_000, Preprocess{Resize: 256}},
	} {
		_, err := c.p.fit(pixels{img: image.NewGray(image.Rect(0, 0, c.w, c.h))}, Shape{1, 8, 8})
		oneLineError(t, name, err, "long and thin")
	}
	one, err := Preprocess{Resize: 9, Crop: 8}.Apply(image.NewGray(image.Rect(0, 0, 1, 1)), Shape{3, 8, 8})
	if err != nil || len(one) != 3*64 {
		t.Error(err)
	}
	_, err = Preprocess{}.Apply(image.NewGray(image.Rect(0, 0, 1, 1)), Shape{4, 8, 8})
	oneLineError(t, "four channels", err, "1 or 3 channels")
	_, err = Preprocess{}.Apply(image.NewGray(image.Rectangle{}), Shape{1, 8, 8})
	oneLineError(t, "no pixels", err, "no pixels")
}

func TestNormalise(t *testing.T) {
	img := image.NewGray(image.Rect(0, 0, 2, 1))
	img.Pix[1] = 255
	got, err := Preprocess{Mean: []float32{0.25, 0.5, 0.5}, Std: []float32{0.5, 0.5, 2}}.Apply(img, Shape{3, 1, 2})
	if err != nil || fmt.Sprint(got) != "[-0.5 1.5 -1 1 -0.25 0.25]" {
		t.Errorf("%v, %v", got, err)
	}
}

func FuzzImage(f *testing.F) {
	rgba := ramp(9, 7)
	var asTIFF, asBMP, asGIF bytes.Buffer
	tiff.Encode(&asTIFF, rgba, nil)
	bmp.Encode(&asBMP, rgba)
	gif.Encode(&asGIF, rgba, nil)
	for _, data := range [][]byte{encodePNG(rgba), encodeJPEG(rgba), asTIFF.Bytes(), asBMP.Bytes(), asGIF.Bytes(), cmykJPEG(), hugePNG(),
		[]byte("RIFF\x1a\x00\x00\x00WEBPVP8L\x0d\x00\x00\x00\x2f\x00\x00\x00\x10\x07\x10\x11\x11\x88\x88\xfe\x07\x00"), {}} {
		f.Add(data)
	}
	l := OpenOptions{MaxPixels: 1 << 16}.limits()
	f.Fuzz(func(t *testing.T, data []byte) {
		img, _, err := l.decode(data)
		if err != nil {
			oneLineError(t, "fuzzed image", err)
			return
		}
		b, err := Preprocess{Resize: 9, Crop: 8}.fit(pixels{img: img}, Shape{3, 8, 8})
		if err == nil && len(b) != 3*64 {
			t.Errorf("%d bytes", len(b))
		}
	})
}
