package dataset

import (
	"image"
	"testing"
)

// TestBorder frames a picture in black instead of stretching it.
func TestBorder(t *testing.T) {
	p, err := ParsePreprocess("resize=2 crop=2 pad=1")
	if err != nil {
		t.Fatal(err)
	}
	if back, err := ParsePreprocess(p.String()); err != nil || back.String() != p.String() {
		t.Errorf("%q reads back as %q, %v", p, back, err)
	}
	img := image.NewGray(image.Rect(0, 0, 2, 2))
	copy(img.Pix, []byte{51, 102, 153, 204})
	got, err := p.Apply(img, Shape{1, 4, 4})
	if err != nil {
		t.Fatal(err)
	}
	want := []byte{0, 0, 0, 0, 0, 51, 102, 0, 0, 153, 204, 0, 0, 0, 0, 0}
	for i, v := range want {
		if got[i] != float32(v)/255 {
			t.Fatalf("got %v", got)
		}
	}
	for _, text := range []string{"pad=2", "resize=4 crop=4 pad=1", "pad=-1"} {
		p, err := ParsePreprocess(text)
		if err == nil {
			err = p.Check(Shape{1, 4, 4})
		}
		if err == nil {
			t.Errorf("%q fits a model of 4 x 4 pixels", text)
		}
	}
}

// TestMNISTBorder: presets for 28-pixel sets frame them for a model of 32 pixels and stretch them for larger ones.
func TestMNISTBorder(t *testing.T) {
	for side, want := range map[int]string{28: "resize=28 crop=28 interp=bicubic", 32: "resize=28 crop=28 interp=bicubic pad=2", 64: "resize=64 crop=64 interp=bicubic"} {
		p, err := Preset("fmnist", Shape{1, side, side})
		if err != nil {
			t.Fatal(err)
		}
		if got := p.String(); got != "mean=0.286 std=0.353 "+want {
			t.Errorf("%d pixels: %q", side, got)
		}
	}
}
