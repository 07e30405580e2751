package dataset

import (
	"bytes"
	"image"
)

// Decode is DecodeImage with the limits MaxPixels and MaxImageBytes of o.
func (o OpenOptions) Decode(data []byte) (image.Image, string, error) { return o.limits().decode(data) }

// DecodeNPY reads one array in the NPY format. Its size is checked against the data before memory is taken.
func DecodeNPY(data []byte) (Array, error) {
	a, err := readNPY(bytes.NewReader(data), int64(len(data)), int64(len(data)))
	if err != nil {
		return Array{}, err
	}
	return a.named(""), nil
}
