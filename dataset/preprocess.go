package dataset

import (
	"errors"
	"fmt"
	"image"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Resampling kernels of Preprocess.Interp.
const (
	Bicubic  = "bicubic"  // Catmull-Rom, widened when shrinking, as Pillow's BICUBIC
	Bilinear = "bilinear" // widened when shrinking, as Pillow's BILINEAR
	Nearest  = "nearest"
)

// Shape is the size of one image as the model takes it.
type Shape struct{ C, H, W int }

// String returns "CxHxW".
func (s Shape) String() string { return fmt.Sprintf("%dx%dx%d", s.C, s.H, s.W) }

// inside is the shape without a border of pad pixels.
func (s Shape) inside(pad int) Shape { return Shape{s.C, s.H - 2*pad, s.W - 2*pad} }

// Preprocess says how a picture becomes the input of a model: resize, centre crop, black border, then (x/255 - mean) / std for
// each channel. Grey pictures are repeated for a model of three channels, colour is reduced to luma for one.
// The zero value scales to 0..1 and stretches the picture to the model's size.
type Preprocess struct {
	Resize int       // pixels of the shorter side, the ratio kept; 0: no resize but for what Crop or the model needs
	Crop   int       // side of the square cut from the centre; 0: what the model takes
	Pad    int       // black pixels put on each side after that
	Mean   []float32 // per channel or one for all, in units of 0..1; nil is 0
	Std    []float32 // likewise, above zero; nil is 1
	Interp string    // Bicubic (also for ""), Bilinear or Nearest

	// Source says where the values come from, for messages: `preset "imagenet"`. It is not part of the text form.
	Source string
}

// String returns the text form, which ParsePreprocess reads back to an equal value but for Source:
// "mean=0.286 std=0.353 resize=28 crop=28 interp=bicubic".
func (p Preprocess) String() string {
	interp := p.Interp
	if interp == "" {
		interp = Bicubic
	}
	text := fmt.Sprintf("mean=%s std=%s resize=%d crop=%d interp=%s",
		joinFloats(p.Mean, "0"), joinFloats(p.Std, "1"), p.Resize, p.Crop, interp)
	if p.Pad > 0 {
		text += fmt.Sprintf(" pad=%d", p.Pad)
	}
	return text
}

func joinFloats(v []float32, none string) string {
	if len(v) == 0 {
		return none
	}
	parts := make([]string, len(v))
	for i, x := range v {
		parts[i] = strconv.FormatFloat(float64(x), 'g', -1, 32)
	}
	return strings.Join(parts, ",")
}

// ParsePreprocess reads the text form: words KEY=VALUE with the keys mean, std, resize, crop, pad and interp, each at most
// once and in any order; mean and std are one number or one a channel, parted by commas.
func ParsePreprocess(text string) (Preprocess, error) {
	p := Preprocess{Interp: Bicubic, Source: "given"}
	return p, p.set(strings.Fields(text))
}

// set changes p as the words KEY=VALUE say.
func (p *Preprocess) set(words []string) error {
	seen := map[string]bool{}
	for _, word := range words {
		key, value, ok := strings.Cut(word, "=")
		if !ok {
			return fmt.Errorf("preprocessing: %q is neither KEY=VALUE nor, in first place, one of %s", word, strings.Join(presetNames, ", "))
		}
		if seen[key] {
			return fmt.Errorf("preprocessing: %q is given twice", key)
		}
		seen[key] = true
		var err error
		switch key {
		case "mean":
			p.Mean, err = splitFloats(value)
		case "std":
			p.Std, err = splitFloats(value)
		case "resize":
			p.Resize, err = side(value)
		case "crop":
			p.Crop, err = side(value)
		case "pad":
			p.Pad, err = side(value)
		case "interp":
			p.Interp = value
		default:
			return fmt.Errorf("preprocessing: no key %q; there are mean, std, resize, crop, pad and interp", key)
		}
		if err != nil {
			return fmt.Errorf("preprocessing: %s: %w", word, err)
		}
	}
	return p.check()
}

func splitFloats(text string) ([]float32, error) {
	var out []float32
	for _, s := range strings.Split(text, ",") {
		v, err := strconv.ParseFloat(s, 32)
		if err != nil {
			return nil, fmt.Errorf("%q is not a number", s)
		}
		out = append(out, float32(v))
	}
	return out, nil
}

func side(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > maxSide {
		return 0, fmt.Errorf("want a number of pixels from 0 to %d", maxSide)
	}
	return n, nil
}

// check tells whether the values make sense for some model.
func (p Preprocess) check() error {
	for _, v := range p.Mean {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return fmt.Errorf("preprocessing: mean %v is not a finite number", v)
		}
	}
	for _, v := range p.Std {
		if !(v > 0) || math.IsInf(float64(v), 0) {
			return fmt.Errorf("preprocessing: std %v is not above zero", v)
		}
	}
	if len(p.Mean) > 1 && len(p.Std) > 1 && len(p.Mean) != len(p.Std) {
		return fmt.Errorf("preprocessing: %d means and %d stds", len(p.Mean), len(p.Std))
	}
	if p.Pad < 0 || p.Pad > maxSide {
		return fmt.Errorf("preprocessing: pad=%d: want 0 to %d", p.Pad, maxSide)
	}
	if p.Resize < 0 || p.Crop < 0 || p.Resize > maxSide || p.Crop > maxSide {
		return fmt.Errorf("preprocessing: resize=%d crop=%d: want 0 to %d", p.Resize, p.Crop, maxSide)
	}
	if p.Resize > 0 && p.Crop > p.Resize {
		return fmt.Errorf("preprocessing: crop=%d is larger than resize=%d", p.Crop, p.Resize)
	}
	if p.Interp != "" && !slices.Contains([]string{Bicubic, Bilinear, Nearest}, p.Interp) {
		return fmt.Errorf("preprocessing: interp=%q is none of %s, %s, %s", p.Interp, Bicubic, Bilinear, Nearest)
	}
	return nil
}

// Into gives the factor and the summand, for each channel or one for all, that turn an input normalised by p into one
// normalised by q.
func (p Preprocess) Into(q Preprocess) (scale, shift []float32) {
	of := func(v []float32, c int, none float64) float64 {
		if len(v) == 0 {
			return none
		}
		return float64(v[min(c, len(v)-1)])
	}
	for c := range max(1, len(p.Mean), len(p.Std), len(q.Mean), len(q.Std)) {
		m, s, n, t := of(p.Mean, c, 0), of(p.Std, c, 1), of(q.Mean, c, 0), of(q.Std, c, 1)
		scale, shift = append(scale, float32(s/t)), append(shift, float32((m-n)/t))
	}
	return scale, shift
}

// SameScale tells whether p and q normalise alike, however they resize and cut.
func (p Preprocess) SameScale(q Preprocess) bool {
	scale, shift := p.Into(q)
	for i := range scale {
		if scale[i] != 1 || shift[i] != 0 {
			return false
		}
	}
	return true
}

// Check tells whether the preprocessing fits a model that takes images of the given shape.
func (p Preprocess) Check(to Shape) error {
	if err := p.check(); err != nil {
		return err
	}
	if to.C < 1 || to.H < 1 || to.W < 1 || to.H > maxSide || to.W > maxSide {
		return fmt.Errorf("images of shape %v: every size must be known and positive", to)
	}
	if n := max(len(p.Mean), len(p.Std)); n > 1 && n != to.C {
		return fmt.Errorf("preprocessing: mean and std of %d channels for a model of %d", n, to.C)
	}
	in := to.inside(p.Pad)
	if in.H < 1 || in.W < 1 {
		return fmt.Errorf("preprocessing: pad=%d leaves nothing of the %d x %d pixels the model takes", p.Pad, to.W, to.H)
	}
	if p.Crop > 0 && (p.Crop != in.H || p.Crop != in.W) {
		return fmt.Errorf("preprocessing: crop=%d pad=%d for a model that takes %d x %d pixels", p.Crop, p.Pad, to.W, to.H)
	}
	if p.Resize > 0 && p.Resize < max(in.H, in.W) {
		return fmt.Errorf("preprocessing: resize=%d is smaller than the %d x %d pixels the model takes", p.Resize, in.W, in.H)
	}
	return nil
}

// Apply returns one picture as the model takes it, [C,H,W] of the given shape.
func (p Preprocess) Apply(img image.Image, to Shape) ([]float32, error) {
	if err := p.Check(to); err != nil {
		return nil, err
	}
	if to.C != 1 && to.C != 3 {
		return nil, errChannels(to.C)
	}
	if img.Bounds().Empty() {
		return nil, errors.New("the picture has no pixels")
	}
	b, err := p.fit(pixels{img: img}, to)
	if err != nil {
		return nil, err
	}
	out := make([]float32, len(b))
	p.normalise(out, b, p.tables(to.C))
	return out, nil
}

func errChannels(c int) error {
	return fmt.Errorf("pictures give 1 or 3 channels, the model takes %d; give preprocessed arrays (.npy) instead", c)
}

// tables returns the input value of every byte, for each channel.
func (p Preprocess) tables(c int) [][256]float32 {
	out := make([][256]float32, c)
	for ch := range out {
		mean, std := at(p.Mean, ch, 0), at(p.Std, ch, 1)
		for v := range 256 {
			x := float32(v) / 255
			x -= mean
			out[ch][v] = x / std
		}
	}
	return out
}

func at(v []float32, ch int, none float32) float32 {
	switch len(v) {
	case 0:
		return none
	case 1:
		return v[0]
	}
	return v[ch]
}

// normalise turns bytes [C,H,W] into input values.
func (p Preprocess) normalise(out []float32, b []byte, tables [][256]float32) {
	n := len(b) / len(tables)
	for ch := range tables {
		t := &tables[ch]
		dst := out[ch*n : (ch+1)*n]
		for i, v := range b[ch*n : (ch+1)*n] {
			dst[i] = t[v]
		}
	}
}
