package dataset

import (
	"archive/zip"
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Array is one array of a NPY or NPZ file, in C order: Floats for
// floating-point kinds (rounded to float32), Ints for integers and booleans.
type Array struct {
	Name   string // member of the NPZ file, or the NPY file's name without its ending
	Shape  []int
	Floats []float32
	Ints   []int64
}

// ReadArrays reads every array of a .npy or .npz file, in the order of names.
// Sizes are checked against the file before memory is taken.
func ReadArrays(path string) ([]Array, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, reason(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, reason(err))
	}
	s := &Set{limits: OpenOptions{}.limits()}
	head := make([]byte, 4)
	if _, err := f.ReadAt(head, 0); err != nil {
		return nil, fmt.Errorf("%s: the file ends too early", path)
	}
	if sniff(head) != kindNPZ {
		a, err := readNPY(bufio.NewReaderSize(f, 1<<16), info.Size(), s.limits.memory)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		base := filepath.Base(path)
		return []Array{a.named(strings.TrimSuffix(base, filepath.Ext(base)))}, nil
	}
	zr, err := zip.NewReader(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: the NPZ archive is damaged: %s", path, oneLine(err.Error()))
	}
	var out []Array
	for _, m := range zr.File {
		name := strings.TrimSuffix(m.Name, ".npy")
		a, err := s.readMember(m)
		if err != nil {
			return nil, fmt.Errorf("%s: array %q: %w", path, name, err)
		}
		out = append(out, a.named(name))
	}
	slices.SortFunc(out, func(a, b Array) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func (a *npyArray) named(name string) Array {
	out := Array{Name: name, Shape: a.shape}
	if a.kind == 'f' {
		out.Floats = a.float32s()
	} else {
		out.Ints = a.integers()
	}
	return out
}
