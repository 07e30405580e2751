package dataset

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sbinet/npyio"
)

// npz returns an archive of arrays.
func npz(t testing.TB, arrays files) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for _, name := range arrays.names() {
		f, err := w.Create(name + ".npy")
		if err != nil {
			t.Fatal(err)
		}
		f.Write(arrays[name])
	}
	w.Close()
	return buf.Bytes()
}

func f32(v ...float32) (out []byte) {
	for _, x := range v {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(x))
	}
	return out
}

// TestNPYAgainstNpyio reads what another library writes.
func TestNPYAgainstNpyio(t *testing.T) {
	var buf bytes.Buffer
	want := []float32{1, -2.5, 3, 4, 5, 6e20}
	if err := npyio.Write(&buf, want); err != nil {
		t.Fatal(err)
	}
	a, err := readNPY(bytes.NewReader(buf.Bytes()), int64(buf.Len()), 1<<20)
	if err != nil || !slices.Equal(a.float32s(), want) || !slices.Equal(a.shape, []int{6}) {
		t.Errorf("%+v, %v", a, err)
	}
	buf.Reset()
	if err := npyio.Write(&buf, []int64{1, -2, 1 << 40}); err != nil {
		t.Fatal(err)
	}
	a, err = readNPY(bytes.NewReader(buf.Bytes()), int64(buf.Len()), 1<<20)
	if err != nil || !slices.Equal(a.integers(), []int64{1, -2, 1 << 40}) {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestNPYTypes(t *testing.T) {
	for descr, c := range map[string]struct {
		data []byte
		want []int64
	}{
		"|u1": {[]byte{255, 1}, []int64{255, 1}},
		"|i1": {[]byte{255, 1}, []int64{-1, 1}},
		"<i2": {[]byte{0xfe, 0xff, 1, 0}, []int64{-2, 1}},
		">i2": {[]byte{0xff, 0xfe, 0, 1}, []int64{-2, 1}},
		"<u4": {[]byte{255, 255, 255, 255, 1, 0, 0, 0}, []int64{1<<32 - 1, 1}},
		">i8": {[]byte{255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 1}, []int64{-1, 1}},
	} {
		data := npy(npyHeader(descr, "(2,)"), c.data)
		a, err := readNPY(bytes.NewReader(data), int64(len(data)), 1<<20)
		if err != nil || !slices.Equal(a.integers(), c.want) {
			t.Errorf("%s: %+v, %v", descr, a, err)
		}
	}
	data := npy(npyHeader(">f8", "(1,)"), []byte{0x3f, 0xf8, 0, 0, 0, 0, 0, 0})
	if a, err := readNPY(bytes.NewReader(data), -1, 1<<20); err != nil || a.float32s()[0] != 1.5 {
		t.Errorf("float64: %v", err)
	}
}

func TestArrays(t *testing.T) {
	images := npy(npyHeader("|u1", "(3, 2, 2)"), []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
	labels := npy(npyHeader("<i8", "(3, 1)"), append(append([]byte{2, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 8)...), bytes.Repeat([]byte{255}, 8)...))
	last := npy(npyHeader("|u1", "(1, 2, 2, 3)"), []byte{1, 11, 21, 2, 12, 22, 3, 13, 23, 4, 14, 24})
	one := npy(npyHeader("|u1", "(1, 2, 2)"), []byte{9, 9, 9, 9})
	for name, c := range map[string]struct {
		files       files
		path        string
		n, held     int
		firstLabel  int
		first       []byte
		trainIsGone bool
	}{
		"npy with labels":     {files{"images.npy": images, "labels.npy": labels}, "images.npy", 3, 1, 2, []byte{1, 2, 3, 4}, false},
		"folder":              {files{"images.npy": images, "labels.npy": labels}, "", 3, 1, 2, []byte{1, 2, 3, 4}, false},
		"named labels":        {files{"x.npy": images, "x_labels.npy": labels}, "x.npy", 3, 1, 2, []byte{1, 2, 3, 4}, false},
		"other labels":        {files{"x.npy": images, "labels.npy": []byte("not read")}, "x.npy", 3, 1, -1, []byte{1, 2, 3, 4}, false},
		"channels last":       {files{"x.npy": last}, "x.npy", 1, 0, -1, []byte{1, 2, 3, 4, 11, 12, 13, 14, 21, 22, 23, 24}, false},
		"npz":                 {files{"a.npz": npz(t, files{"images": images, "labels": labels})}, "a.npz", 3, 1, 2, []byte{1, 2, 3, 4}, false},
		"npz in two parts":    {files{"a.npz": npz(t, files{"x_train": images, "y_train": labels, "x_test": one})}, "", 4, 1, 2, []byte{1, 2, 3, 4}, false},
		"npz for tests":       {files{"a.npz": npz(t, files{"x_test": images, "y_test": labels})}, "", 3, 3, 2, []byte{1, 2, 3, 4}, true},
		"npz for training":    {files{"a.npz": npz(t, files{"train_images": images, "train_labels": labels})}, "", 3, 1, 2, []byte{1, 2, 3, 4}, false},
		"npz of one array":    {files{"a.npz": npz(t, files{"whatever": images})}, "", 3, 1, -1, []byte{1, 2, 3, 4}, false},
		"npz with other data": {files{"a.npz": npz(t, files{"x": images, "y": labels, "extra": []byte("not read")})}, "", 3, 1, 2, []byte{1, 2, 3, 4}, false},
	} {
		s, err := Open(filepath.Join(c.files.write(t), c.path), OpenOptions{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		all := mustSplit(t, s, All)
		at := slices.IndexFunc(all.items, func(it item) bool { return it.k == 0 })
		px, err := all.items[at].src.load(0)
		if s.Format != "npy" || all.Len() != c.n || len(s.eval) != c.held || all.Label(at) != c.firstLabel || !bytes.Equal(px.bytes, c.first) {
			t.Errorf("%s: %d images, %d held out, label %d, %v, %v", name, all.Len(), len(s.eval), all.Label(at), px.bytes, err)
		}
		if _, err := s.Split(Train); (err != nil) != c.trainIsGone {
			t.Errorf("%s: training part: %v", name, err)
		}
	}
}

func TestPreprocessedArrays(t *testing.T) {
	nan := float32(math.NaN())
	good := npy(npyHeader("<f4", "(2, 1, 1, 2)"), f32(0.5, -3, 1e9, 4))
	split := mustSplit(t, mustOpen(t, filepath.Join(files{"x.npy": good}.write(t), "x.npy"), OpenOptions{}), All)
	l := mustLoader(t, split, Preprocess{Mean: []float32{9}}, Shape{1, 1, 2}, LoaderOptions{Batch: 2})
	b, err := l.Batch(0, 0)
	slices.Sort(b.X)
	if err != nil || !slices.Equal(b.X, []float32{-3, 0.5, 4, 1e9}) {
		t.Errorf("%v, %v", b.X, err)
	}
	_, err = NewLoader(split, Preprocess{}, Shape{1, 1, 3}, LoaderOptions{Batch: 1})
	oneLineError(t, "other shape", err, "1x1x2", "1x1x3")
	_, err = NewLoader(split, Preprocess{}, Shape{1, 1, 2}, LoaderOptions{Batch: 1, Augment: Augment{Flip: true}})
	oneLineError(t, "augment", err, "cannot be augmented")

	values := make([]float32, 40)
	values[7] = nan
	bad := npy(npyHeader("<f4", "(20, 1, 1, 2)"), f32(values...))
	s := mustOpen(t, filepath.Join(files{"x.npy": bad}.write(t), "x.npy"), OpenOptions{})
	l = mustLoader(t, mustSplit(t, s, All), Preprocess{}, Shape{1, 1, 2}, LoaderOptions{Batch: 2})
	if sk := s.Skipped(); l.Len() != 19 || len(sk) != 1 || sk[0].Reason != "value 1 is NaN" || !bytes.HasSuffix([]byte(sk[0].Path), []byte("image 3")) {
		t.Errorf("%d images, skipped %v", l.Len(), sk)
	}
	mixed := files{"x.npz": npz(t, files{"x_train": good, "x_test": npy(npyHeader("|u1", "(1, 1, 2)"), []byte{1, 2})})}.write(t)
	_, err = NewLoader(mustSplit(t, mustOpen(t, mixed, OpenOptions{}), All), Preprocess{}, Shape{1, 1, 2}, LoaderOptions{Batch: 1})
	oneLineError(t, "mixed", err, "mixes")
}

func TestNPYFaults(t *testing.T) {
	images := npy(npyHeader("|u1", "(3, 2, 2)"), make([]byte, 12))
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"short magic":   {images[:7], "ends too early"},
		"short header":  {images[:40], "ends too early"},
		"short data":    {images[:len(images)-1], "ends too early"},
		"more data":     {append(slices.Clone(images), 0), "1 bytes more"},
		"version":       {append([]byte("\x93NUMPY\x09\x00"), images[8:]...), "version 9"},
		"long header":   {append([]byte("\x93NUMPY\x02\x00\xff\xff\xff\xff"), images[10:]...), "header of more than"},
		"no dictionary": {npy("hello", nil), "cannot read the NPY header"},
		"no shape":      {npy("{'descr': '|u1', 'fortran_order': False, }", nil), "cannot read the NPY header"},
		"shape twice":   {npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1,), 'shape': (2,)}", nil), "cannot read the NPY header"},
		"objects":       {npy(npyHeader("|O", "(3,)"), nil), "elements of type"},
		"records":       {npy("{'descr': [('a', '<i4')], 'fortran_order': False, 'shape': (3,), }", nil), "elements of type"},
		"complex":       {npy(npyHeader("<c8", "(3,)"), nil), `"c8"`},
		"half":          {npy(npyHeader("<f2", "(3, 1, 1)"), make([]byte, 6)), "f2; want uint8"},
		"int64 images":  {npy(npyHeader("<i8", "(1, 1, 1)"), make([]byte, 8)), "i8; want uint8"},
		"fortran":       {npy("{'descr': '|u1', 'fortran_order': True, 'shape': (3, 2, 2), }", make([]byte, 12)), "ascontiguousarray"},
		"negative":      {npy(npyHeader("|u1", "(-3, 2, 2)"), make([]byte, 12)), "cannot read"},
		"huge":          {npy(npyHeader("|u1", "(2000000000, 2000000000, 2000000000)"), nil), "MiB"},
		"huge number":   {npy(npyHeader("|u1", "(99999999999,)"), nil), "too large"},
		"rank":          {npy(npyHeader("|u1", "(12,)"), make([]byte, 12)), "[12]"},
		"none":          {npy(npyHeader("|u1", "(0, 2, 2)"), nil), "there are none"},
		"last floats":   {npy(npyHeader("<f4", "(1, 2, 2, 3)"), make([]byte, 48)), "transpose(0,3,1,2)"},
	} {
		_, err := Open(filepath.Join(files{"x.npy": c.data}.write(t), "x.npy"), OpenOptions{})
		oneLineError(t, name, err, "x.npy: ", c.want)
	}
	label := func(descr, shape string, data ...byte) []byte { return npy(npyHeader(descr, shape), data) }
	good := npz(t, files{"images": images})
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"label count":   {npz(t, files{"images": images, "labels": label("|u1", "(2,)", 1, 2)}), "2 labels for 3 images"},
		"label floats":  {npz(t, files{"images": images, "labels": npy(npyHeader("<f4", "(3,)"), make([]byte, 12))}), "one integer an image"},
		"one-hot":       {npz(t, files{"images": images, "labels": label("|u1", "(3, 2)", 1, 0, 1, 0, 1, 0)}), "one integer an image"},
		"label -2":      {npz(t, files{"images": images, "labels": label("|i1", "(3,)", 1, 254, 1)}), "label -2 of image 1"},
		"no images":     {npz(t, files{"a": images, "b": images}), `there are "a, b"`},
		"broken member": {npz(t, files{"images": []byte("hello, this is text")}), `array "images": not a NPY file`},
		"truncated zip": {good[:len(good)-30], "NPZ archive is damaged"},
		"empty zip":     {npz(t, files{}), "no array"},
	} {
		_, err := Open(filepath.Join(files{"x.npz": c.data}.write(t), "x.npz"), OpenOptions{})
		oneLineError(t, name, err, "x.npz: ", c.want)
	}
	_, err := Open(filepath.Join(files{"images.npy": images, "labels.npy": {1}}.write(t), "images.npy"), OpenOptions{})
	oneLineError(t, "broken labels", err, "labels.npy: ", "too early")
}

func FuzzNPY(f *testing.F) {
	f.Add(npy(npyHeader("|u1", "(3, 2, 2)"), make([]byte, 12)))
	f.Add(npy(npyHeader(">f8", "(1,)"), make([]byte, 8)))
	f.Add(npy("{'shape': (), 'fortran_order': True, 'descr': '<i4'}", make([]byte, 4)))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := readNPY(bytes.NewReader(data), int64(len(data)), 1<<20)
		if err != nil {
			oneLineError(t, "fuzzed NPY", err)
			return
		}
		a.integers()
		if a.size >= 4 {
			a.float32s()
		}
	})
}
