package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"strings"

	"github.com/qvitc/qvitc/dataset"
)

// refusal is an error that is the client's doing, with its HTTP status.
type refusal struct {
	code int
	msg  string
}

func (r *refusal) Error() string { return r.msg }

func refuse(code int, format string, args ...any) error {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

// read gives the image of a request as the model takes it.
func (s *Server) read(ctx context.Context, w http.ResponseWriter, r *http.Request) ([]float32, error) {
	if r.ContentLength > s.o.MaxBody {
		return nil, refuse(http.StatusRequestEntityTooLarge, "the body has %d bytes, the limit is %d", r.ContentLength, s.o.MaxBody)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.o.MaxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, refuse(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes", s.o.MaxBody)
	case err != nil:
		return nil, refuse(http.StatusBadRequest, "the body ends too early")
	case len(body) == 0:
		return nil, refuse(http.StatusBadRequest, "the body is empty: send an image, a .npy array or JSON")
	}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case kind == "application/json" || kind != "" && strings.HasSuffix(kind, "+json"):
		return s.fromJSON(body)
	case bytes.HasPrefix(body, []byte("\x93NUMPY")):
		return s.fromNPY(body)
	case kind == "multipart/form-data":
		return nil, refuse(http.StatusUnsupportedMediaType, "send the file itself as the body, not a form (curl --data-binary @FILE)")
	}
	return s.fromImage(ctx, body)
}

// fromImage decodes a picture, at most as many at once as there are threads, and
// preprocesses it.
func (s *Server) fromImage(ctx context.Context, body []byte) ([]float32, error) {
	select {
	case s.decodes <- struct{}{}:
		defer func() { <-s.decodes }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	img, _, err := dataset.OpenOptions{MaxPixels: s.o.MaxPixels, MaxImageBytes: s.o.MaxBody}.Decode(body)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "the body is no image this server reads: %v", err)
	}
	x, err := s.model.Preprocess.Apply(img, s.model.Shape)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "%v", err)
	}
	return x, nil
}

// jsonTensor is a tensor in a JSON body.
type jsonTensor struct {
	Shape []int     `json:"shape"`
	Data  []float32 `json:"data"`
}

func (s *Server) fromJSON(body []byte) ([]float32, error) {
	var t jsonTensor
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&t); err != nil {
		return nil, refuse(http.StatusBadRequest, `the JSON is no {"shape":[...],"data":[...]}: %v`, err)
	}
	if d.More() {
		return nil, refuse(http.StatusBadRequest, "something follows the JSON object")
	}
	return s.tensor(t.Shape, t.Data)
}

func (s *Server) fromNPY(body []byte) ([]float32, error) {
	a, err := dataset.DecodeNPY(body)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "the NPY array is damaged: %v", err)
	}
	if a.Floats == nil {
		return nil, refuse(http.StatusBadRequest, "the NPY array holds integers, want preprocessed floating-point numbers")
	}
	return s.tensor(a.Shape, a.Floats)
}

// tensor checks a preprocessed image.
func (s *Server) tensor(shape []int, data []float32) ([]float32, error) {
	m := s.model.Shape
	want := []int{1, m.C, m.H, m.W}
	have := shape
	if len(have) == 3 {
		have = append([]int{1}, have...)
	}
	if fmt.Sprint(have) != fmt.Sprint(want) {
		return nil, refuse(http.StatusBadRequest, "the tensor has shape %s, want one image %v", oneLine(fmt.Sprint(shape)), want[1:])
	}
	if len(data) != m.C*m.H*m.W {
		return nil, refuse(http.StatusBadRequest, "the tensor has %d numbers, its shape needs %d", len(data), m.C*m.H*m.W)
	}
	for i, v := range data {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return nil, refuse(http.StatusBadRequest, "number %d of the tensor is %v", i, v)
		}
	}
	return data, nil
}

// oneLine keeps a message short and on one line.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "..."
	}
	return s
}
