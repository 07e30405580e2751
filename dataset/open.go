package dataset

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// OpenOptions bounds the work of Open. The zero value means the defaults.
type OpenOptions struct {
	Context       context.Context // ends Open early; nil means never
	Seed          uint64          // of the shuffle that holds out Eval from a set of one piece
	MaxPixels     int64           // of one picture; DefaultMaxPixels
	MaxImageBytes int64           // of one image file; DefaultMaxImageBytes
	MaxMemory     int64           // bytes of arrays and unpacked archives held in memory; 2 GiB, on 32-bit systems 512 MiB
}

func (o OpenOptions) limits() limits {
	l := limits{o.MaxPixels, o.MaxImageBytes, o.MaxMemory}
	if l.pixels <= 0 {
		l.pixels = DefaultMaxPixels
	}
	if l.imageBytes <= 0 {
		l.imageBytes = DefaultMaxImageBytes
	}
	if l.memory <= 0 {
		l.memory = 512 << 20 << (2 * (^uint(0) >> 63))
	}
	return l
}

func (o OpenOptions) context() context.Context {
	if o.Context == nil {
		return context.Background()
	}
	return o.Context
}

// Open opens the data set at path, telling its format by content:
//
//   - a folder with IDX files, plain or .gz: train-images-idx3-ubyte beside train-labels-idx1-ubyte, t10k-... or
//     test-... for evaluation; labels may be missing; or one such file
//   - a folder of pictures: one folder a class (labels in the byte order of the folder names), or flat and
//     unlabelled; folders train and test, val or the like are the splits
//   - a .tar, .tar.gz or .tgz of such a folder, or a folder holding one; nothing is unpacked to disk
//   - .npz with the arrays images and labels, x_train, y_train, x_test, y_test or the like; .npy with images alone, or
//     with labels in NAME_labels.npy, for images.npy also labels.npy; or a folder holding one
//     of them. uint8 [N,C,H,W], [N,H,W,C] or [N,H,W] are pictures; floating-point [N,C,H,W] or [N,H,W] is taken
//     as preprocessed already
//   - one picture
//
// A file labels.tsv in the folder, beside the archive or inside it names the labels: columns file, class index or
// class name and, where there is a header line, name; it goes before the folder names.
//
// Errors are one line that begins with the path.
func Open(path string, opt OpenOptions) (*Set, error) {
	s := &Set{Path: path, seed: opt.Seed, limits: opt.limits()}
	if err := s.open(opt); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Set) open(opt OpenOptions) error {
	info, err := os.Stat(s.Path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%s: no such file or folder", s.Path)
	case err != nil:
		return fmt.Errorf("%s: %w", s.Path, reason(err))
	case info.IsDir():
		err = s.openFolder(opt.context())
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s: neither a file nor a folder", s.Path)
	default:
		err = s.openFile(opt.context(), s.Path)
	}
	if err != nil {
		return err
	}
	if err := s.checkSkipped(); err != nil {
		return err
	}
	if len(s.train)+len(s.eval) == 0 {
		return fmt.Errorf("%s: the data set is empty", s.Path)
	}
	s.noteDuplicates()
	return nil
}

// openFile opens the one file at path.
func (s *Set) openFile(ctx context.Context, path string) error {
	kind, err := sniffFile(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	switch kind {
	case kindIDX:
		return s.openIDXFile(path)
	case kindTar, kindTarGz:
		return s.openArchives(ctx, []string{path})
	case kindNPY, kindNPZ:
		return s.openArrays(path)
	case kindImage:
		return s.openImage(ctx, path)
	}
	return fmt.Errorf("%s: not a data set: want a folder, IDX, .tar, .tar.gz, .npy, .npz or a picture", path)
}

// openImage makes a set of one picture without a label.
func (s *Set) openImage(ctx context.Context, path string) error {
	s.Format = "image"
	return s.addEncoded(ctx, fileSource("", []string{path}, s.limits), []string{filepath.Base(path)}, nil, nil)
}

type fileKind int

const (
	kindUnknown fileKind = iota
	kindIDX
	kindTar
	kindTarGz
	kindNPY
	kindNPZ
	kindImage
)

// sniffFile tells what a file holds by its first bytes.
func sniffFile(path string) (fileKind, error) {
	f, err := os.Open(path)
	if err != nil {
		return kindUnknown, reason(err)
	}
	defer f.Close()
	head, err := readUpTo(f, 512)
	if err != nil {
		return kindUnknown, reason(err)
	}
	if len(head) == 0 {
		return kindUnknown, errors.New("the file is empty")
	}
	if !bytes.HasPrefix(head, []byte{0x1f, 0x8b}) {
		return sniff(head), nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return kindUnknown, reason(err)
	}
	zr, err := gzip.NewReader(f)
	if err != nil {
		return kindUnknown, gzipError(err)
	}
	head, err = readUpTo(zr, 512)
	switch kind := sniff(head); {
	case kind == kindTar:
		return kindTarGz, nil
	case kind == kindIDX:
		return kindIDX, nil
	case err != nil:
		return kindUnknown, gzipError(err)
	}
	return kindUnknown, nil
}

func readUpTo(r io.Reader, n int) ([]byte, error) {
	buf := make([]byte, n)
	n, err := io.ReadFull(r, buf)
	if err == io.EOF || err == io.ErrUnexpectedEOF && n > 0 {
		err = nil
	}
	return buf[:n], err
}

func gzipError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the gzip data ends too early")
	}
	return fmt.Errorf("the gzip data is damaged: %s", strings.TrimPrefix(err.Error(), "gzip: "))
}

// sniff tells a format by the first bytes of a file.
func sniff(head []byte) fileKind {
	has := func(at int, sign string) bool {
		return len(head) >= at+len(sign) && string(head[at:at+len(sign)]) == sign
	}
	switch {
	case has(0, "\x00\x00\x08\x01"), has(0, "\x00\x00\x08\x03"):
		return kindIDX
	case has(257, "ustar"):
		return kindTar
	case has(0, "\x93NUMPY"):
		return kindNPY
	case has(0, "PK\x03\x04"), has(0, "PK\x05\x06"):
		return kindNPZ
	case has(0, "\x89PNG\r\n\x1a\n"), has(0, "\xff\xd8\xff"), has(0, "GIF8"), has(0, "BM"), has(0, "II*\x00"), has(0, "MM\x00*"),
		has(0, "RIFF") && has(8, "WEBP"):
		return kindImage
	}
	return kindUnknown
}
