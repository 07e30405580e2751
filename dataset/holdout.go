package dataset

import (
	"fmt"
	"sort"
)

// maxHeldOut bounds how many images are held out of a set that comes as one piece.
const maxHeldOut = 2000

// holdOut parts a set of one piece: the last tenth of a shuffle, at least one image and at most maxHeldOut, is for
// evaluation. A training image with the same bytes as one held out is dropped.
func (s *Set) holdOut(items []item) {
	if len(items) < 2 {
		s.train = items
		return
	}
	s.HeldOut = true
	order := permutation(len(items), s.seed, 0)
	n := len(items) - min(max(len(items)/10, 1), maxHeldOut)
	for _, side := range [][]int32{order[:n], order[n:]} {
		sort.Slice(side, func(i, j int) bool { return side[i] < side[j] })
	}
	held := map[uint64]bool{}
	for _, i := range order[n:] {
		s.eval = append(s.eval, items[i])
		held[items[i].src.digest(items[i].k)] = true
	}
	dropped := 0
	for _, i := range order[:n] {
		if d := items[i].src.digest(items[i].k); d != 0 && held[d] {
			dropped++
			continue
		}
		s.train = append(s.train, items[i])
	}
	if dropped > 0 {
		s.Notes = append(s.Notes, fmt.Sprintf("%s: %d training images equal one held out for evaluation and were dropped", s.Path, dropped))
	}
}

// noteDuplicates remarks on images that occur more than once.
func (s *Set) noteDuplicates() {
	seen := map[uint64]item{}
	var first [2]item
	again, shared := 0, 0
	trainDigests := map[uint64]bool{}
	for part, items := range [][]item{s.train, s.eval} {
		for _, it := range items {
			d := it.src.digest(it.k)
			if d == 0 {
				continue
			}
			if other, ok := seen[d]; ok {
				if again == 0 {
					first = [2]item{other, it}
				}
				again++
			} else {
				seen[d] = it
			}
			if part == 0 {
				trainDigests[d] = true
			} else if trainDigests[d] {
				shared++
			}
		}
	}
	if again > 0 {
		s.Notes = append(s.Notes, fmt.Sprintf("%s: %d images occur more than once, first %q as %q", s.Path, again, first[0].name(), first[1].name()))
	}
	if shared > 0 {
		s.Notes = append(s.Notes, fmt.Sprintf("%s: %d images to evaluate on are also training images", s.Path, shared))
	}
}
