package dataset

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// LoaderOptions says how images become batches.
type LoaderOptions struct {
	Context    context.Context // ends NewLoader and Batch early; nil means never
	Batch      int             // images in a batch
	Seed       uint64          // of the order and the augmentation
	Shuffle    bool            // a new order each epoch
	DropLast   bool            // leave out the last batch of an epoch where it is not full
	Augment    Augment
	CacheBytes int64 // memory for decoded images; 0: 1 GiB, on 32-bit systems 256 MiB; below 0: none
}

// Batch is some images with their labels.
type Batch struct {
	X      []float32 // [N,C,H,W], preprocessed
	N      int       // images
	Shape  Shape     // of one image
	Labels []int32   // [N] class indices, -1 where unknown
	Index  []int     // [N] places in the split

	// Other and Share are set where images are mixed: image i shows its own label with the share Share[i], 0 to 1,
	// and class Other[i] with the rest.
	Other []int32
	Share []float32
}

// Loader makes batches of a split. It is safe for use by several goroutines.
type Loader struct {
	split  *Split
	prep   Preprocess
	shape  Shape
	opt    LoaderOptions
	floats bool           // the images are preprocessed arrays
	tables [][256]float32 // input value of each byte; nil for floats
	fill   []byte         // of each channel, for what augmentation uncovers
	usable []int32        // places in the split of the images that can be read, ascending
	cache  [][]byte       // [C,H,W] for each of usable; nil where images are decoded when they are asked for

	mu    sync.Mutex
	epoch uint64
	order []int32 // of epoch, indices into usable
}

// NewLoader prepares batches of the split, preprocessed for a model that takes images of the given shape. Where the
// decoded images fit into the cache they are decoded here, once; broken ones are left out and counted in Set.Skipped,
// too many are an error. Images too many for the cache are decoded batch by batch.
func NewLoader(split *Split, prep Preprocess, shape Shape, opt LoaderOptions) (*Loader, error) {
	if opt.Context == nil {
		opt.Context = context.Background()
	}
	if opt.CacheBytes == 0 {
		opt.CacheBytes = 256 << 20 << (2 * (^uint(0) >> 63))
	}
	l := &Loader{split: split, prep: prep, shape: shape, opt: opt}
	set := split.Set
	if opt.Batch < 1 {
		return nil, fmt.Errorf("%s: a batch of %d images", set.Path, opt.Batch)
	}
	if err := opt.Augment.check(shape); err != nil {
		return nil, fmt.Errorf("%s: %w", set.Path, err)
	}
	for _, src := range split.sources() {
		if err := l.accept(src); err != nil {
			return nil, fmt.Errorf("%s: %w", set.Path, err)
		}
	}
	if !l.floats {
		if err := prep.Check(shape); err != nil {
			return nil, fmt.Errorf("%s: %w", set.Path, err)
		}
		l.tables = prep.tables(shape.C)
		l.fill = prep.fill(shape.C)
	}
	if err := l.decodeAll(); err != nil {
		return nil, err
	}
	if len(l.usable) == 0 {
		return nil, fmt.Errorf("%s: no image of split %q can be read", set.Path, split.Name)
	}
	if opt.DropLast && len(l.usable) < opt.Batch {
		return nil, fmt.Errorf("%s: %d images in split %q are fewer than one batch of %d", set.Path, len(l.usable), split.Name, opt.Batch)
	}
	return l, nil
}

// accept tells whether the images of a source can go to the model.
func (l *Loader) accept(src source) error {
	a, ok := src.(*array)
	floats := ok && a.floats != nil
	if src != l.split.items[0].src && floats != l.floats {
		return errors.New("the set mixes pictures and preprocessed arrays")
	}
	l.floats = floats
	pictures := func(c int) bool { return c == 1 || c == 3 }
	switch {
	case floats && (Shape{a.c, a.h, a.w}) != l.shape:
		return fmt.Errorf("preprocessed images of shape %v, the model takes %v", Shape{a.c, a.h, a.w}, l.shape)
	case floats && l.opt.Augment != (Augment{}):
		return errors.New("preprocessed arrays cannot be augmented")
	case !ok && !pictures(l.shape.C):
		return errChannels(l.shape.C)
	case ok && a.c != l.shape.C && !(pictures(a.c) && pictures(l.shape.C)):
		return fmt.Errorf("images of %d channels, the model takes %d", a.c, l.shape.C)
	}
	return nil
}

// decodeAll fills l.usable, and l.cache where the images fit.
func (l *Loader) decodeAll() error {
	items := l.split.items
	size := int64(l.shape.C) * int64(l.shape.H) * int64(l.shape.W)
	keep := l.opt.CacheBytes > 0 && size <= l.opt.CacheBytes/int64(len(items)) || l.shared()
	errs := make([]error, len(items))
	if l.floats { // nothing to decode, but all are looked at
		keep = false
		if err := parallel(l.opt.Context, len(items), func(i int) error {
			_, errs[i] = items[i].src.load(items[i].k)
			return nil
		}); err != nil {
			return err
		}
	}
	var cache [][]byte
	if keep {
		cache = make([][]byte, len(items))
		if err := parallel(l.opt.Context, len(items), func(i int) error {
			cache[i], errs[i] = l.decode(items[i])
			return nil
		}); err != nil {
			return err
		}
	}
	for i, err := range errs {
		if err != nil {
			l.split.Set.addSkipped(items[i].name(), err)
			continue
		}
		l.usable = append(l.usable, int32(i))
		if keep {
			l.cache = append(l.cache, cache[i])
		}
	}
	return l.split.Set.checkSkipped()
}

// shared tells whether the images lie in memory already, in the size wanted.
func (l *Loader) shared() bool {
	for _, src := range l.split.sources() {
		a, ok := src.(*array)
		if !ok || a.bytes == nil || a.c != l.shape.C || !l.prep.keeps(a.h, a.w, l.shape) {
			return false
		}
	}
	return true
}

// decode returns an image as bytes [C,H,W] of the model's size.
func (l *Loader) decode(it item) ([]byte, error) {
	px, err := it.src.load(it.k)
	if err != nil {
		return nil, err
	}
	return l.prep.fit(px, l.shape)
}

// Split returns the split that the batches are made of.
func (l *Loader) Split() *Split { return l.split }

// Shape returns the size of one image.
func (l *Loader) Shape() Shape { return l.shape }

// Len returns the number of images of an epoch, with those of a last batch that DropLast leaves out.
func (l *Loader) Len() int { return len(l.usable) }

// Forms returns in how many forms an image is shown over the epochs: 1, 2 where it is mirrored or not, 0 for any number.
func (l *Loader) Forms() int {
	switch l.opt.Augment {
	case Augment{}:
		return 1
	case Augment{Flip: true}:
		return 2
	}
	return 0
}

// Batches returns the number of batches of an epoch.
func (l *Loader) Batches() int {
	if l.opt.DropLast {
		return len(l.usable) / l.opt.Batch
	}
	return (len(l.usable) + l.opt.Batch - 1) / l.opt.Batch
}

// Batch returns batch i of an epoch; both count from 0. It depends on the data, the options, epoch and i only, not on
// what was asked for before.
func (l *Loader) Batch(epoch, i int) (*Batch, error) {
	b := new(Batch)
	return b, l.Fill(b, epoch, i)
}

// Fill is Batch into the memory of b, which grows as needed.
//
// Where images are decoded batch by batch one may turn out to be broken: it is counted in Set.Skipped and left out of
// the batch; with DropLast the batch keeps its size by repeating its first images.
func (l *Loader) Fill(b *Batch, epoch, i int) error {
	if epoch < 0 || i < 0 || i >= l.Batches() {
		return fmt.Errorf("%s: no batch %d in epoch %d; an epoch has %d", l.split.Set.Path, i, epoch, l.Batches())
	}
	from := i * l.opt.Batch
	to := min(from+l.opt.Batch, len(l.usable))
	size := l.shape.C * l.shape.H * l.shape.W
	b.N, b.Shape = to-from, l.shape
	b.X = resized(b.X, b.N*size)
	b.Labels, b.Index = resized(b.Labels, b.N), resized(b.Index, b.N)
	order := l.orderOf(uint64(epoch))
	put := func(j int) error {
		at := from + j
		if order != nil {
			at = int(order[at])
		}
		place := int(l.usable[at])
		b.Index[j], b.Labels[j] = place, l.split.items[place].label
		return l.put(b.X[j*size:(j+1)*size], at, uint64(epoch))
	}
	b.Other, b.Share = b.Other[:0], b.Share[:0]
	if l.cache != nil && !l.opt.Augment.costly() {
		for j := range b.N {
			if err := put(j); err != nil {
				return err
			}
		}
		l.mix(b, uint64(epoch))
		return nil
	}
	errs := make([]error, b.N)
	if err := parallel(l.opt.Context, b.N, func(j int) error { errs[j] = put(j); return nil }); err != nil {
		return err
	}
	err := l.closeGaps(b, errs, size)
	if err == nil {
		l.mix(b, uint64(epoch))
	}
	return err
}

// closeGaps removes the images with errors from the batch.
func (l *Loader) closeGaps(b *Batch, errs []error, size int) error {
	good := 0
	for j, err := range errs {
		if err != nil {
			if err := l.split.Set.skip(l.split.ImageName(b.Index[j]), err); err != nil {
				return err
			}
			continue
		}
		if good < j {
			copy(b.X[good*size:(good+1)*size], b.X[j*size:(j+1)*size])
			b.Labels[good], b.Index[good] = b.Labels[j], b.Index[j]
		}
		good++
	}
	if good == b.N {
		return nil
	}
	if good == 0 {
		return fmt.Errorf("%s: no image of the batch can be read", l.split.Set.Path)
	}
	if !l.opt.DropLast {
		b.N = good
		b.X, b.Labels, b.Index = b.X[:good*size], b.Labels[:good], b.Index[:good]
		return nil
	}
	for j := good; j < b.N; j++ {
		copy(b.X[j*size:(j+1)*size], b.X[(j-good)*size:(j-good+1)*size])
		b.Labels[j], b.Index[j] = b.Labels[j-good], b.Index[j-good]
	}
	return nil
}

// put writes one image, the at-th usable one, as the model takes it.
func (l *Loader) put(dst []float32, at int, epoch uint64) error {
	place := int(l.usable[at])
	if l.floats {
		px, err := l.split.items[place].src.load(l.split.items[place].k)
		if err == nil {
			copy(dst, px.floats)
		}
		return err
	}
	var bytes []byte
	if l.cache != nil {
		bytes = l.cache[at]
	} else {
		var err error
		if bytes, err = l.decode(l.split.items[place]); err != nil {
			return err
		}
	}
	if !l.opt.Augment.alone() {
		l.prep.normalise(dst, bytes, l.tables)
		return nil
	}
	l.augment(dst, bytes, epoch, uint64(place))
	return nil
}

// orderOf returns the order of an epoch, nil where images come as they stand.
func (l *Loader) orderOf(epoch uint64) []int32 {
	if !l.opt.Shuffle {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.order == nil || l.epoch != epoch {
		l.order, l.epoch = permutation(len(l.usable), l.opt.Seed, epoch), epoch
	}
	return l.order
}

// resized returns s with n elements.
func resized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
