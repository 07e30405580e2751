package dataset

import (
	"math"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var everything = Augment{Flip: true, Pad: 1, MinArea: 0.4, RandOps: 2, RandStrength: 9, Erase: 0.5, Mixup: 0.8, CutMix: 1}

// A batch is the same whatever was asked for before and however many cores there are.
func TestAugmentIsAFunctionOfSeedEpochAndPlace(t *testing.T) {
	opt := LoaderOptions{Batch: 7, Seed: 4, Shuffle: true, Augment: everything}
	shape := Shape{3, 6, 5}
	want := epoch(t, mustLoader(t, greySet(t, 23), Preprocess{}, shape, opt), 2)
	for _, procs := range []int{1, 2, 8} {
		old := runtime.GOMAXPROCS(procs)
		l := mustLoader(t, greySet(t, 23), Preprocess{}, shape, opt)
		var got []Batch
		for i := l.Batches() - 1; i >= 0; i-- {
			b, err := l.Batch(2, i)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, *b)
		}
		runtime.GOMAXPROCS(old)
		slices.Reverse(got)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("GOMAXPROCS %d: %s", procs, d)
		}
	}
	opt.CacheBytes = -1
	if d := cmp.Diff(want, epoch(t, mustLoader(t, greySet(t, 23), Preprocess{}, shape, opt), 2)); d != "" {
		t.Errorf("without the cache: %s", d)
	}
	opt.Seed = 5
	if cmp.Equal(want, epoch(t, mustLoader(t, greySet(t, 23), Preprocess{}, shape, opt), 2)) {
		t.Error("another seed gives the same")
	}
}

// Every part of Augment changes images, and none leaves the range of the preprocessing.
func TestEveryAugmentation(t *testing.T) {
	split := greySet(t, 64)
	plain := epoch(t, mustLoader(t, split, Preprocess{}, Shape{1, 6, 5}, LoaderOptions{Batch: 64}), 0)[0]
	for _, a := range []Augment{{MinArea: 0.3}, {RandOps: 1, RandStrength: 8}, {Erase: 1}, {Mixup: 1}, {CutMix: 1}, everything} {
		b := epoch(t, mustLoader(t, split, Preprocess{}, Shape{1, 6, 5}, LoaderOptions{Batch: 64, Augment: a}), 0)[0]
		changed := 0
		for j := range b.N {
			if !slices.Equal(b.X[j*30:(j+1)*30], plain.X[j*30:(j+1)*30]) {
				changed++
			}
		}
		if changed < 32 || slices.Min(b.X) < 0 || slices.Max(b.X) > 1 {
			t.Errorf("%+v: %d of 64 images changed, values %v to %v", a, changed, slices.Min(b.X), slices.Max(b.X))
		}
		if (b.Other != nil) != (a.Mixup+a.CutMix > 0) {
			t.Errorf("%+v: other labels %v", a, b.Other)
		}
	}
}

func TestAugmentRefusals(t *testing.T) {
	for _, a := range []Augment{{Pad: -1}, {Pad: 7}, {MinArea: 2}, {MinArea: math.NaN()}, {RandOps: 17}, {RandOps: -1}, {RandStrength: 11},
		{Erase: 1.5}, {Mixup: 3}, {CutMix: -1}} {
		if _, err := NewLoader(greySet(t, 4), Preprocess{}, Shape{1, 6, 5}, LoaderOptions{Batch: 1, Augment: a}); err == nil {
			t.Errorf("%+v is taken", a)
		}
	}
}

// Mixed images are what the shares of their labels say.
func TestMix(t *testing.T) {
	split := greySet(t, 9)
	for j := range split.items {
		split.items[j].label = int32(j)
	}
	split.items[2].label = -1
	shape := Shape{1, 6, 5}
	plain := epoch(t, mustLoader(t, split, Preprocess{}, shape, LoaderOptions{Batch: 9}), 0)[0]
	mixed := epoch(t, mustLoader(t, split, Preprocess{}, shape, LoaderOptions{Batch: 9, Augment: Augment{Mixup: 1}}), 0)[0]
	cut := epoch(t, mustLoader(t, split, Preprocess{}, shape, LoaderOptions{Batch: 9, Augment: Augment{CutMix: 1}}), 0)[0]
	for j := range 9 {
		k := 8 - j
		for i := range 30 {
			x, y := plain.X[j*30+i], plain.X[k*30+i]
			if w := mixed.Share[j]*x + (1-mixed.Share[j])*y; math.Abs(float64(w-mixed.X[j*30+i])) > 1e-6 {
				t.Fatalf("mixup: image %d value %d is %v, want %v", j, i, mixed.X[j*30+i], w)
			}
		}
		own := 0
		for i := range 30 {
			if cut.X[j*30+i] == plain.X[j*30+i] {
				own++
			} else if cut.X[j*30+i] != plain.X[k*30+i] {
				t.Fatalf("cutmix: image %d value %d comes from neither image", j, i)
			}
		}
		if float64(own) < float64(cut.Share[j])*30-0.01 {
			t.Errorf("cutmix: image %d keeps %d of 30 pixels, its share is %v", j, own, cut.Share[j])
		}
		for _, b := range []Batch{mixed, cut} {
			want, other := int32(j), int32(k)
			if j == 2 || k == 2 {
				want = -1
			}
			if j == 4 && (b.Share[j] != 1 || b.Other[j] != 4) {
				t.Errorf("the odd image is mixed: %v", b.Share[j])
			}
			if b.Labels[j] != want || j != 2 && k != 2 && b.Other[j] != other {
				t.Errorf("image %d: labels %d and %d", j, b.Labels[j], b.Other[j])
			}
		}
	}
}

// Operations on a small image, known by hand.
func TestOperations(t *testing.T) {
	image := func(pix ...byte) *plane {
		return &plane{c: 1, h: 3, w: 3, pix: pix, spare: make([]byte, len(pix)), fill: []byte{7}}
	}
	ramp := func() *plane { return image(10, 20, 30, 40, 50, 60, 70, 80, 90) }
	for _, c := range []struct {
		name string
		do   func(p *plane)
		want []byte
	}{
		{"turned by 90 degrees", func(p *plane) { p.warp(mapping{yx: -one, xy: one}.about(p), false) }, []byte{70, 40, 10, 80, 50, 20, 90, 60, 30}},
		{"moved right by one", func(p *plane) { p.warp(mapping{yy: one, xx: one, x0: -one}, false) }, []byte{7, 10, 20, 7, 40, 50, 7, 70, 80}},
		{"moved by half a pixel, inside", func(p *plane) { p.warp(mapping{yy: one, xx: one, x0: one / 2}, true) }, []byte{15, 25, 30, 45, 55, 60, 75, 85, 90}},
		{"stretched", (*plane).stretch, []byte{0, 32, 64, 96, 128, 159, 191, 223, 255}},
		{"equalised", (*plane).equalise, []byte{0, 32, 64, 96, 128, 159, 191, 223, 255}},
		{"posterised", func(p *plane) { operations[10].do(p, 1) }, []byte{0, 16, 16, 32, 48, 48, 64, 80, 80}},
		{"solarised from 64", func(p *plane) { operations[11].do(p, 0.75) }, []byte{10, 20, 30, 40, 50, 60, 185, 175, 165}},
		{"twice as bright, nearly", func(p *plane) { operations[6].do(p, 1) }, []byte{19, 38, 57, 76, 95, 114, 133, 152, 171}},
		{"less contrast", func(p *plane) { operations[7].do(p, -1) }, []byte{46, 47, 48, 49, 50, 51, 52, 53, 54}},
		{"sharpened", func(p *plane) { p.pix[4] = 100; p.sharpen(-1) }, []byte{10, 20, 30, 40, 72, 60, 70, 80, 90}},
	} {
		p := ramp()
		c.do(p)
		if !slices.Equal(p.pix, c.want) {
			t.Errorf("%s: %v, want %v", c.name, p.pix, c.want)
		}
	}
}

// Shares follow Beta(a, a): mean 1/2, variance 1/(4(2a+1)).
func TestBeta(t *testing.T) {
	for _, a := range []float64{0.2, 0.8, 1, 2} {
		r := stream(1, 2, 3)
		const n = 20000
		var sum, squares float64
		for range n {
			x := beta(r, a)
			sum += x
			squares += x * x
		}
		mean := sum / n
		variance, want := squares/n-mean*mean, 1/(4*(2*a+1))
		if math.Abs(mean-0.5) > 0.01 || math.Abs(variance-want) > 0.05*want {
			t.Errorf("Beta(%v, %v): mean %.3f, variance %.4f, want %.4f", a, a, mean, variance, want)
		}
	}
}

func BenchmarkAugment(b *testing.B) {
	for name, a := range map[string]Augment{
		"light":  {Flip: true, Pad: 4},
		"strong": {Flip: true, Pad: 4, RandOps: 2, RandStrength: 9, Erase: 0.25, Mixup: 0.8, CutMix: 1},
	} {
		b.Run(name, func(b *testing.B) {
			split := greySet(b, 64)
			l, err := NewLoader(split, Preprocess{}, Shape{3, 32, 32}, LoaderOptions{Batch: 64, Augment: a})
			if err != nil {
				b.Fatal(err)
			}
			var batch Batch
			for i := range b.N {
				if err := l.Fill(&batch, i, 0); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(64*float64(b.N)/b.Elapsed().Seconds(), "images/s")
		})
	}
}
