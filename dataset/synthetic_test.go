package dataset

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

func TestSynthetic(t *testing.T) {
	shape := Shape{C: 3, H: 32, W: 32}
	batch := func(seed uint64, split string) *Batch {
		t.Helper()
		set := Synthetic(shape, 40, 20, seed)
		sp, err := set.Split(split)
		if err != nil {
			t.Fatal(err)
		}
		prep, err := Resolve("auto", set, shape)
		if err != nil {
			t.Fatal(err)
		}
		l, err := NewLoader(sp, prep, shape, LoaderOptions{Batch: sp.Len()})
		if err != nil {
			t.Fatal(err)
		}
		b, err := l.Batch(0, 0)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b := batch(1, Train)
	if b.N != 40 || b.Labels[0] != -1 {
		t.Fatalf("%d images, label %d", b.N, b.Labels[0])
	}
	if !slices.Equal(b.X, batch(1, Train).X) {
		t.Error("one seed gives two sets")
	}
	if slices.Equal(b.X, batch(2, Train).X) || slices.Equal(b.X[:3072], batch(1, Eval).X[:3072]) {
		t.Error("seeds or splits share images")
	}
	var sum, sq, near, far, colour float64
	for i := range 40 {
		for y := range 32 {
			for x := range 28 {
				at := func(c, x int) float64 { return float64(b.X[((i*3+c)*32+y)*32+x]) }
				v := at(0, x)
				sum, sq = sum+v, sq+v*v
				near += v * at(0, x+1)
				far += v * at(0, x+4)
				colour += v * at(1, x)
			}
		}
	}
	n := 40.0 * 32 * 28
	if mean, std := sum/n, math.Sqrt(sq/n); math.Abs(mean) > 0.3 || std < 0.7 || std > 1.4 {
		t.Errorf("mean %.2f, deviation %.2f", mean, std)
	}
	if near, far, colour := near/sq, far/sq, colour/sq; near < 0.7 || far > near-0.1 || far < 0.2 || colour < 0.7 || colour > 0.95 {
		t.Errorf("correlation of neighbours %.2f, at 4 pixels %.2f, of channels %.2f", near, far, colour)
	}
}

func ExampleSynthetic() {
	set := Synthetic(Shape{C: 3, H: 8, W: 8}, 4, 2, 0)
	train, _ := set.Split(Train)
	eval, _ := set.Split(Eval)
	fmt.Println(train.Len(), eval.Len(), train.Labelled())
	// Output: 4 2 false
}
