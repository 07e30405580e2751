package dataset

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
)

// files is a tree of files by relative path.
type files map[string][]byte

// write puts the tree into a new folder and returns it.
func (f files) write(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range f {
		full := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// names returns the paths in order.
func (f files) names() (out []string) {
	for n := range f {
		out = append(out, n)
	}
	sort.Strings(out)
	return out
}

// tar returns the tree as an archive, its members in reverse order.
func (f files) tar(t testing.TB) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	names := f.names()
	for i := range names {
		name := names[len(names)-1-i]
		if err := w.WriteHeader(&tar.Header{Name: "./" + name, Mode: 0o644, Size: int64(len(f[name])), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		w.Write(f[name])
	}
	w.Close()
	return buf.Bytes()
}

func gz(data []byte) []byte {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	w.Write(data)
	w.Close()
	return buf.Bytes()
}

// picture returns a PNG of w x h pixels whose content depends on seed.
func picture(w, h, seed int) []byte {
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			img.SetRGBA(x, y, color.RGBA{byte(seed * 7), byte(seed*31 + 9*x), byte(seed + 5*y), 255})
		}
	}
	return encodePNG(img)
}

func encodePNG(img image.Image) []byte {
	var buf bytes.Buffer
	png.Encode(&buf, img)
	return buf.Bytes()
}

func encodeJPEG(img image.Image) []byte {
	var buf bytes.Buffer
	jpeg.Encode(&buf, img, nil)
	return buf.Bytes()
}

// pictures returns n pictures in each class folder.
func pictures(n int, classes ...string) files {
	f := files{}
	for c, class := range classes {
		for i := range n {
			f[fmt.Sprintf("%s/%03d.png", class, i)] = picture(8, 6, c*n+i)
		}
	}
	return f
}

// idx returns an IDX file of n items whose bytes count up from seed.
func idx(seed int, dims ...int) []byte {
	out := []byte{0, 0, 8, byte(len(dims))}
	n := 1
	for _, d := range dims {
		out = binary.BigEndian.AppendUint32(out, uint32(d))
		n *= d
	}
	for i := range n {
		out = append(out, byte(seed+i+i/251))
	}
	return out
}

// idxLabels returns an IDX file of the given labels.
func idxLabels(labels ...byte) []byte {
	return append(append([]byte{0, 0, 8, 1}, binary.BigEndian.AppendUint32(nil, uint32(len(labels)))...), labels...)
}

// npy returns a NPY file with a header as given.
func npy(header string, data []byte) []byte {
	header += strings.Repeat(" ", 63-(10+len(header))%64) + "\n"
	out := append([]byte("\x93NUMPY\x01\x00"), byte(len(header)), byte(len(header)>>8))
	return append(append(out, header...), data...)
}

func npyHeader(descr, shape string) string {
	return fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': %s, }", descr, shape)
}

// hugePNG is a PNG whose header claims 50 gigapixels.
func hugePNG() []byte {
	head := binary.BigEndian.AppendUint32([]byte("IHDR"), 223_000)
	head = append(binary.BigEndian.AppendUint32(head, 223_000), 1, 0, 0, 0, 0)
	out := append([]byte("\x89PNG\r\n\x1a\n"), 0, 0, 0, 13)
	out = append(out, head...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(head))
}

// cmykJPEG is a baseline JPEG of 8 x 8 pixels with four components, each 128 everywhere.
func cmykJPEG() []byte {
	var b bytes.Buffer
	b.WriteString("\xff\xd8\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00")
	b.Write([]byte{0xff, 0xdb, 0, 67, 0})
	b.Write(bytes.Repeat([]byte{1}, 64))
	b.Write([]byte{0xff, 0xc0, 0, 20, 8, 0, 8, 0, 8, 4, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0, 4, 0x11, 0})
	for class := range 2 { // one code of one bit, for the value 0
		b.Write([]byte{0xff, 0xc4, 0, 20, byte(class << 4), 1})
		b.Write(make([]byte, 16))
	}
	b.Write([]byte{0xff, 0xda, 0, 14, 4, 1, 0, 2, 0, 3, 0, 4, 0, 0, 63, 0})
	b.Write([]byte{0x00, 0xff, 0xd9}) // four times: difference 0, end of block
	return b.Bytes()
}

// mustOpen opens a set that must be sound.
func mustOpen(t testing.TB, path string, opt OpenOptions) *Set {
	t.Helper()
	s, err := Open(path, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// mustSplit returns a split that must be there.
func mustSplit(t testing.TB, s *Set, name string) *Split {
	t.Helper()
	p, err := s.Split(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// describe lists the images of a split as base name and label.
func describe(p *Split) string {
	var out []string
	order := make([]int, p.Len())
	for i := range order {
		order[i] = i
	}
	if p.Name == All { // the training part stands before the other
		sort.Slice(order, func(i, j int) bool { return p.ImageName(order[i]) < p.ImageName(order[j]) })
	}
	for _, i := range order {
		name := filepath.ToSlash(p.ImageName(i))
		if j := strings.LastIndexAny(name, "/ "); j >= 0 {
			name = name[j+1:]
		}
		out = append(out, fmt.Sprintf("%s=%d", name, p.Label(i)))
	}
	return strings.Join(out, " ")
}

// oneLineError checks that err is one line that contains all of want.
func oneLineError(t testing.TB, what string, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error", what)
		return
	}
	if strings.Contains(err.Error(), "\n") || len(err.Error()) > 4096 {
		t.Errorf("%s: not one short line: %q", what, err)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s: error %q, want %q in it", what, err, w)
		}
	}
}
