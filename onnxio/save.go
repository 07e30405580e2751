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
	p, err := ToProto(g, o)
	if err != nil {
		return err
	}
	if o.External || proto.Size(p) > MaxFileBytes {
		if err := saveExternal(path, p); err != nil {
			return err
		}
	}
	b, err := marshal(p)
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(path, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

// saveExternal moves the large initializers of p to a data file.
func saveExternal(path string, p *onnxpb.ModelProto) error {
	type piece struct {
		t      *onnxpb.TensorProto
		offset int64
	}
	var pieces []piece
	var end int64
	for _, t := range p.Graph.Initializer {
		if len(t.RawData) >= externalMin {
			at := (end + externalAlign - 1) / externalAlign * externalAlign
			pieces = append(pieces, piece{t, at})
			end = at + int64(len(t.RawData))
		}
	}
	if len(pieces) == 0 {
		return nil
	}
	write := func(w io.Writer) error {
		at := int64(0)
		for _, x := range pieces {
			if _, err := w.Write(make([]byte, x.offset-at)); err != nil {
				return err
			}
			if _, err := w.Write(x.t.RawData); err != nil {
				return err
			}
			at = x.offset + int64(len(x.t.RawData))
		}
		return nil
	}
	h := sha256.New()
	if err := write(h); err != nil {
		return err
	}
	name := filepath.Base(path) + "." + hex.EncodeToString(h.Sum(nil)[:4]) + ".data"
	if err := atomicfile.WriteFile(filepath.Join(filepath.Dir(path), name), write); err != nil {
		return err
	}
	for _, x := range pieces {
		loc := onnxpb.TensorProto_EXTERNAL
		x.t.DataLocation = &loc
		x.t.ExternalData = entries("location", name, "offset", strconv.FormatInt(x.offset, 10),
			"length", strconv.Itoa(len(x.t.RawData)))
		x.t.RawData = nil
	}
	return nil
}

func entries(kv ...string) []*onnxpb.StringStringEntryProto {
	var out []*onnxpb.StringStringEntryProto
	for i := 0; i < len(kv); i += 2 {
		out = append(out, &onnxpb.StringStringEntryProto{Key: &kv[i], Value: &kv[i+1]})
	}
	return out
}
