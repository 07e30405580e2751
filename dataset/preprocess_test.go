package dataset

import (
	"image"
	"math"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestPreprocessText(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		c := rapid.SampledFrom([]int{1, 3}).Draw(r, "channels")
		p := Preprocess{
			Mean:   rapid.SliceOfN(rapid.Float32Range(-300, 300), c, c).Draw(r, "mean"),
			Std:    rapid.SliceOfN(rapid.Float32Range(1e-6, 300), c, c).Draw(r, "std"),
			Crop:   rapid.IntRange(0, 300).Draw(r, "crop"),
			Interp: rapid.SampledFrom([]string{Bicubic, Bilinear, Nearest}).Draw(r, "interp"),
			Source: "given",
		}
		p.Resize = rapid.SampledFrom([]int{0, p.Crop + 10}).Draw(r, "resize")
		got, err := ParsePreprocess(p.String())
		if err != nil || !reflect.DeepEqual(got, p) {
			r.Fatalf("%q gives %+v, %v", p, got, err)
		}
	})
}

// What one preprocessing gives becomes what the other gives.
func TestPreprocessInto(t *testing.T) {
	img := image.NewRGBA(image.Rect(0, 0, 4, 4))
	for i := range img.Pix {
		img.Pix[i] = byte(i*37) | 255*byte(i%4/3)
	}
	to := Shape{3, 4, 4}
	for _, texts := range [][2]string{
		{"mean=0.5 std=0.25", "mean=0.1,0.2,0.3 std=0.5,0.6,0.7"},
		{"mean=0.1,0.2,0.3 std=2", "mean=0 std=1"},
		{"mean=0 std=1", "mean=0.4 std=0.3,0.2,0.1"},
	} {
		a, b := apply(t, texts[0], img, to), apply(t, texts[1], img, to)
		p, _ := ParsePreprocess(texts[0])
		q, _ := ParsePreprocess(texts[1])
		scale, shift := p.Into(q)
		for i := range a {
			c := i / 16
			if got := a[i]*scale[min(c, len(scale)-1)] + shift[min(c, len(shift)-1)]; math.Abs(float64(got-b[i])) > 1e-5 {
				t.Fatalf("%v: value %d is %v, want %v", texts, i, got, b[i])
			}
		}
	}
	p, _ := ParsePreprocess("mean=0.5 std=0.25 resize=8")
	q, _ := ParsePreprocess("mean=0.5,0.5,0.5 std=0.25")
	if !p.SameScale(q) {
		t.Error("two ways to write one normalisation differ")
	}
	if q, _ = ParsePreprocess("mean=0.5,0.5,0.4 std=0.25"); p.SameScale(q) {
		t.Error("two normalisations are the same")
	}
}

func apply(t *testing.T, text string, img image.Image, to Shape) []float32 {
	t.Helper()
	p, err := ParsePreprocess(text)
	if err != nil {
		t.Fatal(err)
	}
	x, err := p.Apply(img, to)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestPreprocessFaults(t *testing.T) {
	for text, want := range map[string]string{
		"mean=x":             `"x" is not a number`,
		"std=0":              "above zero",
		"std=-1":             "above zero",
		"std=Inf":            "above zero",
		"mean=NaN":           "finite",
		"mean=1,2 std=1,2,3": "2 means and 3 stds",
		"mean=1,2":           "2 channels for a model of 3",
		"resize=-1":          "pixels from 0",
		"resize=1e3":         "pixels from 0",
		"crop=99999999":      "pixels from 0",
		"resize=20 crop=32":  "larger than resize",
		"resize=20":          "smaller than the 32 x 32",
		"crop=28":            "takes 32 x 32",
		"interp=lanczos":     `"lanczos"`,
		"size=3":             `no key "size"`,
		"mean=1 mean=2":      "twice",
		"mean=1 imagenet":    "neither KEY=VALUE",
		"imagnet":            `no preset "imagnet"; there are auto, imagenet`,
		"imagenet crop=33":   "takes 32 x 32",
		"auto":               "needs a data set",
	} {
		_, err := Resolve(text, nil, Shape{3, 32, 32})
		oneLineError(t, text, err, want)
	}
	_, err := Resolve("none", nil, Shape{3, 0, 32})
	oneLineError(t, "unknown height", err, "3x0x32")
}

func TestPresets(t *testing.T) {
	for _, c := range []struct {
		text string
		to   Shape
		want string
	}{
		{"imagenet", Shape{3, 224, 224}, "mean=0.485,0.456,0.406 std=0.229,0.224,0.225 resize=256 crop=224 interp=bicubic"},
		{"imagenet resize=224 interp=bilinear", Shape{3, 224, 224}, "mean=0.485,0.456,0.406 std=0.229,0.224,0.225 resize=224 crop=224 interp=bilinear"},
		{"imagenet", Shape{3, 384, 384}, "mean=0.485,0.456,0.406 std=0.229,0.224,0.225 resize=438 crop=384 interp=bicubic"},
		{"imagenet", Shape{1, 224, 160}, "mean=0.449 std=0.226 resize=0 crop=0 interp=bicubic"},
		{"inception", Shape{3, 224, 224}, "mean=0.5 std=0.5 resize=256 crop=224 interp=bicubic"},
		{"half", Shape{3, 32, 32}, "mean=0.5 std=0.5 resize=36 crop=32 interp=bicubic"},
		{"cifar10", Shape{3, 32, 32}, "mean=0.4914,0.4822,0.4465 std=0.247,0.2435,0.2616 resize=32 crop=32 interp=bicubic"},
		{"mnist", Shape{1, 28, 28}, "mean=0.1307 std=0.3081 resize=28 crop=28 interp=bicubic"},
		{"fmnist", Shape{1, 32, 32}, "mean=0.286 std=0.353 resize=28 crop=28 interp=bicubic pad=2"},
		{"none", Shape{1, 28, 28}, "mean=0 std=1 resize=28 crop=28 interp=bicubic"},
		{"mean=0.5 std=0.25 resize=40", Shape{3, 32, 32}, "mean=0.5 std=0.25 resize=40 crop=0 interp=bicubic"},
	} {
		p, err := Resolve(c.text, nil, c.to)
		if err != nil || p.String() != c.want {
			t.Errorf("%s for %v gives %q, %v", c.text, c.to, p, err)
		}
	}
	for _, name := range Presets()[1:] {
		if _, err := Preset(name, Shape{3, 224, 224}); err != nil {
			t.Error(err)
		}
	}
}

func TestAuto(t *testing.T) {
	red := image.NewRGBA(image.Rect(0, 0, 4, 4))
	for i := range red.Pix {
		red.Pix[i] = []byte{255, 0, 51, 255}[i%4]
		if i < 32 && i%4 == 1 {
			red.Pix[i] = 255
		}
	}
	small := files{"train/a/1.png": encodePNG(red), "train/b/2.png": encodePNG(red), "test/a/3.png": picture(4, 4, 1), "test/b/4.png": picture(4, 4, 2)}
	large := files{"a/1.png": picture(100, 80, 1), "b/2.png": picture(100, 80, 2)}
	grey := files{testImages: append(idx(0, 1, 1, 2)[:16:16], 0, 255)}
	floats := files{"images.npy": npy(npyHeader("<f4", "(1, 1, 1, 2)"), make([]byte, 8))}
	for _, c := range []struct {
		files        files
		to           Shape
		want, source string
	}{
		{small, Shape{3, 4, 4}, "mean=1,0.5,0.2 std=1,0.5,1 resize=4 crop=4", "of the training images"},
		{small, Shape{1, 4, 4}, "mean=0.6157 std=0.2941 resize=4 crop=4", "of the training images"},
		{large, Shape{3, 56, 56}, "mean=0.485,0.456,0.406 std=0.229,0.224,0.225 resize=64 crop=56", `preset "imagenet"`},
		{grey, Shape{1, 8, 8}, "mean=0.5 std=0.5 resize=8 crop=8", "evaluation images, there are no others"},
		{grey, Shape{3, 8, 8}, "mean=0.5 std=0.5 resize=8 crop=8", "evaluation images"},
		{floats, Shape{1, 1, 2}, "mean=0 std=1 resize=0 crop=0", "preprocessed"},
	} {
		p, err := Resolve("auto", mustOpen(t, c.files.write(t), OpenOptions{}), c.to)
		if err != nil || p.String() != c.want+" interp=bicubic" || !strings.Contains(p.Source, c.source) {
			t.Errorf("auto for %v gives %q from %q, %v; want %q", c.to, p, p.Source, err, c.want)
		}
	}
	p, err := Resolve("auto mean=0.25", mustOpen(t, small.write(t), OpenOptions{}), Shape{3, 4, 4})
	if err != nil || p.String() != "mean=0.25 std=1,0.5,1 resize=4 crop=4 interp=bicubic" {
		t.Errorf("auto changed: %q, %v", p, err)
	}
}
