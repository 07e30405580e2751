package onnxio

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio/onnxpb"
)

func dirOf(path string) string { return filepath.Dir(path) }

// realDirOf is the folder that a linked file really lies in; empty when the
// file is no link.
func realDirOf(path string) string {
	st, err := os.Lstat(path)
	if err != nil || st.Mode()&os.ModeSymlink == 0 {
		return ""
	}
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return ""
	}
	return filepath.Dir(target)
}

// external reads the data of a tensor that lies in another file: want bytes.
// The file must be a plain file beneath the model's folder, wherever links
// lead, and must hold the whole of offset+length.
func (d *decoder) external(p *onnxpb.TensorProto, e ir.Elem, want int) ([]byte, error) {
	loc, err := externalEntries(p)
	if err != nil {
		return nil, err
	}
	if e == ir.String {
		return nil, fmt.Errorf("external data: strings cannot be external")
	}
	if loc.length >= 0 && loc.length != int64(want) {
		return nil, fmt.Errorf("external data: want %d bytes, length says %d", want, loc.length)
	}
	if d.opts.Dir == "" {
		return nil, fmt.Errorf("external data %s: the model was not read from a folder", ir.Quote(loc.path))
	}
	f, size, err := d.openExternal(loc.path)
	if err != nil {
		return nil, fmt.Errorf("external data %s: %w", ir.Quote(loc.path), err)
	}
	if loc.offset > size || int64(want) > size-loc.offset {
		return nil, fmt.Errorf("external data %s: want %d bytes at offset %d, the file has %d", ir.Quote(loc.path), want, loc.offset, size)
	}
	if loc.length < 0 && size-loc.offset != int64(want) && loc.offset == 0 {
		return nil, fmt.Errorf("external data %s: want %d bytes, the file has %d", ir.Quote(loc.path), want, size)
	}
	b := make([]byte, want)
	if _, err := f.ReadAt(b, loc.offset); err != nil && !(err == io.EOF && want == 0) {
		return nil, fmt.Errorf("external data %s: %w", ir.Quote(loc.path), plainError(err))
	}
	return b, nil
}

type externalLoc struct {
	path           string
	offset, length int64 // length -1: not given
}

// externalEntries reads the keys of external_data: known ones only, each once.
func externalEntries(p *onnxpb.TensorProto) (externalLoc, error) {
	loc := externalLoc{length: -1}
	seen := map[string]bool{}
	for _, kv := range p.GetExternalData() {
		k, v := kv.GetKey(), kv.GetValue()
		if seen[k] {
			return loc, fmt.Errorf("external data: key %s is given twice", ir.Quote(k))
		}
		seen[k] = true
		var err error
		switch k {
		case "location":
			loc.path = v
		case "offset":
			loc.offset, err = decimal(k, v)
		case "length":
			loc.length, err = decimal(k, v)
		case "checksum", "basepath":
		default:
			err = fmt.Errorf("external data: unknown key %s", ir.Quote(k))
		}
		if err != nil {
			return loc, err
		}
	}
	if loc.path == "" {
		return loc, fmt.Errorf("external data: no location")
	}
	return loc, checkLocation(loc.path)
}

func decimal(key, v string) (int64, error) {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || strings.HasPrefix(v, "+") {
		return 0, fmt.Errorf("external data: %s %s is not a number", key, ir.Quote(v))
	}
	if n < 0 {
		return 0, fmt.Errorf("external data: %s %d is negative", key, n)
	}
	return n, nil
}

// checkLocation refuses what is not a plain relative path on any system.
func checkLocation(p string) error {
	bad := func(why string) error { return fmt.Errorf("external data %s: %s", ir.Quote(p), why) }
	switch {
	case strings.ContainsRune(p, 0):
		return bad("invalid path (NUL byte)")
	case strings.HasPrefix(p, "/"), filepath.IsAbs(p):
		return bad("absolute path; it must be relative to the model's folder")
	case strings.Contains(p, `\`):
		return bad("backslash in the path; use /")
	case strings.Contains(p, "://"), len(p) > 1 && p[1] == ':':
		return bad("not a plain relative path")
	}
	for _, part := range strings.Split(p, "/") {
		if part == ".." {
			return bad("leaves the model's folder")
		}
	}
	return nil
}

// openExternal opens a data file once; it stays open until the model is read.
func (d *decoder) openExternal(path string) (*os.File, int64, error) {
	if f, ok := d.files[path]; ok {
		return f.file, f.size, nil
	}
	if d.root == nil {
		root, err := os.OpenRoot(d.opts.Dir)
		if err != nil {
			return nil, 0, plainError(err)
		}
		d.root = root
	}
	f, err := d.root.OpenFile(filepath.FromSlash(path), os.O_RDONLY|noBlock, 0)
	if err != nil {
		if f = d.openLinked(path); f == nil {
			if err = plainError(err); strings.Contains(err.Error(), "escapes") {
				return nil, 0, fmt.Errorf("symbolic link out of the model's folder")
			}
			return nil, 0, err
		}
	}
	st, err := f.Stat()
	switch {
	case err != nil:
		err = plainError(err)
	case !st.Mode().IsRegular():
		err = fmt.Errorf("not a regular file")
	case linkCount(st) > 1:
		err = fmt.Errorf("has %d hard links; a data file must have one name only", linkCount(st))
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	if d.files == nil {
		d.files = map[string]dataFile{}
	}
	d.files[path] = dataFile{f, st.Size()}
	return f, st.Size(), nil
}

// openLinked serves a model that was reached through a link. In the caches of
// model hubs model and data are links into one folder of blobs: a data file may
// be reached through a link when it lies beneath the folder that the model file
// really lies in. Where the model alone is a link, its data is looked for there.
func (d *decoder) openLinked(path string) *os.File {
	if d.opts.realDir == "" {
		return nil
	}
	target, err := filepath.EvalSymlinks(filepath.Join(d.opts.Dir, filepath.FromSlash(path)))
	if errors.Is(err, fs.ErrNotExist) {
		target, err = filepath.Join(d.opts.realDir, filepath.FromSlash(path)), nil
	}
	if err != nil {
		return nil
	}
	rel, err := filepath.Rel(d.opts.realDir, target)
	if err != nil || !filepath.IsLocal(rel) {
		return nil
	}
	root, err := os.OpenRoot(d.opts.realDir)
	if err != nil {
		return nil
	}
	defer root.Close()
	f, err := root.OpenFile(rel, os.O_RDONLY|noBlock, 0)
	if err != nil {
		return nil
	}
	return f
}

type dataFile struct {
	file *os.File
	size int64
}

// close lets go of the data files.
func (d *decoder) close() {
	for _, f := range d.files {
		f.file.Close()
	}
	if d.root != nil {
		d.root.Close()
	}
	d.files, d.root = nil, nil
}
