package dataset

import (
	"bytes"
	"encoding/binary"
	"image"
	stddraw "image/draw"
)

// orientation reads which way up a JPEG is: the tag Orientation (0x0112) of its Exif data, 1 to 8 (Exif 2.32, 4.6.4 A).
// 1, upright, where there is none that is sound: a camera's notes are no reason to refuse a picture.
func orientation(jpeg []byte) int {
	for at := 2; at+4 <= len(jpeg) && jpeg[at] == 0xff; {
		marker := jpeg[at+1]
		if marker == 0xff { // a fill byte
			at++
			continue
		}
		size := int(binary.BigEndian.Uint16(jpeg[at+2:]))
		if marker == 0xda || size < 2 || size > len(jpeg)-at-2 { // the scan begins: no Exif data behind
			break
		}
		body := jpeg[at+4 : at+2+size]
		if tiff, ok := bytes.CutPrefix(body, []byte("Exif\x00\x00")); ok && marker == 0xe1 {
			return tiffOrientation(tiff)
		}
		at += 2 + size
	}
	return 1
}

// tiffOrientation looks the tag up in the first directory of a TIFF header.
func tiffOrientation(b []byte) int {
	var order binary.ByteOrder = binary.BigEndian
	switch {
	case len(b) < 8:
		return 1
	case string(b[:4]) == "II*\x00":
		order = binary.LittleEndian
	case string(b[:4]) != "MM\x00*":
		return 1
	}
	start := int64(order.Uint32(b[4:]))
	if start+2 > int64(len(b)) {
		return 1
	}
	entries := b[start+2:]
	for n := order.Uint16(b[start:]); n > 0 && len(entries) >= 12; n-- {
		const short = 3
		if order.Uint16(entries) == 0x0112 && order.Uint16(entries[2:]) == short && order.Uint32(entries[4:]) == 1 {
			if o := int(order.Uint16(entries[8:])); o >= 1 && o <= 8 {
				return o
			}
			return 1
		}
		entries = entries[12:]
	}
	return 1
}

// upright turns and mirrors a picture that is stored in the given orientation.
func upright(img image.Image, orientation int) image.Image {
	if orientation == 1 {
		return img
	}
	from := img.Bounds()
	w, h := from.Dx(), from.Dy()
	size := image.Rect(0, 0, w, h)
	if orientation >= 5 { // rows become columns
		size = image.Rect(0, 0, h, w)
	}
	// target is where the pixel x, y goes.
	target := func(x, y int) (int, int) {
		if orientation >= 5 {
			x, y = y, x
		}
		switch orientation {
		case 2, 3, 6, 7:
			x = size.Dx() - 1 - x
		}
		switch orientation {
		case 3, 4, 7, 8:
			y = size.Dy() - 1 - y
		}
		return x, y
	}
	if g, ok := img.(*image.Gray); ok {
		out := image.NewGray(size)
		for y := range h {
			for x := range w {
				tx, ty := target(x, y)
				out.Pix[ty*out.Stride+tx] = g.Pix[y*g.Stride+x]
			}
		}
		return out
	}
	out := image.NewRGBA(size)
	row := image.NewRGBA(image.Rect(0, 0, w, 1))
	for y := range h {
		stddraw.Draw(row, row.Rect, img, image.Pt(from.Min.X, from.Min.Y+y), stddraw.Src)
		for x := range w {
			tx, ty := target(x, y)
			copy(out.Pix[ty*out.Stride+4*tx:][:4], row.Pix[4*x:][:4])
		}
	}
	return out
}
