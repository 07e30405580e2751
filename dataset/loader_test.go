package dataset

import (
	"context"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// greySet is an IDX set of n images of 6 x 5 pixels in its training part, and one to evaluate on.
func greySet(t testing.TB, n int) *Split {
	dir := files{trainImages: idx(1, n, 6, 5), trainLabels: idxLabels(make([]byte, n)...), testImages: idx(0, 1, 6, 5)}.write(t)
	return mustSplit(t, mustOpen(t, dir, OpenOptions{}), Train)
}

func mustLoader(t testing.TB, p *Split, prep Preprocess, shape Shape, opt LoaderOptions) *Loader {
	t.Helper()
	l, err := NewLoader(p, prep, shape, opt)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// epoch returns all batches of an epoch.
func epoch(t testing.TB, l *Loader, e int) (out []Batch) {
	t.Helper()
	for i := range l.Batches() {
		b, err := l.Batch(e, i)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, *b)
	}
	return out
}

func TestBatchesCoverTheSplit(t *testing.T) {
	split := greySet(t, 23)
	prep := Preprocess{Mean: []float32{0.5}, Std: []float32{0.5}}
	for _, opt := range []LoaderOptions{{Batch: 5}, {Batch: 5, Shuffle: true}, {Batch: 5, Shuffle: true, DropLast: true}, {Batch: 50}} {
		l := mustLoader(t, split, prep, Shape{1, 6, 5}, opt)
		var seen []int
		for _, b := range epoch(t, l, 1) {
			if len(b.X) != b.N*30 || len(b.Index) != b.N || len(b.Labels) != b.N || b.Shape != (Shape{1, 6, 5}) {
				t.Fatalf("%+v: a batch of %d with %d values", opt, b.N, len(b.X))
			}
			for j, at := range b.Index {
				px, _ := split.items[at].src.load(split.items[at].k)
				for i, v := range px.bytes {
					if want := (float32(v)/255 - 0.5) / 0.5; b.X[j*30+i] != want {
						t.Fatalf("%+v: image %d value %d is %v, want %v", opt, at, i, b.X[j*30+i], want)
					}
				}
			}
			seen = append(seen, b.Index...)
		}
		if opt.DropLast {
			if l.Batches() != 4 || len(seen) != 20 {
				t.Errorf("%d batches, %d images", l.Batches(), len(seen))
			}
			continue
		}
		if !opt.Shuffle && !slices.IsSorted(seen) || opt.Shuffle && slices.IsSorted(seen) {
			t.Errorf("%+v: order %v", opt, seen)
		}
		slices.Sort(seen)
		if len(slices.Compact(seen)) != 23 {
			t.Errorf("%+v: images %v", opt, seen)
		}
	}
	if a, b := permutation(100, 1, 2), permutation(100, 1, 3); slices.Equal(a, b) || !slices.Equal(a, permutation(100, 1, 2)) {
		t.Error("orders of epochs")
	}
	if got := fmt.Sprint(permutation(8, 1, 2)); got != wantPermutation {
		t.Errorf("the order of seed 1, epoch 2 is %s, want %s: checkpoints of earlier releases would not resume", got, wantPermutation)
	}
}

const wantPermutation = "[2 0 3 4 7 1 6 5]"

// TestBatchIsAFunction asks for batches in other orders, from many goroutines, with and without a cache.
func TestBatchIsAFunction(t *testing.T) {
	split := mustSplit(t, mustOpen(t, pictures(9, "a", "b").write(t), OpenOptions{}), Train)
	prep := Preprocess{Resize: 7, Crop: 6}
	opt := LoaderOptions{Batch: 4, Seed: 9, Shuffle: true, Augment: Augment{Flip: true, Pad: 2}}
	want := map[int][]Batch{}
	for e := range 3 {
		want[e] = epoch(t, mustLoader(t, split, prep, Shape{3, 6, 6}, opt), e)
	}
	for _, cache := range []int64{0, -1} {
		for _, procs := range []int{1, 2, 8} {
			old := runtime.GOMAXPROCS(procs)
			opt.CacheBytes = cache
			l := mustLoader(t, split, prep, Shape{3, 6, 6}, opt)
			var wg sync.WaitGroup
			for e := 2; e >= 0; e-- {
				for i := l.Batches() - 1; i >= 0; i-- {
					wg.Go(func() {
						b, err := l.Batch(e, i)
						if err != nil || !reflect.DeepEqual(*b, want[e][i]) {
							t.Errorf("cache %d, %d cores: batch %d of epoch %d differs, %v", cache, procs, i, e, err)
						}
					})
				}
			}
			wg.Wait()
			runtime.GOMAXPROCS(old)
		}
	}
	if cmp.Equal(want[0], want[1]) {
		t.Error("two epochs are alike")
	}
}

func TestAugment(t *testing.T) {
	split := greySet(t, 200)
	plain := epoch(t, mustLoader(t, split, Preprocess{}, Shape{1, 6, 5}, LoaderOptions{Batch: 200}), 0)[0]
	both := epoch(t, mustLoader(t, split, Preprocess{}, Shape{1, 6, 5}, LoaderOptions{Batch: 200, Augment: Augment{Flip: true, Pad: 1}}), 0)[0]
	found := map[[3]int]int{}
	for k := range 200 {
		src, got := plain.X[30*k:30*k+30], both.X[30*k:30*k+30]
		for _, how := range moves {
			if slices.Equal(moved(src, how), got) {
				found[how]++
				break
			}
		}
	}
	n := 0
	for _, how := range moves {
		n += found[how]
		if found[how] == 0 {
			t.Errorf("flip and shift %v never occur", how)
		}
	}
	if n != 200 {
		t.Errorf("%d of 200 images are flipped and shifted ones", n)
	}
}

// moves are the ways to flip and shift by up to one pixel.
var moves = func() (out [][3]int) {
	for i := range 18 {
		out = append(out, [3]int{i / 9, i/3%3 - 1, i%3 - 1})
	}
	return out
}()

// moved cuts a 6 x 5 image out of its black frame of one pixel, then flips it.
func moved(src []float32, how [3]int) []float32 {
	frame := make([]float32, 8*7)
	for y := range 6 {
		copy(frame[(y+1)*7+1:], src[y*5:y*5+5])
	}
	out := make([]float32, 30)
	for y := range 6 {
		for x := range 5 {
			v := frame[(y+1+how[1])*7+x+1+how[2]]
			if how[0] == 1 {
				out[y*5+4-x] = v
			} else {
				out[y*5+x] = v
			}
		}
	}
	return out
}

func TestLoaderFaults(t *testing.T) {
	split := greySet(t, 10)
	shape := Shape{1, 6, 5}
	for want, f := range map[string]func() error{
		"a batch of 0": func() error { _, err := NewLoader(split, Preprocess{}, shape, LoaderOptions{}); return err },
		"fewer than one batch of 11": func() error {
			_, err := NewLoader(split, Preprocess{}, shape, LoaderOptions{Batch: 11, DropLast: true})
			return err
		},
		"takes 5 x 6 pixels": func() error {
			_, err := NewLoader(split, Preprocess{Crop: 9}, shape, LoaderOptions{Batch: 1})
			return err
		},
		"1 channels, the model takes 4": func() error {
			_, err := NewLoader(split, Preprocess{}, Shape{4, 6, 5}, LoaderOptions{Batch: 1})
			return err
		},
		"frame of -1": func() error {
			_, err := NewLoader(split, Preprocess{}, shape, LoaderOptions{Batch: 1, Augment: Augment{Pad: -1}})
			return err
		},
		"no batch 10 in epoch 0; an epoch has 10": func() error {
			_, err := mustLoader(t, split, Preprocess{}, shape, LoaderOptions{Batch: 1}).Batch(0, 10)
			return err
		},
	} {
		oneLineError(t, want, f(), want)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := NewLoader(split, Preprocess{}, Shape{1, 9, 9}, LoaderOptions{Batch: 1, Context: ctx})
	oneLineError(t, "cancelled", err, "cancel")
}

func TestPrefetch(t *testing.T) {
	l := mustLoader(t, greySet(t, 23), Preprocess{}, Shape{1, 6, 5}, LoaderOptions{Batch: 4, Shuffle: true, Augment: Augment{Flip: true}})
	want := epoch(t, l, 2)
	before := runtime.NumGoroutine()
	i := 1
	for b, err := range l.Prefetch(context.Background(), 2, 1) {
		if err != nil || !reflect.DeepEqual(*b, want[i]) {
			t.Errorf("batch %d differs, %v", i, err)
		}
		i++
	}
	if i != len(want) {
		t.Errorf("stopped at batch %d of %d", i, len(want))
	}
	for range l.Prefetch(context.Background(), 0, 0) {
		break
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	turns, failed := 0, false
	for b, err := range l.Prefetch(ctx, 0, 0) {
		if turns++; turns == 2 {
			cancel()
		}
		failed = failed || err == context.Canceled && b == nil
	}
	if !failed || turns != 3 {
		t.Errorf("after cancelling: %d turns, error seen: %v", turns, failed)
	}
	func() {
		defer func() { recover() }()
		for range l.Prefetch(context.Background(), 0, 0) {
			panic("in the loop")
		}
	}()
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, before %d", runtime.NumGoroutine(), before)
}

// TestLateFaultKeepsBatchSize decodes batch by batch with DropLast.
func TestLateFaultKeepsBatchSize(t *testing.T) {
	f := pictures(20, "a")
	f["a/broken.jpg"] = truncatedJPEG()
	s := mustOpen(t, f.write(t), OpenOptions{})
	l := mustLoader(t, mustSplit(t, s, All), Preprocess{}, Shape{3, 8, 8}, LoaderOptions{Batch: 7, DropLast: true, CacheBytes: -1})
	for i, b := range epoch(t, l, 0) {
		if b.N != 7 || len(b.Index) != 7 || len(b.X) != 7*192 {
			t.Errorf("batch %d holds %d images", i, b.N)
		}
	}
	if n := len(s.Skipped()); n != 1 {
		t.Errorf("%d skipped", n)
	}
}

func BenchmarkFashionMNISTBatch(b *testing.B) {
	dir := files{trainImages: idx(1, 1000, 28, 28), testImages: idx(1, 1, 28, 28)}.write(b)
	split := mustSplit(b, mustOpen(b, dir, OpenOptions{}), Train)
	l := mustLoader(b, split, Preprocess{Mean: []float32{0.286}, Std: []float32{0.353}}, Shape{1, 28, 28}, LoaderOptions{Batch: 128, Shuffle: true})
	var batch Batch
	b.SetBytes(128 * 784)
	for i := range b.N {
		if err := l.Fill(&batch, 0, i%l.Batches()); err != nil {
			b.Fatal(err)
		}
	}
}

func TestForms(t *testing.T) {
	for _, c := range []struct {
		a    Augment
		want int
	}{{Augment{}, 1}, {Augment{Flip: true}, 2}, {Augment{Pad: 1}, 0}, {Augment{Flip: true, Pad: 1}, 0}} {
		l := mustLoader(t, greySet(t, 4), Preprocess{}, Shape{1, 6, 5}, LoaderOptions{Batch: 2, Augment: c.a})
		if got := l.Forms(); got != c.want {
			t.Errorf("%+v: %d forms, want %d", c.a, got, c.want)
		}
	}
}
