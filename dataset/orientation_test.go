package dataset

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/jpeg"
	"testing"
)

// exif is a JPEG with an Exif segment of one directory: a tag that does not matter, then the orientation.
func exif(data []byte, order binary.AppendByteOrder, orientation uint16) []byte {
	mark := "MM"
	if order == binary.AppendByteOrder(binary.LittleEndian) {
		mark = "II"
	}
	b := append([]byte("Exif\x00\x00"), mark...)
	b = order.AppendUint16(b, 42)
	b = order.AppendUint32(b, 10) // the directory, behind a gap
	b = order.AppendUint16(b, 0)
	b = order.AppendUint16(b, 2)
	for _, entry := range [][2]uint16{{0x0100, 77}, {0x0112, orientation}} {
		b = order.AppendUint16(b, entry[0])
		b = order.AppendUint16(b, 3)
		b = order.AppendUint32(b, 1)
		b = order.AppendUint16(b, entry[1])
		b = order.AppendUint16(b, 0)
	}
	b = order.AppendUint32(b, 0)
	out := append([]byte{}, data[:2]...)
	out = append(out, 0xff, 0xe0, 0, 4, 'x', 'y') // another segment, then a fill byte
	out = append(out, 0xff, 0xff, 0xe1)
	out = binary.BigEndian.AppendUint16(out, uint16(len(b)+2))
	return append(append(out, b...), data[2:]...)
}

func asJPEG(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 100}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Photos are stored as the sensor was held; the tag says where the first row and the first column belong. All eight
// ways, in both byte orders, grey and in colour, decode to the same upright picture.
func TestOrientation(t *testing.T) {
	const w, h = 48, 32
	shade := func(x, y int) color.NRGBA { // each quarter has its own
		return color.NRGBA{R: uint8(40 + 150*(2*x/w)), G: uint8(40 + 150*(2*y/h)), B: 90, A: 255}
	}
	// where the pixel of row r and column c of the file belongs
	place := map[uint16]func(r, c int) (x, y int){
		1: func(r, c int) (int, int) { return c, r },                 // first row on top, first column left
		2: func(r, c int) (int, int) { return w - 1 - c, r },         // top, right
		3: func(r, c int) (int, int) { return w - 1 - c, h - 1 - r }, // bottom, right
		4: func(r, c int) (int, int) { return c, h - 1 - r },         // bottom, left
		5: func(r, c int) (int, int) { return r, c },                 // left, top
		6: func(r, c int) (int, int) { return w - 1 - r, c },         // right, top
		7: func(r, c int) (int, int) { return w - 1 - r, h - 1 - c }, // right, bottom
		8: func(r, c int) (int, int) { return r, h - 1 - c },         // left, bottom
	}
	for o := uint16(1); o <= 8; o++ {
		for _, grey := range []bool{false, true} {
			sw, sh := w, h
			if o >= 5 {
				sw, sh = h, w
			}
			stored := image.NewNRGBA(image.Rect(0, 0, sw, sh))
			mono := image.NewGray(stored.Rect)
			for r := range sh {
				for c := range sw {
					stored.SetNRGBA(c, r, shade(place[o](r, c)))
					mono.Set(c, r, stored.At(c, r))
				}
			}
			data := asJPEG(t, stored)
			if grey {
				data = asJPEG(t, mono)
			}
			order := []binary.AppendByteOrder{binary.BigEndian, binary.LittleEndian}[o%2]
			img, format, err := DecodeImage(exif(data, order, o))
			if err != nil || format != "jpeg" {
				t.Fatalf("orientation %d: %q, %v", o, format, err)
			}
			if size := img.Bounds().Size(); size != image.Pt(w, h) {
				t.Errorf("orientation %d, grey %v: the picture is %v", o, grey, size)
				continue
			}
			for _, p := range []image.Point{{8, 8}, {40, 8}, {8, 24}, {40, 24}} {
				want := color.NRGBAModel.Convert(shade(p.X, p.Y)).(color.NRGBA)
				if grey {
					want = color.NRGBAModel.Convert(color.GrayModel.Convert(want)).(color.NRGBA)
				}
				got := color.NRGBAModel.Convert(img.At(p.X, p.Y)).(color.NRGBA)
				if far(got.R, want.R) || far(got.G, want.G) || far(got.B, want.B) {
					t.Errorf("orientation %d, grey %v: at %v %v, want %v", o, grey, p, got, want)
				}
			}
		}
	}
}

func far(a, b uint8) bool { return max(a, b)-min(a, b) > 6 }

// Notes that are cut short, lead outside or make no sense leave the picture as it is stored.
func TestOrientationDamaged(t *testing.T) {
	data := asJPEG(t, image.NewGray(image.Rect(0, 0, 4, 2)))
	whole := exif(data, binary.BigEndian, 6)
	if orientation(whole) != 6 {
		t.Fatal("the sound one is not read")
	}
	at := bytes.Index(whole, []byte("MM"))
	change := func(i int, b ...byte) []byte {
		c := bytes.Clone(whole)
		copy(c[at+i:], b)
		return c
	}
	for name, c := range map[string][]byte{
		"no exif": data, "orientation 0": exif(data, binary.BigEndian, 0), "orientation 9": exif(data, binary.LittleEndian, 9),
		"byte order": change(0, 'X', 'X'), "magic": change(2, 0, 43), "directory outside": change(4, 0xff, 0xff, 0xff, 0xff), "directory at the end": change(4, 0, 0, 0, 39),
		"no entries": change(10, 0, 0), "type long": change(26, 0, 4), "two values": change(28, 0, 0, 0, 2),
	} {
		if o := orientation(c); o != 1 {
			t.Errorf("%s: orientation %d", name, o)
		}
		if img, _, err := DecodeImage(c); err != nil || img.Bounds().Dx() != 4 {
			t.Errorf("%s: %v", name, err)
		}
	}
	for n := range whole { // cut anywhere
		if o := orientation(whole[:n]); o != 1 && o != 6 {
			t.Errorf("cut at %d: orientation %d", n, o)
		}
	}
}

func FuzzOrientation(f *testing.F) {
	data := asJPEG(f, image.NewGray(image.Rect(0, 0, 4, 2)))
	for o := range uint16(10) {
		f.Add(exif(data, binary.BigEndian, o))
		f.Add(exif(data, binary.LittleEndian, o))
	}
	f.Add([]byte("\xff\xd8\xff\xe1\x00\x10Exif\x00\x00II*\x00\xf6\xff\xff\xff"))
	f.Add([]byte("\xff\xd8\xff\xe1\xff\xffExif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff\x01\x12"))
	l := OpenOptions{MaxPixels: 1 << 16}.limits()
	f.Fuzz(func(t *testing.T, data []byte) {
		if o := orientation(data); o < 1 || o > 8 {
			t.Errorf("orientation %d", o)
		}
		if _, _, err := l.decode(data); err != nil {
			oneLineError(t, "fuzzed image", err)
		}
	})
}
