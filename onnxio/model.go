package onnxio

import (
	"fmt"
	"io"
	"os"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio/onnxpb"
	"google.golang.org/protobuf/proto"
)

// Options say how a model is read. The zero value is right for most callers.
type Options struct {
	// Name is the file name in messages and origins; Load sets it to its path.
	Name string
	// Dir is the folder that external data must lie in; Load sets it to the
	// folder of its path. Empty: a model with external data is an error.
	Dir string
	// Limits overrides limits of this package.
	Limits Limits
	// Warn, when set, is told what is odd about a model that is accepted.
	Warn func(error)

	realDir string // of a model reached through a link
	keep    bool   // the messages are nobody else's: tensors may keep their bytes
}

// Model is a parsed file: the protobuf messages as they stand, before any
// check of their meaning. Writing an untouched Model gives back its bytes.
type Model struct {
	Proto *onnxpb.ModelProto
	opts  Options
}

// ReadModel parses the bytes of an ONNX file. It checks the wire format and the
// limits; Graph checks the rest.
func ReadModel(b []byte, o Options) (*Model, error) {
	lim := o.Limits.withDefaults()
	fail := func(err error) (*Model, error) { return nil, &ir.Error{File: o.Name, Err: err} }
	if int64(len(b)) > lim.FileBytes {
		return fail(fmt.Errorf("the file has %d bytes, the limit is %d", len(b), lim.FileBytes))
	}
	p := &onnxpb.ModelProto{}
	if len(b) == 0 {
		return fail(wireError(b, nil))
	}
	if err := scanWire(b, p.ProtoReflect().Descriptor(), lim); err != nil {
		return fail(wireError(b, err))
	}
	if err := proto.Unmarshal(b, p); err != nil {
		return fail(wireError(b, fmt.Errorf("damaged: %w", err)))
	}
	if p.Graph == nil {
		if what := foreign(b); what != "" {
			return fail(fmt.Errorf("%s", what))
		}
		return fail(fmt.Errorf("not an ONNX model: it has no graph"))
	}
	return &Model{Proto: p, opts: o}, nil
}

// Bytes writes the messages, the same bytes every time.
func (m *Model) Bytes() ([]byte, error) {
	return proto.MarshalOptions{Deterministic: true}.Marshal(m.Proto)
}

// Graph checks the model and turns it into the canonical graph.
func (m *Model) Graph() (*ir.Graph, error) { return decodeModel(m.Proto, m.opts) }

// Decode reads the bytes of an ONNX file into the canonical graph: every
// operator in its newest form, Constant nodes as constants, origins set.
// A graph it returns has passed every check (see the package documentation).
func Decode(b []byte, o Options) (*ir.Graph, error) {
	m, err := ReadModel(b, o)
	if err != nil {
		return nil, err
	}
	m.opts.keep = true
	return m.Graph()
}

// Load is Decode of a file. External data is read from the file's folder.
func Load(path string, o Options) (*ir.Graph, error) {
	m, err := LoadModel(path, o)
	if err != nil {
		return nil, err
	}
	m.opts.keep = true
	return m.Graph()
}

// LoadModel is ReadModel of a file.
func LoadModel(path string, o Options) (*Model, error) {
	if o.Name == "" {
		o.Name = path
	}
	if o.Dir == "" {
		o.Dir, o.realDir = dirOf(path), realDirOf(path)
	}
	lim := o.Limits.withDefaults()
	b, err := readFile(path, lim.FileBytes, func(f io.ReaderAt, size int64) error {
		if size < scanFirst {
			return nil
		}
		return scanFile(f, size, lim)
	})
	if err != nil {
		return nil, &ir.Error{File: o.Name, Err: err}
	}
	return ReadModel(b, o)
}

// scanFirst is the size from which a file is scanned before memory is taken for it.
const scanFirst = 32 << 20

// readFile reads a regular file of at most limit bytes that passes scan. It
// never blocks on a pipe and does not trust the size that the system reports.
func readFile(path string, limit int64, scan func(io.ReaderAt, int64) error) ([]byte, error) {
	f, err := openPlain(path)
	if err != nil {
		return nil, plainError(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, plainError(err)
	}
	if st.IsDir() {
		return nil, fmt.Errorf("is a folder, not a file")
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("is not a regular file")
	}
	if st.Size() > limit {
		return nil, fmt.Errorf("the file has %d bytes, the limit is %d", st.Size(), limit)
	}
	if scan != nil {
		if err := scan(f, st.Size()); err != nil {
			return nil, err
		}
	}
	b := make([]byte, st.Size())
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, fmt.Errorf("reading: %w", plainError(err))
	}
	return b, nil
}

// plainError takes the path out of an *os.PathError: the message has it already.
func plainError(err error) error {
	if pe, ok := err.(*os.PathError); ok {
		return pe.Err
	}
	return err
}
