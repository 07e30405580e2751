package dataset

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// idxName matches the file names of IDX sets: prefix, images or labels, and .gz.
var idxName = regexp.MustCompile(`^(.*?)[-_.]?(images|labels)[-_.]idx[13]-ubyte(\.gz)?$`)

// openIDXFile opens one IDX file of images, with the labels beside it if they are there.
func (s *Set) openIDXFile(path string) error {
	m := idxName.FindStringSubmatch(filepath.Base(path))
	if m == nil || m[2] != "images" {
		if m != nil {
			return fmt.Errorf("%s: holds labels; name the file of the images or the folder", path)
		}
		return s.addIDX("", path, "")
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("%s: %w", path, reason(err))
	}
	labels := ""
	for _, e := range entries {
		if l := idxName.FindStringSubmatch(e.Name()); l != nil && l[1] == m[1] && l[2] == "labels" && labels == "" {
			labels = filepath.Join(filepath.Dir(path), e.Name())
		}
	}
	split := wordSplit(m[1])
	if split == Train {
		split = ""
	}
	return s.addIDX(split, path, labels)
}

// openIDXFolder opens the IDX files of the folder s.Path. A plain file goes before its .gz.
func (s *Set) openIDXFolder(entries []os.DirEntry) error {
	type pair struct{ images, labels string }
	sets := map[string]*pair{}
	for _, e := range entries { // in the order of names: x before x.gz
		m := idxName.FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		if sets[m[1]] == nil {
			sets[m[1]] = &pair{}
		}
		field := &sets[m[1]].images
		if m[2] == "labels" {
			field = &sets[m[1]].labels
		}
		if *field == "" {
			*field = filepath.Join(s.Path, e.Name())
		}
	}
	bySplit := map[string]*pair{}
	for _, prefix := range slices.Sorted(maps.Keys(sets)) {
		p := sets[prefix]
		if p.images == "" {
			return fmt.Errorf("%s: labels without their images: %s-images-idx3-ubyte is missing", p.labels, prefix)
		}
		split := wordSplit(prefix)
		if other := bySplit[split]; other != nil {
			return fmt.Errorf("%s: both %q and %q could be the %s images; name one of the files", s.Path,
				other.images, p.images, split)
		}
		bySplit[split] = p
	}
	if bySplit[""] != nil && len(bySplit) > 1 {
		return fmt.Errorf("%s: %q names no split beside others that do; name one of the files", s.Path, bySplit[""].images)
	}
	if p := bySplit[Train]; p != nil && bySplit[Eval] == nil {
		return s.addIDX("", p.images, p.labels)
	}
	for _, split := range []string{Train, Eval, ""} {
		if p := bySplit[split]; p != nil {
			if err := s.addIDX(split, p.images, p.labels); err != nil {
				return err
			}
		}
	}
	return nil
}

// addIDX reads one file of images and, unless labels is "", one of labels.
func (s *Set) addIDX(split, images, labels string) error {
	s.Format = "idx"
	dims, data, err := readIDXFile(images, 3, s.limits.memory)
	if err != nil {
		return fmt.Errorf("%s: %w", images, err)
	}
	n := dims[0]
	if n == 0 {
		return fmt.Errorf("%s: no images in it", images)
	}
	if int64(dims[1])*int64(dims[2]) > s.limits.pixels || dims[1] == 0 || dims[2] == 0 {
		return fmt.Errorf("%s: images of %d x %d pixels", images, dims[2], dims[1])
	}
	var classes []int32
	if labels != "" {
		ldims, bytes, err := readIDXFile(labels, 1, s.limits.memory)
		if err != nil {
			return fmt.Errorf("%s: %w", labels, err)
		}
		if ldims[0] != n {
			return fmt.Errorf("%s: %d labels for the %d images of %s", labels, ldims[0], n, images)
		}
		for _, b := range bytes {
			classes = append(classes, int32(b))
		}
	}
	s.addArray(split, &array{file: images, bytes: data, c: 1, h: dims[1], w: dims[2]}, n, classes)
	return nil
}

// readIDXFile reads a plain or gzip-compressed IDX file of bytes with the given number of dimensions.
func readIDXFile(path string, rank int, limit int64) (dims []int, data []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, reason(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, reason(err)
	}
	if !info.Mode().IsRegular() {
		return nil, nil, errors.New("not a regular file")
	}
	if info.Size() == 0 {
		return nil, nil, errors.New("the file is empty")
	}
	return readIDX(bufio.NewReaderSize(f, 1<<16), info.Size(), rank, limit)
}

// gzipRatio is the most that one byte of gzip data can stand for.
const gzipRatio = 1032

// readIDX reads an IDX stream of size bytes as stored. The dimensions are checked against the size and the limit
// before memory is taken.
func readIDX(r *bufio.Reader, size int64, rank int, limit int64) (dims []int, data []byte, err error) {
	early := errors.New("the IDX data ends too early")
	var src io.Reader = r
	room := size
	sign, _ := r.Peek(2)
	packed := string(sign) == "\x1f\x8b"
	if packed {
		zr, err := gzip.NewReader(r)
		if err != nil {
			return nil, nil, gzipError(err)
		}
		src, room = zr, size*gzipRatio
	}
	ends := func(err error) error {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return early
		}
		if packed {
			return gzipError(err)
		}
		return reason(err)
	}
	head := make([]byte, 4+4*rank)
	if _, err := io.ReadFull(src, head[:4]); err != nil {
		return nil, nil, ends(err)
	}
	if head[0] != 0 || head[1] != 0 {
		return nil, nil, errors.New("not an IDX file: the first two bytes are not zero")
	}
	if head[2] != 0x08 {
		return nil, nil, fmt.Errorf("IDX data of type 0x%02x; only unsigned bytes, type 0x08, are taken", head[2])
	}
	if int(head[3]) != rank {
		return nil, nil, fmt.Errorf("IDX data of %d dimensions, want %d", head[3], rank)
	}
	if _, err := io.ReadFull(src, head[4:]); err != nil {
		return nil, nil, ends(err)
	}
	total := int64(1)
	var shape []string
	for i := range rank {
		d := binary.BigEndian.Uint32(head[4+4*i:])
		shape = append(shape, fmt.Sprint(d))
		if d > 1<<31-1 {
			return nil, nil, fmt.Errorf("IDX dimension %d is %d, too large", i, d)
		}
		dims = append(dims, int(d))
	}
	for _, d := range dims {
		if d > 0 && total > limit/int64(d) {
			return nil, nil, fmt.Errorf("the array [%s] takes more than %d MiB", strings.Join(shape, ","), limit>>20)
		}
		total *= int64(d)
	}
	if total > room {
		return nil, nil, early
	}
	data = make([]byte, total)
	if _, err := io.ReadFull(src, data); err != nil {
		return nil, nil, ends(err)
	}
	switch n, err := io.ReadFull(src, head[:1]); {
	case n > 0:
		return nil, nil, fmt.Errorf("more data than the dimensions [%s] say", strings.Join(shape, ","))
	case err != nil && err != io.EOF:
		return nil, nil, ends(err)
	}
	return dims, data, nil
}
