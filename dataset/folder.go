package dataset

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// maxDepth bounds how deep folders nest; symbolic links to folders are followed and may form a loop.
const maxDepth = 16

// suffixes are those of picture files. A file with one of them must be a picture; one with another suffix or none
// is taken where its first bytes are a picture's.
var suffixes = map[string]bool{
	".png": true, ".jpg": true, ".jpeg": true, ".jpe": true, ".gif": true, ".bmp": true, ".tif": true, ".tiff": true, ".webp": true,
}

const labelsName = "labels.tsv"

// listing is what a folder or an archive holds; paths are relative, with slashes.
type listing struct {
	images []string
	dirs   []string
	others int // files that are neither pictures nor hidden
}

// openFolder opens the folder at s.Path.
func (s *Set) openFolder(ctx context.Context) error {
	entries, err := os.ReadDir(s.Path)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Path, reason(err))
	}
	var archives, arrays []string
	idx := false
	for _, e := range entries {
		name, full := e.Name(), filepath.Join(s.Path, e.Name())
		lower := strings.ToLower(name)
		switch {
		case hidden(name) || e.IsDir():
		case idxName.MatchString(name):
			idx = true
		case strings.HasSuffix(lower, ".tar") || strings.HasSuffix(lower, ".tar.gz") || strings.HasSuffix(lower, ".tgz"):
			archives = append(archives, full)
		case strings.HasSuffix(lower, ".npz"), strings.HasSuffix(lower, ".npy") && !labelArray(lower):
			arrays = append(arrays, full)
		}
	}
	if idx {
		return s.openIDXFolder(entries)
	}
	found := &listing{}
	if err := found.walk(ctx, s.Path, "", 0); err != nil {
		return fmt.Errorf("%s: %w", s.Path, err)
	}
	if len(found.images) == 0 {
		switch {
		case len(archives) > 0:
			return s.openArchives(ctx, archives)
		case len(arrays) == 1:
			return s.openArrays(arrays[0])
		case len(arrays) > 1:
			return fmt.Errorf("%s: holds %d arrays; name one of them, such as %q", s.Path, len(arrays), arrays[0])
		}
		return fmt.Errorf("%s: no images here: want IDX files, pictures, a .tar(.gz) of pictures, .npy or .npz", s.Path)
	}
	if left := len(archives) + len(arrays); left > 0 {
		s.Notes = append(s.Notes, fmt.Sprintf("%s: pictures and %d archives or arrays stand side by side; the pictures are taken", s.Path, left))
	}
	s.Format = "images"
	var labels *labelTable
	file := filepath.Join(s.Path, labelsName)
	if data, err := readFile(file, 0, maxLabelBytes); err == nil {
		if labels, err = parseLabels(data); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	} else if _, serr := os.Lstat(file); serr == nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	s.noteOthers(found.others)
	return s.addEncoded(ctx, fileSource(s.Path, found.images, s.limits), found.images, found.dirs, labels)
}

func (s *Set) noteOthers(n int) {
	if n > 0 {
		s.Notes = append(s.Notes, fmt.Sprintf("%s: %d files are not pictures and were left out", s.Path, n))
	}
}

// walk adds what the folder root/rel holds.
func (l *listing) walk(ctx context.Context, root, rel string, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if depth > maxDepth {
		return fmt.Errorf("folders nest deeper than %d at %q", maxDepth, rel)
	}
	entries, err := os.ReadDir(filepath.Join(root, filepath.FromSlash(rel)))
	if err != nil {
		return fmt.Errorf("folder %q: %w", rel, reason(err))
	}
	for _, e := range entries {
		if hidden(e.Name()) {
			continue
		}
		name := path.Join(rel, e.Name())
		full := filepath.Join(root, filepath.FromSlash(name))
		dir := e.IsDir()
		if e.Type()&os.ModeSymlink != 0 {
			info, err := os.Stat(full)
			dir = err == nil && info.IsDir()
		}
		switch {
		case dir:
			l.dirs = append(l.dirs, name)
			if err := l.walk(ctx, root, name, depth+1); err != nil {
				return err
			}
		case suffixes[strings.ToLower(path.Ext(name))]:
			l.images = append(l.images, name)
		case e.Name() == labelsName && rel == "":
		case !e.Type().IsRegular():
			l.others++
		default:
			if kind, err := sniffFile(full); err == nil && kind == kindImage {
				l.images = append(l.images, name)
			} else {
				l.others++
			}
		}
	}
	return nil
}

func hidden(name string) bool { return strings.HasPrefix(name, ".") || name == "__MACOSX" }

// fileSource is the source of the files at root/paths[k].
func fileSource(root string, paths []string, l limits) *encoded {
	e := &encoded{limits: l, names: make([]string, len(paths))}
	for k, p := range paths {
		e.names[k] = filepath.Join(root, filepath.FromSlash(p))
		if info, err := os.Stat(e.names[k]); err == nil {
			e.bytes += info.Size()
		}
	}
	e.read = func(k int, n int64) ([]byte, error) { return readFile(e.names[k], n, l.imageBytes) }
	return e
}
