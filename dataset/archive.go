package dataset

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
)

// member is a picture in an archive: a range of the file, or its bytes where the archive is compressed.
type member struct {
	file   *os.File
	offset int64
	size   int64
	data   []byte
}

// archive is the index of the pictures in one or more tar files.
type archive struct {
	listing
	members map[string]member // by path, which is made of no link and never used to open a file
	names   map[string]string // for messages
	labels  []byte
}

// openArchives opens tar files, compressed or not, as one set. Several must name their splits: by folders inside or
// by a word in the file name, as cifar10-train.tar.gz and cifar10-test.tar.gz do.
func (s *Set) openArchives(ctx context.Context, files []string) error {
	s.Format = "tar"
	sort.Strings(files)
	a := &archive{members: map[string]member{}, names: map[string]string{}}
	memory := s.limits.memory
	for _, file := range files {
		one := &archive{members: map[string]member{}, names: map[string]string{}}
		err := s.indexTar(ctx, one, file, &memory)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		prefix := ""
		if len(files) > 1 {
			if prefix, err = splitPrefix(file, one.images); err != nil {
				return fmt.Errorf("%s: %w", s.Path, err)
			}
		}
		a.add(one, prefix)
	}
	if len(a.images) == 0 {
		return fmt.Errorf("%s: no pictures in the archive", s.Path)
	}
	labels, from := a.labels, s.Path+": "+labelsName
	if beside := filepath.Join(filepath.Dir(files[0]), labelsName); labels == nil {
		if _, err := os.Lstat(beside); err == nil {
			from = beside
			if labels, err = readFile(beside, 0, maxLabelBytes); err != nil {
				return fmt.Errorf("%s: %w", beside, err)
			}
		}
	}
	var table *labelTable
	if labels != nil {
		var err error
		if table, err = parseLabels(labels); err != nil {
			return fmt.Errorf("%s: %w", from, err)
		}
	}
	s.noteOthers(a.others)
	return s.addEncoded(ctx, a.source(s.limits), a.images, a.dirs, table)
}

// add takes over the index of one archive under a prefix.
func (a *archive) add(b *archive, prefix string) {
	for _, p := range b.images {
		a.images = append(a.images, prefix+p)
		a.members[prefix+p], a.names[prefix+p] = b.members[p], b.names[p]
	}
	for _, d := range b.dirs {
		a.dirs = append(a.dirs, prefix+d)
	}
	if b.labels != nil {
		a.labels = b.labels
	}
	a.others += b.others
}

// splitPrefix says under which split folder the pictures of one of several archives belong.
func splitPrefix(file string, paths []string) (string, error) {
	top := tops(paths, "")
	inside := len(top) > 0
	for _, t := range top {
		inside = inside && splitOf(t) != ""
	}
	if inside {
		return "", nil
	}
	if name := wordSplit(filepath.Base(file)); name != "" {
		return map[string]string{Train: "train/", Eval: "test/"}[name], nil
	}
	return "", fmt.Errorf("holds several archives and %q names no split; open one of them", filepath.Base(file))
}

// wordSplit looks for the name of a split among the words of a file name.
func wordSplit(name string) string {
	for _, word := range strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return strings.ContainsRune("-_. ", r) }) {
		if sp := splitOf(word); sp != "" {
			return sp
		}
	}
	return ""
}

// indexTar lists the pictures of a tar file. Those of a compressed one are kept in memory, of which memory bytes
// are left; those of a plain one are read when they are asked for.
func (s *Set) indexTar(ctx context.Context, a *archive, file string, memory *int64) error {
	f, err := os.Open(file)
	if err != nil {
		return reason(err)
	}
	s.close = append(s.close, f.Close)
	info, err := f.Stat()
	if err != nil {
		return reason(err)
	}
	plain := io.NewSectionReader(f, 0, info.Size())
	var r io.Reader = plain
	zr, err := gzip.NewReader(f)
	packed := err == nil
	if packed {
		r = zr
	}
	t := tar.NewReader(r)
	count := 0
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return tarError(count, "", err)
		}
		count++
		name := strings.TrimPrefix(path.Clean("/"+filepath.ToSlash(h.Name)), "/")
		switch {
		case name == "" || hiddenPath(name):
			continue
		case h.Typeflag == tar.TypeDir:
			a.dirs = append(a.dirs, name)
			continue
		case h.Typeflag != tar.TypeReg || sparse(h):
			a.others++
			continue
		case path.Base(name) == labelsName && h.Size <= maxLabelBytes:
			if a.labels, err = io.ReadAll(t); err != nil {
				return tarError(count, name, err)
			}
			continue
		}
		m := member{file: f, size: h.Size}
		isImage := suffixes[strings.ToLower(path.Ext(name))]
		switch {
		case !packed:
			if m.offset, err = plain.Seek(0, io.SeekCurrent); err != nil {
				return reason(err)
			}
			if m.size > info.Size()-m.offset {
				return tarError(count, name, io.ErrUnexpectedEOF)
			}
			if !isImage {
				head := make([]byte, min(16, m.size))
				_, err = f.ReadAt(head, m.offset)
				isImage = err == nil && sniff(head) == kindImage
			}
		case m.size > s.limits.imageBytes:
			// read refuses it by its size
		case isImage || m.size > 0:
			head, err := readUpTo(t, 16)
			if err != nil {
				return tarError(count, name, err)
			}
			if isImage = isImage || sniff(head) == kindImage; !isImage {
				break
			}
			if *memory -= m.size; *memory < 0 {
				return fmt.Errorf("the pictures in it take more than %d MiB; unpack it into a folder", s.limits.memory>>20)
			}
			m.data = make([]byte, m.size)
			n := copy(m.data, head)
			if _, err := io.ReadFull(t, m.data[n:]); err != nil {
				return tarError(count, name, err)
			}
		}
		if !isImage {
			a.others++
			continue
		}
		if _, again := a.members[name]; !again { // the last of a name counts, as when unpacking
			a.images = append(a.images, name)
			a.names[name] = file + ": " + name
		}
		a.members[name] = m
		if dir := path.Dir(name); dir != "." && (len(a.dirs) == 0 || a.dirs[len(a.dirs)-1] != dir) {
			a.dirs = append(a.dirs, dir)
		}
	}
	if packed { // the checksum of the whole comes last
		if _, err := io.Copy(io.Discard, io.LimitReader(zr, 1<<20)); err != nil {
			return gzipError(err)
		}
	}
	return nil
}

func hiddenPath(name string) bool {
	for _, part := range strings.Split(name, "/") {
		if hidden(part) {
			return true
		}
	}
	return false
}

func sparse(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

func tarError(count int, name string, err error) error {
	at := fmt.Sprintf("after member %d", count)
	if name != "" {
		at = fmt.Sprintf("member %q", name)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: the archive ends too early", at)
	}
	return fmt.Errorf("%s: the archive is damaged: %s", at, oneLine(err.Error()))
}

// source returns the pictures of the archive in the order of a.images.
func (a *archive) source(l limits) *encoded {
	e := &encoded{limits: l, names: make([]string, len(a.images))}
	members := make([]member, len(a.images))
	for k, p := range a.images {
		e.names[k], members[k] = a.names[p], a.members[p]
		e.bytes += members[k].size
	}
	e.read = func(k int, n int64) ([]byte, error) {
		m := members[k]
		switch {
		case m.size > l.imageBytes:
			return nil, fmt.Errorf("the file is larger than %d MiB", l.imageBytes>>20)
		case m.size == 0:
			return nil, nil
		case m.data != nil:
			return bytes.Clone(m.data), nil
		}
		if n == 0 || n > m.size {
			n = m.size
		}
		data := make([]byte, n)
		if _, err := m.file.ReadAt(data, m.offset); err != nil {
			return nil, reason(err)
		}
		return data, nil
	}
	return e
}
