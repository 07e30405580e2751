package dataset

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	_ "image/gif"  // first frame
	_ "image/jpeg" // grey, YCbCr, CMYK; baseline and progressive
	_ "image/png"  // 1 to 16 bits
	"io"
	"os"
	"slices"
	"strings"

	_ "golang.org/x/image/bmp"
	_ "golang.org/x/image/tiff"
	_ "golang.org/x/image/webp"
)

// Default limits of OpenOptions.
const (
	DefaultMaxPixels     = 64 << 20 // pixels of one picture
	DefaultMaxImageBytes = 32 << 20 // bytes of one image file
)

// limits are the bounds of OpenOptions with defaults filled in.
type limits struct {
	pixels     int64 // of one picture
	imageBytes int64 // of one image file
	memory     int64 // of arrays and unpacked archives together
}

// DecodeImage decodes one picture in any of the formats PNG, JPEG, GIF (first frame), BMP, TIFF and WebP, told apart
// by content. A JPEG is turned upright as its Exif orientation says. The size is checked against DefaultMaxImageBytes and, before any pixel is decoded, DefaultMaxPixels.
// It also returns the name of the format.
func DecodeImage(data []byte) (image.Image, string, error) {
	return OpenOptions{}.limits().decode(data)
}

// config reads the size of a picture from its header and checks it.
func (l limits) config(data []byte) (cfg image.Config, format string, err error) {
	defer recoverDecoder(&err)
	switch {
	case len(data) == 0:
		return cfg, "", errors.New("the file is empty")
	case int64(len(data)) > l.imageBytes:
		return cfg, "", fmt.Errorf("the file is larger than %d MiB", l.imageBytes>>20)
	}
	cfg, format, err = image.DecodeConfig(bytes.NewReader(data))
	switch {
	case errors.Is(err, image.ErrFormat):
		return cfg, "", errors.New("not a PNG, JPEG, GIF, BMP, TIFF or WebP image")
	case err != nil:
		return cfg, format, damaged(format, err)
	case cfg.Width <= 0 || cfg.Height <= 0:
		return cfg, format, fmt.Errorf("the picture is %d x %d pixels", cfg.Width, cfg.Height)
	case int64(cfg.Width) > l.pixels/int64(cfg.Height):
		return cfg, format, fmt.Errorf("the picture is %d x %d pixels, more than %d megapixels",
			cfg.Width, cfg.Height, l.pixels>>20)
	}
	return cfg, format, nil
}

// decode decodes a picture after its header has been checked.
func (l limits) decode(data []byte) (img image.Image, format string, err error) {
	cfg, format, err := l.config(data)
	if err != nil {
		return nil, format, err
	}
	defer recoverDecoder(&err)
	img, format, err = image.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, format, damaged(format, err)
	}
	if size := img.Bounds().Size(); size.X <= 0 || size.Y <= 0 ||
		int64(size.X)*int64(size.Y) > max(l.pixels, int64(cfg.Width)*int64(cfg.Height)) {
		return nil, format, fmt.Errorf("the %s picture decodes to %d x %d pixels", format, size.X, size.Y)
	}
	if m, ok := img.(*image.Paletted); ok && len(m.Pix) > 0 {
		if top := int(slices.Max(m.Pix)); top >= len(m.Palette) {
			return nil, format, fmt.Errorf("the %s data is damaged: colour %d of a palette of %d", format, top, len(m.Palette))
		}
	}
	if format == "jpeg" {
		img = upright(img, orientation(data))
	}
	return img, format, nil
}

func damaged(format string, err error) error {
	if format == "" {
		format = "image"
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the %s data ends too early", format)
	}
	return fmt.Errorf("the %s data is damaged: %s", format, oneLine(strings.TrimPrefix(err.Error(), format+": ")))
}

// recoverDecoder turns a panic of a decoder into an error: the decoders are not ours and meet hostile bytes.
func recoverDecoder(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("the image decoder failed: %s", oneLine(fmt.Sprint(p)))
	}
}

// oneLine quotes text that does not fit on a line, and cuts it at 200 bytes.
func oneLine(s string) string {
	if len(s) > 200 {
		s = s[:200] + "..."
	}
	for _, r := range s {
		if r < ' ' || r == 0x7f {
			return fmt.Sprintf("%q", s)
		}
	}
	return s
}

// readFile reads the first n bytes, all where n is 0, of a regular file of at most limit bytes.
func readFile(path string, n, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		if link, lerr := os.Lstat(path); lerr == nil && link.Mode()&os.ModeSymlink != 0 {
			return nil, errors.New("a symbolic link that leads nowhere")
		}
		return nil, reason(err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("the file is larger than %d MiB", limit>>20)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, reason(err)
	}
	defer f.Close()
	size := info.Size()
	if n > 0 {
		size = min(size, n)
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, reason(err)
	}
	return data, nil
}

// reason drops the path from an error of the os package; messages name it already.
func reason(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
