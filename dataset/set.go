package dataset

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
)

// Names of the splits that Set.Split takes.
const (
	Train = "train" // images to fit to
	Eval  = "eval"  // images to measure on, none of them in Train
	All   = "all"   // every image: Train, then Eval
)

// Set is an opened data set. It is safe for use by several goroutines.
type Set struct {
	Path    string   // as given to Open
	Format  string   // "idx", "images", "tar", "npy" or "image", the last for one image file
	Classes []string // class names in the order of their labels, where the set tells them (folder names, labels.tsv)

	// HeldOut says that the set came as one piece and that Eval is a part of it held out by a seeded shuffle.
	HeldOut bool
	// Notes are remarks a user should see, one line each: what was left out, images that occur twice.
	Notes []string

	train, eval []item
	seed        uint64
	side        int // largest side of an image, pixels
	limits      limits
	close       []func() error

	mu      sync.Mutex
	skipped []Skipped
	seen    map[string]bool // names in skipped
	total   int             // images found, the skipped ones too
}

// Skipped is an image that is left out because it cannot be read.
type Skipped struct {
	Path   string // of the file, or "archive.tar: member", or "file.gz: image 12"
	Reason string // one line
}

// item is one image of a set: the k-th of its source.
type item struct {
	src   source
	k     int
	label int32 // -1 where unknown
}

func (it item) name() string { return it.src.name(it.k) }

// source is a place that images come from.
type source interface {
	// name says where the k-th image stands, for messages.
	name(k int) string
	// load reads the k-th image.
	load(k int) (pixels, error)
	// digest returns a number that is equal for equal images, 0 where that is not known.
	digest(k int) uint64
	// hash is the SHA-256 of the k-th image as it is stored.
	hash(k int) [sha256.Size]byte
}

// Split is an ordered part of a set. It is safe for use by several goroutines.
type Split struct {
	Name  string // Train, Eval or All
	Set   *Set
	items []item
}

// Split returns the part called name: Train, Eval or All. A part without images is an error that says why.
//
// Where the set has files for both parts they stay apart. Where it comes as one piece, Eval is the last tenth of a
// seeded shuffle (at least one image, at most 2,000), Train the rest, and HeldOut is true.
func (s *Set) Split(name string) (*Split, error) {
	sp := &Split{Name: name, Set: s}
	switch name {
	case Train:
		sp.items = s.train
	case Eval:
		sp.items = s.eval
	case All:
		sp.items = append(append([]item(nil), s.train...), s.eval...)
	default:
		return nil, fmt.Errorf("%s: no split is called %q; there are %q, %q and %q", s.Path, name, Train, Eval, All)
	}
	if len(sp.items) == 0 {
		switch {
		case name == Train:
			return nil, fmt.Errorf("%s: no training images: the set holds %d images to evaluate on and no others", s.Path, len(s.eval))
		case len(s.train) == 1:
			return nil, fmt.Errorf("%s: no images to evaluate on: the set has one image only", s.Path)
		}
		return nil, fmt.Errorf("%s: no images to evaluate on: the set holds %d training images and no others", s.Path, len(s.train))
	}
	return sp, nil
}

// Len returns the number of images.
func (p *Split) Len() int { return len(p.items) }

// Label returns the class index of image i, -1 where it is unknown.
func (p *Split) Label(i int) int { return int(p.items[i].label) }

// ImageName says where image i stands: a file, an archive member, an index into an array.
func (p *Split) ImageName(i int) string { return p.items[i].name() }

// Labelled tells whether every image has a label.
func (p *Split) Labelled() bool {
	for _, it := range p.items {
		if it.label < 0 {
			return false
		}
	}
	return true
}

// Digest identifies the images of the split and their labels: the SHA-256, in hexadecimal, over the name (without its
// folder), the label and the bytes of each. Of sets of more than 512 MiB of image files the first 64 KiB of each file
// count, as Open reads no more.
func (p *Split) Digest() string {
	h := sha256.New()
	for _, it := range p.items {
		fmt.Fprintf(h, "%s %d ", filepath.Base(it.name()), it.label)
		sum := it.src.hash(it.k)
		h.Write(sum[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// sources returns what the images of the split come from, each once, that of the first image first.
func (p *Split) sources() (out []source) {
	for _, it := range p.items {
		if !slices.Contains(out, it.src) {
			out = append(out, it.src)
		}
	}
	return out
}

// CheckLabels returns an error that names the first image whose label is not below classes, the number of logits
// of the model.
func (p *Split) CheckLabels(classes int) error {
	for _, it := range p.items {
		if int(it.label) >= classes {
			return fmt.Errorf("%s: label %d is out of range: the model has the classes 0 to %d", it.name(), it.label, classes-1)
		}
	}
	return nil
}

// Take returns n images of the split, drawn by a shuffle with the given seed and kept in their order; the split
// itself where it has no more than n.
func (p *Split) Take(n int, seed uint64) *Split {
	if n >= len(p.items) {
		return p
	}
	order := permutation(len(p.items), seed, 0)[:max(n, 0)]
	sort.Slice(order, func(i, j int) bool { return order[i] < order[j] })
	sp := &Split{Name: p.Name, Set: p.Set, items: make([]item, len(order))}
	for j, i := range order {
		sp.items[j] = p.items[i]
	}
	return sp
}

// Skipped returns the images left out so far, ordered by path. Broken files are found when the set is opened as
// far as their headers tell, and otherwise when a Loader decodes them.
func (s *Set) Skipped() []Skipped {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := append([]Skipped(nil), s.skipped...)
	sort.Slice(out, func(i, j int) bool { return out[i].Path < out[j].Path })
	return out
}

// first is an image of the set: one to train on, where it has any.
func (s *Set) first() item {
	if len(s.train) == 0 {
		return s.eval[0]
	}
	return s.train[0]
}

// Preprocessed tells whether the images are arrays of floating-point numbers, which no preprocessing changes.
func (s *Set) Preprocessed() bool {
	a, ok := s.first().src.(*array)
	return ok && a.floats != nil
}

// Close gives back open files. The set and its splits and loaders cannot be used afterwards.
func (s *Set) Close() error {
	var errs []error
	for _, c := range s.close {
		errs = append(errs, c())
	}
	s.close = nil
	return errors.Join(errs...)
}

// skip leaves out one image. One in a hundred may be skipped, and one in any case; more is an error.
func (s *Set) skip(path string, reason error) error {
	s.addSkipped(path, reason)
	return s.checkSkipped()
}

func (s *Set) addSkipped(path string, reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen = map[string]bool{}
	}
	if !s.seen[path] {
		s.seen[path] = true
		s.skipped = append(s.skipped, Skipped{path, reason.Error()})
	}
}

// checkSkipped returns an error naming the first broken images where they are too many.
func (s *Set) checkSkipped() error {
	bad := s.Skipped()
	if len(bad) <= max(1, s.total/100) && len(bad) < s.total || len(bad) == 0 {
		return nil
	}
	var first []string
	for _, b := range bad[:min(3, len(bad))] {
		first = append(first, fmt.Sprintf("%s: %s", b.Path, b.Reason))
	}
	more := ""
	if len(bad) > 3 {
		more = "; ..."
	}
	return fmt.Errorf("%s: %d of %d images cannot be read, at most 1 %% may be skipped: %s%s",
		s.Path, len(bad), s.total, strings.Join(first, "; "), more)
}
