package dataset

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
)

// presetNames are the names Resolve and Preset take.
var presetNames = []string{"auto", "imagenet", "inception", "half", "cifar10", "mnist", "fmnist", "none"}

// Presets returns the names that Resolve takes.
func Presets() []string { return slices.Clone(presetNames) }

var (
	imagenetMean = []float32{0.485, 0.456, 0.406}
	imagenetStd  = []float32{0.229, 0.224, 0.225}
)

// Preset returns the preprocessing of a known recipe for a model of the given input shape:
//
//	imagenet   shorter side to 8/7 of the model's (256 for 224), centre crop, ImageNet mean and std
//	inception  the same with mean and std 0.5; also "half"
//	cifar10    the model's size, mean 0.4914,0.4822,0.4465, std 0.2470,0.2435,0.2616
//	mnist      28 pixels, a black border up to 36, else the model's size, mean 0.1307, std 0.3081
//	fmnist     the same with mean 0.2860, std 0.3530 (Fashion-MNIST)
//	none       the model's size, 0..1
//
// Sizes are for square inputs; for others the picture is stretched. Three-channel figures are averaged for a model of one.
func Preset(name string, to Shape) (Preprocess, error) {
	p := Preprocess{Interp: Bicubic, Source: fmt.Sprintf("preset %q", name)}
	eighth, native := false, 0
	switch name {
	case "imagenet":
		p.Mean, p.Std, eighth = imagenetMean, imagenetStd, true
	case "inception", "half":
		p.Mean, p.Std, eighth = []float32{0.5}, []float32{0.5}, true
	case "cifar10":
		p.Mean, p.Std = []float32{0.4914, 0.4822, 0.4465}, []float32{0.2470, 0.2435, 0.2616}
	case "mnist":
		p.Mean, p.Std, native = []float32{0.1307}, []float32{0.3081}, mnistSide
	case "fmnist":
		p.Mean, p.Std, native = []float32{0.2860}, []float32{0.3530}, mnistSide
	case "none":
	default:
		return p, fmt.Errorf("preprocessing: no preset %q; there are %s", name, strings.Join(presetNames, ", "))
	}
	if to.C == 1 && len(p.Mean) == 3 {
		p.Mean, p.Std = []float32{average(p.Mean)}, []float32{average(p.Std)}
	}
	if to.H == to.W {
		p.Resize, p.Crop = to.H, to.H
		if eighth {
			p.Resize = to.H * 8 / 7
		}
		p.border(native, to)
	}
	return p, p.Check(to)
}

const (
	mnistSide = 28 // pixels of an MNIST picture
	maxBorder = 4  // pixels that auto and the MNIST presets put on each side instead of resizing
)

// border keeps pictures of the given side as they are and puts them into a black frame where the model takes a few
// pixels more, as networks on MNIST have it since LeNet-5.
func (p *Preprocess) border(side int, to Shape) {
	if pad := (to.H - side) / 2; side > 0 && to.H == to.W && to.H == side+2*pad && pad > 0 && pad <= maxBorder {
		p.Resize, p.Crop, p.Pad = side, side, pad
	}
}

func average(v []float32) float32 {
	return float32(round4((float64(v[0]) + float64(v[1]) + float64(v[2])) / 3))
}

// round4 rounds to four decimals.
func round4(x float64) float64 { return math.RoundToEven(x*1e4) / 1e4 }

// Resolve reads a preprocessing as users write it, for images of set that go to a model of the given input shape:
// a preset or "auto" (also ""), which words KEY=VALUE may follow and change, or those words alone as in the text
// form: "imagenet resize=224". The set is looked at for "auto" only and may be nil otherwise.
//
// IDX pictures a few pixels smaller than the model takes are framed in black, others resized.
//
// auto: for sets of small images (64 pixels or less) the set's own mean and standard deviation over its training
// images, rounded to four decimals; for others the preset imagenet. Arrays of floating-point numbers are taken as they
// are. Source tells which it was.
func Resolve(text string, set *Set, to Shape) (Preprocess, error) {
	return ResolveContext(context.Background(), text, set, to)
}

// ResolveContext is Resolve with a context that can end it early.
func ResolveContext(ctx context.Context, text string, set *Set, to Shape) (Preprocess, error) {
	words := strings.Fields(text)
	var p Preprocess
	var err error
	switch {
	case len(words) == 0 || words[0] == "auto":
		if set == nil {
			return p, fmt.Errorf("preprocessing: \"auto\" needs a data set; give a preset or values")
		}
		p, err = auto(ctx, set, to)
		words = words[min(1, len(words)):]
	case !strings.Contains(words[0], "="):
		p, err = Preset(words[0], to)
		words = words[1:]
	default:
		p, err = ParsePreprocess(text)
		words = nil
	}
	if err != nil {
		return p, err
	}
	if len(words) > 0 {
		if err := p.set(words); err != nil {
			return p, err
		}
		p.Source += " changed by " + strings.Join(words, " ")
	}
	return p, p.Check(to)
}

const (
	smallSide  = 64    // pixels; auto takes the own statistics of sets of images up to this size
	autoImages = 50000 // image files that auto decodes at most
)

// auto chooses the preprocessing by what the set holds.
func auto(ctx context.Context, set *Set, to Shape) (Preprocess, error) {
	items, of := set.train, "the training images"
	if len(items) == 0 {
		items, of = set.eval, "the evaluation images, there are no others"
	}
	kind, isArray := set.first().src.(*array)
	if set.Preprocessed() {
		return Preprocess{Interp: Bicubic, Source: "none: the array is preprocessed"}, nil
	}
	if to.C != 1 && to.C != 3 && !isArray {
		return Preprocess{}, errChannels(to.C)
	}
	if set.side > smallSide && (to.C == 1 || to.C == 3) {
		return Preset("imagenet", to)
	}
	if !isArray && len(items) > autoImages {
		few := make([]item, autoImages)
		for i := range few {
			few[i] = items[i*len(items)/autoImages]
		}
		items, of = few, fmt.Sprintf("%d of %s", autoImages, of)
	}
	p, err := Preset("none", to)
	if err != nil {
		return p, err
	}
	p.Mean, p.Std, err = statistics(ctx, items, to.C)
	p.Source = "auto: mean and std of " + of
	if set.Format == "idx" && isArray && kind.h == kind.w {
		p.border(kind.h, to)
	}
	if err != nil {
		return p, fmt.Errorf("%s: preprocessing \"auto\": %w", set.Path, err)
	}
	return p, nil
}

// statistics returns the mean and standard deviation of each channel over the pixels of items as stored, not resized.
// Images that cannot be read are passed over. One value is returned for grey images.
func statistics(ctx context.Context, items []item, c int) (mean, std []float32, err error) {
	var mu sync.Mutex
	var sums [][256]uint64
	err = parallel(ctx, len(items), func(i int) error {
		px, err := items[i].src.load(items[i].k)
		if err != nil {
			return nil
		}
		channels, b := c, px.bytes
		switch {
		case px.img != nil:
			b = planes(opaque(px.img), px.img.Bounds(), c)
		case px.c == 1:
			channels = 1
		case px.c != c:
			if b, err = (Preprocess{}).fit(px, Shape{c, px.h, px.w}); err != nil {
				return err
			}
		}
		counts := make([][256]uint64, channels)
		n := len(b) / channels
		for ch := range channels {
			for _, v := range b[ch*n : (ch+1)*n] {
				counts[ch][v]++
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if sums == nil {
			sums = make([][256]uint64, channels)
		}
		for ch := range counts {
			for v, n := range counts[ch] {
				sums[ch][v] += n
			}
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	if sums == nil {
		return nil, nil, fmt.Errorf("no image can be read")
	}
	for ch := range sums {
		var n, sum, squares float64
		for v, k := range sums[ch] {
			n += float64(k)
			sum += float64(k) * float64(v)
			squares += float64(k) * float64(v) * float64(v)
		}
		m := sum / n
		s := math.Sqrt(max(squares/n-m*m, 0)) / 255
		if s < 1e-4 {
			s = 1 // all pixels alike
		}
		mean = append(mean, float32(round4(m/255)))
		std = append(std, float32(round4(s)))
	}
	if same(mean) && same(std) {
		mean, std = mean[:1], std[:1]
	}
	return mean, std, nil
}

func same(v []float32) bool {
	for _, x := range v {
		if x != v[0] {
			return false
		}
	}
	return true
}
