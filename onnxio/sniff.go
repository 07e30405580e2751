package onnxio

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// foreign recognises files that people give by mistake; it is asked only when
// the bytes are not a model.
func foreign(b []byte) string {
	switch {
	case len(b) == 0:
		return "the file is empty"
	case bytes.HasPrefix(b, []byte{0x1f, 0x8b}):
		return "not an ONNX model (gzip data; unpack it first)"
	case bytes.HasPrefix(b, []byte("PK\x03\x04")):
		return "not an ONNX model (a zip archive; a PyTorch checkpoint must be exported to ONNX first)"
	case bytes.HasPrefix(b, []byte("\x89HDF")):
		return "not an ONNX model (HDF5; export it to ONNX first)"
	case bytes.HasPrefix(b, []byte("version https://git-lfs")):
		return "not an ONNX model (a git-lfs pointer; run git lfs pull)"
	case len(b) > 9 && b[8] == '{' && b[9] == '"':
		return "not an ONNX model (safetensors; export the model to ONNX first)"
	case len(b) > 8 && bytes.Equal(b[4:8], []byte("TFL3")):
		return "not an ONNX model (TensorFlow Lite)"
	case bytes.HasPrefix(b, []byte("\x89PNG")), bytes.HasPrefix(b, []byte("\xff\xd8\xff")):
		return "not an ONNX model (an image)"
	case bytes.HasPrefix(b, []byte("\xfd7zXZ\x00")), bytes.HasPrefix(b, []byte("BZh")), bytes.HasPrefix(b, []byte("\x28\xb5\x2f\xfd")), bytes.HasPrefix(b, []byte("7z\xbc\xaf")):
		return "not an ONNX model (compressed data; unpack it first)"
	case len(b) > 262 && string(b[257:262]) == "ustar":
		return "not an ONNX model (a tar archive; unpack it first)"
	case len(b) > 2 && b[0] == 0x80 && b[1] >= 2 && b[1] <= 5:
		return "not an ONNX model (a Python pickle; export the model to ONNX first)"
	case bytes.HasPrefix(b, []byte("GGUF")):
		return "not an ONNX model (GGUF)"
	case bytes.HasPrefix(b, []byte("\x93NUMPY")):
		return "not an ONNX model (a NumPy array)"
	case bytes.HasPrefix(b, []byte("%PDF")):
		return "not an ONNX model (PDF)"
	case bytes.HasPrefix(b, []byte("\xff\xfe")), bytes.HasPrefix(b, []byte("\xfe\xff")):
		return "not an ONNX model (text in UTF-16)"
	case isText(b):
		return "not an ONNX model (plain text)"
	}
	return ""
}

func isText(b []byte) bool {
	head := b[:min(len(b), 512)]
	if len(head) == 512 { // do not judge a rune cut in half
		for len(head) > 508 && !utf8.Valid(head) {
			head = head[:len(head)-1]
		}
	}
	return utf8.Valid(head) && !bytes.ContainsFunc(head, func(r rune) bool { return r < ' ' && r != '\n' && r != '\r' && r != '\t' })
}

// wireError words a scan error: a file of another kind is called by its name.
func wireError(b []byte, err error) error {
	if what := foreign(b); what != "" {
		return fmt.Errorf("%s", what)
	}
	return err
}
