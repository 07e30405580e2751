package dataset

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
)

// array is a source of images that stand in one block of memory.
type array struct {
	file    string
	bytes   []byte    // [N,C,H,W]
	floats  []float32 // [N,C,H,W], preprocessed
	c, h, w int
}

func (a *array) name(k int) string { return fmt.Sprintf("%s: image %d", a.file, k) }

func (a *array) load(k int) (pixels, error) {
	n := a.c * a.h * a.w
	p := pixels{c: a.c, h: a.h, w: a.w}
	if a.bytes != nil {
		p.bytes = a.bytes[k*n : (k+1)*n]
		return p, nil
	}
	p.floats = a.floats[k*n : (k+1)*n]
	for i, v := range p.floats {
		if v := float64(v); math.IsNaN(v) || math.IsInf(v, 0) {
			return pixels{}, fmt.Errorf("value %d is %v", i, v)
		}
	}
	return p, nil
}

func (a *array) digest(k int) uint64 {
	if a.bytes == nil {
		return 0
	}
	h := a.hash(k)
	return binary.LittleEndian.Uint64(h[:]) | 1
}

func (a *array) hash(k int) [sha256.Size]byte {
	n := a.c * a.h * a.w
	if a.bytes != nil {
		return sha256.Sum256(a.bytes[k*n : (k+1)*n])
	}
	b := make([]byte, 0, 4*n)
	for _, v := range a.floats[k*n : (k+1)*n] {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return sha256.Sum256(b)
}

// addArray adds the images of one array to the split, "" being a set of one piece. labels is nil or holds one class
// index an image.
func (s *Set) addArray(split string, a *array, n int, labels []int32) {
	items := make([]item, n)
	for k := range items {
		items[k] = item{a, k, -1}
		if labels != nil {
			items[k].label = labels[k]
		}
	}
	s.total += n
	s.side = max(s.side, a.h, a.w)
	switch split {
	case Train:
		s.train = items
	case Eval:
		s.eval = items
	default:
		s.holdOut(items)
	}
}
