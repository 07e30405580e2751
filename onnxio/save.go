package onnxio

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/qvitc/qvitc/internal/atomicfile"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio/onnxpb"
	"google.golang.org/protobuf/proto"
)

const (
	externalAlign = 4096 // offsets of external tensors, so that they can be mapped
	externalMin   = 1024 // bytes below which a tensor stays in the model
)

// Save is Encode to a file, which is either replaced whole or left as it was.
// Above 2 GiB, or on request, constants go to a second file beside it whose
// name holds the hash of its content: BASE.HASH.data.
func Save(path string, g *ir.Graph, o WriteOptions) error {
	b, data, err := EncodeFor(path, g, o)
	if err != nil {
		return err
	}
	f, err := atomicfile.Create(path)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(b); err != nil {
		return err
	}
	if data == nil {
		return f.Commit()
	}
	if err := data.Write(); err != nil {
		return err
	}
	if err := f.Commit(); err != nil {
		data.Undo()
		return err
	}
	return nil
}

// EncodeFor is Encode for a model that will stand at path: its bytes and, where
// constants go to a second file, that file, which must be written first.
func EncodeFor(path string, g *ir.Graph, o WriteOptions) ([]byte, *DataFile, error) {
	p, err := ToProto(g, o)
	if err != nil {
		return nil, nil, err
	}
	var data *DataFile
	if o.External || proto.Size(p) > MaxFileBytes {
		if data, err = moveOut(path, p); err != nil {
			return nil, nil, err
		}
	}
	b, err := marshal(p)
	return b, data, err
}

// DataFile is the external data of a model that is being written.
type DataFile struct {
	Path string // beside the model; the name holds the hash of the content
	Size int64  // bytes

	pieces []piece
	fresh  bool // Write made the name
}

// piece is one tensor of a data file.
type piece struct {
	data   []byte
	offset int64
}

// Write writes the file, whole or not at all. A link, folder, device or pipe of
// that name is an error.
func (d *DataFile) Write() error {
	_, err := os.Lstat(d.Path)
	d.fresh = errors.Is(err, fs.ErrNotExist)
	return atomicfile.WriteFile(d.Path, d.content, atomicfile.NoLink())
}

// Undo removes the file that Write made, when its model could not be written.
// A file of that name, and so of that content, from before stays.
func (d *DataFile) Undo() {
	if d.fresh {
		_ = os.Remove(d.Path)
	}
}

func (d *DataFile) content(w io.Writer) error {
	at := int64(0)
	for _, x := range d.pieces {
		if _, err := w.Write(make([]byte, x.offset-at)); err != nil {
			return err
		}
		if _, err := w.Write(x.data); err != nil {
			return err
		}
		at = x.offset + int64(len(x.data))
	}
	return nil
}

// moveOut moves the large initializers of p to a data file; nil when there are
// none.
func moveOut(path string, p *onnxpb.ModelProto) (*DataFile, error) {
	d := &DataFile{}
	var moved []*onnxpb.TensorProto
	for _, t := range p.Graph.Initializer {
		if len(t.RawData) >= externalMin {
			at := (d.Size + externalAlign - 1) / externalAlign * externalAlign
			d.pieces = append(d.pieces, piece{t.RawData, at})
			d.Size = at + int64(len(t.RawData))
			moved = append(moved, t)
		}
	}
	if len(moved) == 0 {
		return nil, nil
	}
	h := sha256.New()
	if err := d.content(h); err != nil {
		return nil, err
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // the data lies beside the file, not beside a link to it
	}
	name := locationBase(filepath.Base(path)) + "." + hex.EncodeToString(h.Sum(nil)[:4]) + ".data"
	d.Path = filepath.Join(filepath.Dir(path), name)
	for i, t := range moved {
		loc := onnxpb.TensorProto_EXTERNAL
		t.DataLocation = &loc
		t.ExternalData = entries("location", name, "offset", strconv.FormatInt(d.pieces[i].offset, 10),
			"length", strconv.Itoa(len(t.RawData)))
		t.RawData = nil
	}
	return d, nil
}

// locationBase makes of a file name one that every system and checkLocation
// take, short enough to be lengthened.
func locationBase(name string) string {
	const most = 200
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError || strings.ContainsRune(`\:*?"<>|/`, r) {
			return '_'
		}
		return r
	}, name)
	for len(name) > most {
		_, n := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-n]
	}
	return name
}

func entries(kv ...string) []*onnxpb.StringStringEntryProto {
	var out []*onnxpb.StringStringEntryProto
	for i := 0; i < len(kv); i += 2 {
		out = append(out, &onnxpb.StringStringEntryProto{Key: &kv[i], Value: &kv[i+1]})
	}
	return out
}
