package onnxio

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"path/filepath"
	"strconv"

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
	if data != nil {
		if err := data.Write(); err != nil {
			return err
		}
	}
	return atomicfile.WriteFile(path, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
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
}

// piece is one tensor of a data file.
type piece struct {
	data   []byte
	offset int64
}

// Write writes the file, whole or not at all.
func (d *DataFile) Write() error { return atomicfile.WriteFile(d.Path, d.content) }

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
	name := filepath.Base(path) + "." + hex.EncodeToString(h.Sum(nil)[:4]) + ".data"
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

func entries(kv ...string) []*onnxpb.StringStringEntryProto {
	var out []*onnxpb.StringStringEntryProto
	for i := 0; i < len(kv); i += 2 {
		out = append(out, &onnxpb.StringStringEntryProto{Key: &kv[i], Value: &kv[i+1]})
	}
	return out
}
