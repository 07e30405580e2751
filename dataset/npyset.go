package dataset

import (
	"archive/zip"
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// npzNames are the names under which NPZ files in use hold images and their labels, a group a split.
var npzNames = []struct {
	split          string
	images, labels []string
}{
	{Train, []string{"x_train", "train_images", "images_train"}, []string{"y_train", "train_labels", "labels_train"}},
	{Eval, []string{"x_test", "test_images", "images_test", "x_val", "val_images", "images_val"},
		[]string{"y_test", "test_labels", "labels_test", "y_val", "val_labels", "labels_val"}},
	{"", []string{"images", "x", "data", "input"}, []string{"labels", "y", "targets", "label"}},
}

// labelArray tells whether a file name, in lower case, is that of labels beside an array of images.
func labelArray(name string) bool {
	return name == "labels.npy" || strings.HasSuffix(name, "_labels.npy")
}

// openArrays opens a .npy or .npz file.
func (s *Set) openArrays(path string) error {
	s.Format = "npy"
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, reason(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("%s: %w", path, reason(err))
	}
	head := make([]byte, 4)
	if _, err := f.ReadAt(head, 0); err != nil {
		return fmt.Errorf("%s: the file ends too early", path)
	}
	if sniff(head) == kindNPZ {
		if err := s.openNPZ(path, f, info.Size()); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	}
	images, err := readNPY(bufio.NewReaderSize(f, 1<<16), info.Size(), s.limits.memory)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	stem := strings.TrimSuffix(path, filepath.Ext(path))
	beside := []string{stem + "_labels.npy"}
	if filepath.Base(stem) == "images" {
		beside = append(beside, filepath.Join(filepath.Dir(path), "labels.npy"))
	}
	var labels *npyArray
	for _, name := range beside {
		if _, err := os.Lstat(name); err != nil {
			continue
		}
		data, err := readFile(name, 0, maxLabelBytes)
		if err == nil {
			labels, err = readNPY(strings.NewReader(string(data)), int64(len(data)), maxLabelBytes)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		break
	}
	if err := s.addNPY("", path, images, labels); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// openNPZ opens the arrays of a zip archive; what is not wanted is not read.
func (s *Set) openNPZ(path string, r io.ReaderAt, size int64) error {
	zr, err := zip.NewReader(r, size)
	if err != nil {
		return fmt.Errorf("the NPZ archive is damaged: %s", oneLine(strings.TrimPrefix(err.Error(), "zip: ")))
	}
	members := map[string]*zip.File{}
	var names []string
	for _, f := range zr.File {
		name := strings.TrimSuffix(f.Name, ".npy")
		if members[name] != nil {
			return fmt.Errorf("the array %q is there twice", name)
		}
		members[name] = f
		names = append(names, name)
	}
	read := func(candidates []string) (*npyArray, error) {
		for _, name := range candidates {
			f := members[name]
			if f == nil {
				continue
			}
			a, err := s.readMember(f)
			if err != nil {
				return nil, fmt.Errorf("array %q: %w", name, err)
			}
			return a, nil
		}
		return nil, nil
	}
	has := func(candidates []string) bool {
		for _, name := range candidates {
			if members[name] != nil {
				return true
			}
		}
		return false
	}
	train, eval := has(npzNames[0].images), has(npzNames[1].images)
	for i, g := range npzNames {
		split := g.split
		switch {
		case !has(g.images), i == 2 && (train || eval):
			continue
		case split == Train && !eval:
			split = ""
		}
		images, err := read(g.images)
		if err != nil {
			return err
		}
		labels, err := read(g.labels)
		if err != nil {
			return err
		}
		if err := s.addNPY(split, path, images, labels); err != nil {
			return err
		}
	}
	if s.total > 0 {
		return nil
	}
	if len(names) == 1 {
		images, err := read(names)
		if err != nil {
			return err
		}
		return s.addNPY("", path, images, nil)
	}
	return fmt.Errorf("no array is called images (labels), x_train (y_train) or x_test (y_test); there are %s", quoteShort(strings.Join(names, ", ")))
}

// readMember reads one array of a zip archive.
func (s *Set) readMember(f *zip.File) (*npyArray, error) {
	if f.UncompressedSize64 > uint64(s.limits.memory) {
		return nil, fmt.Errorf("takes more than %d MiB", s.limits.memory>>20)
	}
	if f.UncompressedSize64/gzipRatio > f.CompressedSize64 {
		return nil, errors.New("the stated size is not possible")
	}
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("the NPZ archive is damaged: %s", oneLine(err.Error()))
	}
	defer r.Close()
	a, err := readNPY(bufio.NewReader(r), int64(f.UncompressedSize64), s.limits.memory)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, r); err != nil { // reads up to the checksum
		return nil, fmt.Errorf("the NPZ archive is damaged: %s", oneLine(err.Error()))
	}
	return a, nil
}

// addNPY adds an array of images and, unless nil, one of labels.
func (s *Set) addNPY(split, path string, images, labels *npyArray) error {
	if len(images.shape) != 3 && len(images.shape) != 4 {
		return fmt.Errorf("images of shape %v, want [N,C,H,W] or [N,H,W]", images.shape)
	}
	n := images.len()
	a := &array{file: path, c: 1, h: images.shape[len(images.shape)-2], w: images.shape[len(images.shape)-1]}
	if len(images.shape) == 4 {
		a.c = images.shape[1]
	}
	last := len(images.shape) == 4 && (a.w == 1 || a.w == 3) && a.c != 1 && a.c != 3
	switch {
	case n == 0 || a.c == 0 || a.h == 0 || a.w == 0:
		return fmt.Errorf("images of shape %v: there are none", images.shape)
	case images.kind == 'u' && images.size == 1:
		a.bytes = images.data
		if last {
			a.c, a.h, a.w = a.w, a.c, a.h
			a.bytes = channelsFirst(a.bytes, a.c, a.h*a.w)
		}
	case images.kind == 'f' && images.size >= 4:
		if last {
			return fmt.Errorf("floating-point images of shape %v: the channels come last; save x.transpose(0,3,1,2)", images.shape)
		}
		a.floats = images.float32s()
	default:
		return fmt.Errorf("images of type %c%d; want uint8 (pictures) or float32 (preprocessed)", images.kind, images.size)
	}
	if int64(a.h)*int64(a.w) > s.limits.pixels {
		return fmt.Errorf("images of %d x %d pixels, more than %d megapixels", a.w, a.h, s.limits.pixels>>20)
	}
	var classes []int32
	if labels != nil {
		flat := len(labels.shape) == 1 || len(labels.shape) == 2 && labels.shape[1] == 1
		if !flat || labels.kind != 'u' && labels.kind != 'i' {
			return fmt.Errorf("labels of shape %v and type %c%d, want one integer an image", labels.shape, labels.kind, labels.size)
		}
		if labels.len() != n {
			return fmt.Errorf("%d labels for %d images", labels.len(), n)
		}
		for i, v := range labels.integers() {
			if v < -1 || v >= maxClasses {
				return fmt.Errorf("label %d of image %d is out of range", v, i)
			}
			classes = append(classes, int32(v))
		}
	}
	s.addArray(split, a, n, classes)
	return nil
}

// channelsFirst turns images [N,H*W,C] into [N,C,H*W].
func channelsFirst(data []byte, c, hw int) []byte {
	out := make([]byte, len(data))
	for at := 0; at < len(data); at += c * hw {
		for i := range hw {
			for ch := range c {
				out[at+ch*hw+i] = data[at+i*c+ch]
			}
		}
	}
	return out
}
