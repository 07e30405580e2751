package dataset

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

const (
	trainImages = "train-images-idx3-ubyte"
	trainLabels = "train-labels-idx1-ubyte"
	testImages  = "t10k-images-idx3-ubyte"
	testLabels  = "t10k-labels-idx1-ubyte"
)

func TestIDXKeepsSplitsApart(t *testing.T) {
	dir := files{
		trainImages + ".gz": gz(idx(1, 3, 2, 2)), trainLabels + ".gz": gz(idxLabels(5, 6, 7)),
		testImages: idx(100, 2, 2, 2), testLabels: idxLabels(8, 9),
		"README.md": []byte("about"), "gen/main.go": []byte("package main"),
	}.write(t)
	s := mustOpen(t, dir, OpenOptions{})
	train, eval := mustSplit(t, s, Train), mustSplit(t, s, Eval)
	if s.Format != "idx" || s.HeldOut || train.Len() != 3 || eval.Len() != 2 || mustSplit(t, s, All).Len() != 5 {
		t.Errorf("format %q, held out %v, %d and %d images", s.Format, s.HeldOut, train.Len(), eval.Len())
	}
	if train.Label(1) != 6 || eval.Label(1) != 9 || !train.Labelled() {
		t.Errorf("labels %d and %d", train.Label(1), eval.Label(1))
	}
	px, err := train.items[1].src.load(train.items[1].k)
	if err != nil || !bytes.Equal(px.bytes, []byte{5, 6, 7, 8}) {
		t.Errorf("image 1 is %v, %v", px.bytes, err)
	}
	oneLineError(t, "label 7 of 7 classes", train.CheckLabels(7), "image 2", "label 7", "0 to 6")
	if err := train.CheckLabels(8); err != nil {
		t.Error(err)
	}
}

func TestIDXSingleSplits(t *testing.T) {
	train := files{"train-images.idx3-ubyte": idx(1, 30, 2, 2), "train-labels.idx1-ubyte": idxLabels(make([]byte, 30)...)}
	s := mustOpen(t, train.write(t), OpenOptions{})
	if n, m := mustSplit(t, s, Train).Len(), mustSplit(t, s, Eval).Len(); !s.HeldOut || n != 27 || m != 3 {
		t.Errorf("held out %v: %d and %d images, want 27 and 3", s.HeldOut, n, m)
	}
	dir := files{testImages: idx(1, 4, 2, 2)}.write(t)
	for _, path := range []string{dir, filepath.Join(dir, testImages)} {
		s = mustOpen(t, path, OpenOptions{})
		_, err := s.Split(Train)
		oneLineError(t, "train of t10k", err, "no training images", "4 images to evaluate")
		if e := mustSplit(t, s, Eval); e.Len() != 4 || e.Labelled() {
			t.Errorf("%d images, labelled %v", e.Len(), e.Labelled())
		}
		_, err = s.Split("validation")
		oneLineError(t, "unknown split", err, `"validation"`, `"eval"`)
	}
}

func TestIDXFaults(t *testing.T) {
	good := idx(0, 3, 2, 2)
	packed := gz(bytes.Repeat(good, 100))
	for name, c := range map[string]struct {
		files files
		want  string
	}{
		"empty file":         {files{trainImages: {}}, "the file is empty"},
		"short header":       {files{trainImages: good[:7]}, "ends too early"},
		"short data":         {files{trainImages: good[:20]}, "ends too early"},
		"truncated gz":       {files{trainImages + ".gz": gz(good)[:25]}, "ends too early"},
		"damaged gz":         {files{trainImages + ".gz": append(packed[:len(packed)-8:len(packed)-8], 1, 2, 3, 4, 5, 6, 7, 8)}, "more data than"},
		"bad checksum":       {files{trainImages + ".gz": badSum(gz(good))}, "damaged"},
		"not gz":             {files{trainImages + ".gz": []byte("\x1f\x8bnonsense here")}, "gzip"},
		"too much data":      {files{trainImages: append(good[:len(good):len(good)], 0)}, "more data than"},
		"floats":             {files{trainImages: append([]byte{0, 0, 13, 3}, good[4:]...)}, "type 0x0d"},
		"text":               {files{trainImages: []byte("hello, world")}, "not an IDX file"},
		"labels as images":   {files{trainImages: idxLabels(1, 2)}, "1 dimensions, want 3"},
		"no images":          {files{trainImages: idx(0, 0, 2, 2)}, "no images"},
		"zero height":        {files{trainImages: idx(0, 2, 0, 2)}, "2 x 0 pixels"},
		"huge":               {files{trainImages: {0, 0, 8, 3, 127, 255, 255, 255, 127, 255, 255, 255, 127, 255, 255, 255}}, "MiB"},
		"huge dimension":     {files{trainImages: {0, 0, 8, 3, 255, 255, 255, 255, 0, 0, 0, 1, 0, 0, 0, 1}}, "too large"},
		"claims too much":    {files{trainImages + ".gz": gz([]byte{0, 0, 8, 3, 0, 15, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0})}, ""},
		"label count":        {files{trainImages: good, trainLabels: idxLabels(1, 2)}, "2 labels for the 3 images"},
		"labels alone":       {files{trainLabels: idxLabels(1, 2)}, "labels without their images"},
		"two training sets":  {files{trainImages: good, "b-train-images-idx3-ubyte": good}, "both"},
		"one names no split": {files{testImages: good, "other-images-idx3-ubyte": good}, "names no split"},
	} {
		_, err := Open(c.files.write(t), OpenOptions{})
		oneLineError(t, name, err, c.want)
	}
	dir := files{trainImages: good, trainLabels: idxLabels(0, 1, 2)}.write(t)
	_, err := Open(filepath.Join(dir, trainLabels), OpenOptions{})
	oneLineError(t, "label file", err, "holds labels")
	_, err = Open(dir, OpenOptions{MaxMemory: 11})
	oneLineError(t, "memory limit", err, "takes more than")
	if _, err = Open(dir, OpenOptions{MaxMemory: 12}); err != nil {
		t.Error(err)
	}
}

// badSum changes the checksum of gzip data.
func badSum(data []byte) []byte {
	data[len(data)-5] ^= 1
	return data
}

func TestPlainBeforeGzip(t *testing.T) {
	dir := files{trainImages: idx(1, 3, 2, 2), trainImages + ".gz": []byte("not read")}.write(t)
	if n := mustSplit(t, mustOpen(t, dir, OpenOptions{}), All).Len(); n != 3 {
		t.Errorf("%d images", n)
	}
}

func TestShippedFashionMNIST(t *testing.T) {
	dir := "../testdata/fashion-mnist"
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the shipped Fashion-MNIST subset is not there")
	}
	s := mustOpen(t, dir, OpenOptions{})
	train, eval := mustSplit(t, s, Train), mustSplit(t, s, Eval)
	if train.Len() != 18000 || eval.Len() != 2500 || train.Label(0) != 9 || eval.Label(0) != 9 {
		t.Errorf("%d and %d images, first labels %d and %d", train.Len(), eval.Len(), train.Label(0), eval.Label(0))
	}
	p, err := Resolve("auto", s, Shape{1, 28, 28})
	if err != nil || p.String() != "mean=0.2856 std=0.3533 resize=28 crop=28 interp=bicubic" {
		t.Errorf("auto gives %q, %v", p, err)
	}
}

func TestFullFashionMNIST(t *testing.T) {
	dir := "../../shared/data/fashion-mnist"
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the full Fashion-MNIST is not there")
	}
	s := mustOpen(t, dir, OpenOptions{})
	p, err := Resolve("", s, Shape{1, 32, 32})
	if err != nil || p.String() != "mean=0.286 std=0.353 resize=28 crop=28 interp=bicubic pad=2" {
		t.Errorf("auto gives %q, %v", p, err)
	}
}

func FuzzIDX(f *testing.F) {
	f.Add(idx(1, 3, 2, 2), 3)
	f.Add(gz(idx(1, 3, 2, 2)), 3)
	f.Add(gz(idxLabels(1, 2, 3)), 1)
	f.Add([]byte{0, 0, 8, 3, 255, 0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0}, 3)
	f.Fuzz(func(t *testing.T, data []byte, rank int) {
		if rank != 1 {
			rank = 3
		}
		dims, out, err := readIDX(bufio.NewReader(bytes.NewReader(data)), int64(len(data)), rank, 1<<20)
		if err != nil {
			oneLineError(t, "fuzzed IDX", err)
			return
		}
		n := 1
		for _, d := range dims {
			n *= d
		}
		if len(dims) != rank || len(out) != n {
			t.Errorf("dimensions %v with %d bytes", dims, len(out))
		}
	})
}
