// Command gen cuts the Fashion-MNIST subset that the repository ships out of the full data set.
//
//	go run ./testdata/fashion-mnist/gen -src DIR -dst testdata/fashion-mnist
//
// DIR holds the four official IDX .gz files. The first -train training images and the first -test test images
// are kept, in their order, with their labels. The gzip header carries no name and no time, so that the same
// Go release writes the same bytes.
package main

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

func main() {
	src := flag.String("src", "", "folder with the four official Fashion-MNIST .gz files")
	dst := flag.String("dst", "testdata/fashion-mnist", "folder to write to")
	train := flag.Uint("train", 18000, "training images to keep")
	test := flag.Uint("test", 2500, "test images to keep")
	flag.Parse()
	for _, part := range []struct {
		name string
		keep uint
	}{
		{"train-images-idx3-ubyte.gz", *train},
		{"train-labels-idx1-ubyte.gz", *train},
		{"t10k-images-idx3-ubyte.gz", *test},
		{"t10k-labels-idx1-ubyte.gz", *test},
	} {
		if err := cut(filepath.Join(*src, part.name), filepath.Join(*dst, part.name), uint32(part.keep)); err != nil {
			fmt.Fprintln(os.Stderr, "gen:", err)
			os.Exit(1)
		}
	}
}

// cut copies the IDX file at src to dst, keeping the first keep items of its first dimension.
func cut(src, dst string, keep uint32) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	zr, err := gzip.NewReader(bufio.NewReader(in))
	if err != nil {
		return fmt.Errorf("%s: %w", src, err)
	}
	var magic uint32
	if err := binary.Read(zr, binary.BigEndian, &magic); err != nil {
		return fmt.Errorf("%s: %w", src, err)
	}
	dims := make([]uint32, magic&0xff)
	if err := binary.Read(zr, binary.BigEndian, dims); err != nil {
		return fmt.Errorf("%s: %w", src, err)
	}
	if magic>>8 != 0x08 || len(dims) == 0 || dims[0] < keep {
		return fmt.Errorf("%s: not an IDX file of bytes with at least %d items", src, keep)
	}
	dims[0] = keep
	size := int64(1)
	for _, d := range dims {
		size *= int64(d)
	}

	out, err := os.Create(dst)
	if err != nil {
		return err
	}
	defer out.Close()
	zw, err := gzip.NewWriterLevel(out, gzip.BestCompression)
	if err != nil {
		return err
	}
	if err := binary.Write(zw, binary.BigEndian, append([]uint32{magic}, dims...)); err != nil {
		return err
	}
	if _, err := io.CopyN(zw, zr, size); err != nil {
		return fmt.Errorf("%s: %w", src, err)
	}
	if err := zw.Close(); err != nil {
		return err
	}
	return out.Close()
}
