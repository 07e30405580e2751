package dataset

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/png"
	"strings"
	"testing"
)

// claimed is a PNG whose header says w x h grey pixels.
func claimed(t *testing.T, w, h uint32) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 1, 1))); err != nil {
		t.Fatal(err)
	}
	p := b.Bytes()
	binary.BigEndian.PutUint32(p[16:], w)
	binary.BigEndian.PutUint32(p[20:], h)
	binary.BigEndian.PutUint32(p[29:], crc32.ChecksumIEEE(p[12:29]))
	return p
}

// The limits hold at N and not at N+1, at their default size. The pictures of 64
// megapixels are headers: what a decoder would make of them is not made here.
func TestDefaultLimits(t *testing.T) {
	l := OpenOptions{}.limits()
	for _, c := range []struct {
		w, h uint32
		ok   bool
	}{{8192, 8192, true}, {DefaultMaxPixels, 1, true}, {1, DefaultMaxPixels, true}, {8193, 8192, false}, {8192, 8193, false}, {DefaultMaxPixels + 1, 1, false}, {1<<31 - 1, 1<<31 - 1, false}} {
		_, _, err := l.config(claimed(t, c.w, c.h))
		if (err == nil) != c.ok || err != nil && c.w < 1<<30 && !strings.Contains(err.Error(), "more than 64 megapixels") {
			t.Errorf("%d x %d: %v", c.w, c.h, err)
		}
	}
	file := append(claimed(t, 1, 1), make([]byte, DefaultMaxImageBytes)...) // what follows the picture is not read
	if _, _, err := l.decode(file[:DefaultMaxImageBytes]); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	if _, _, err := l.decode(file[:DefaultMaxImageBytes+1]); err == nil || !strings.Contains(err.Error(), "larger than 32 MiB") {
		t.Errorf("past the limit: %v", err)
	}
}
