package dataset

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// npyArray is an array of a NPY file, in C order.
type npyArray struct {
	shape []int
	kind  byte // 'u', 'i', 'f' or 'b', as in the dtype
	size  int  // bytes an element
	big   bool // big-endian
	data  []byte
}

// The header of a NPY file is a Python dictionary with these three keys in any order.
var (
	npyDescr   = regexp.MustCompile(`^'descr': *'([<>=|]?)([a-zA-Z])([0-9]+)'$`)
	npyFortran = regexp.MustCompile(`^'fortran_order': *(True|False)$`)
	npyShape   = regexp.MustCompile(`^'shape': *\(([0-9, ]*)\)$`)
)

// maxNPYHeader bounds the text header; NumPy itself stays below 1 KiB for plain arrays.
const maxNPYHeader = 1 << 16

// readNPY reads a NPY stream (format versions 1 to 3) of at most size bytes, -1 where that is unknown. The shape is
// checked against size and limit before memory is taken.
func readNPY(r io.Reader, size, limit int64) (*npyArray, error) {
	early := errors.New("the NPY data ends too early")
	ends := func(err error) error {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return early
		}
		return reason(err)
	}
	head := make([]byte, 12)
	if _, err := io.ReadFull(r, head[:8]); err != nil {
		return nil, ends(err)
	}
	if string(head[:6]) != "\x93NUMPY" {
		return nil, errors.New("not a NPY file")
	}
	length, fixed := 0, 10
	switch head[6] {
	case 1:
		if _, err := io.ReadFull(r, head[8:10]); err != nil {
			return nil, ends(err)
		}
		length = int(binary.LittleEndian.Uint16(head[8:]))
	case 2, 3:
		fixed = 12
		if _, err := io.ReadFull(r, head[8:12]); err != nil {
			return nil, ends(err)
		}
		length = int(min(binary.LittleEndian.Uint32(head[8:]), maxNPYHeader+1))
	default:
		return nil, fmt.Errorf("NPY format version %d; 1 to 3 are known", head[6])
	}
	if length > maxNPYHeader {
		return nil, fmt.Errorf("a NPY header of more than %d bytes", maxNPYHeader)
	}
	text := make([]byte, length)
	if _, err := io.ReadFull(r, text); err != nil {
		return nil, ends(err)
	}
	a, err := parseNPYHeader(string(text))
	if err != nil {
		return nil, err
	}
	total := int64(a.size)
	for _, d := range a.shape {
		if d > 0 && total > limit/int64(d) {
			return nil, fmt.Errorf("the array %v takes more than %d MiB", a.shape, limit>>20)
		}
		total *= int64(d)
	}
	if size >= 0 {
		switch rest := size - int64(fixed) - int64(length); {
		case total > rest:
			return nil, early
		case total < rest:
			return nil, fmt.Errorf("%d bytes more than the shape %v says", rest-total, a.shape)
		}
	}
	a.data = make([]byte, total)
	if _, err := io.ReadFull(r, a.data); err != nil {
		return nil, ends(err)
	}
	return a, nil
}

func parseNPYHeader(text string) (*npyArray, error) {
	bad := fmt.Errorf("cannot read the NPY header %s", quoteShort(text))
	body, ok := strings.CutPrefix(strings.TrimSpace(text), "{")
	if body, ok = strings.CutSuffix(body, "}"); !ok {
		return nil, bad
	}
	// Split at the commas outside of the shape's parentheses.
	var parts []string
	depth, from := 0, 0
	for i, c := range body + "," {
		switch {
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ',' && depth == 0:
			if p := strings.TrimSpace(body[from:i]); p != "" {
				parts = append(parts, p)
			}
			from = i + 1
		}
	}
	a := &npyArray{size: -1}
	fortran, shaped := "", false
	for _, p := range parts {
		if m := npyDescr.FindStringSubmatch(p); m != nil && a.size < 0 {
			a.big, a.kind = m[1] == ">", m[2][0]
			n, err := strconv.Atoi(m[3])
			if err != nil || !strings.ContainsRune("uifb", rune(a.kind)) || n != 1 && n != 2 && n != 4 && n != 8 {
				return nil, fmt.Errorf("elements of type %q; uint8 and float32 are taken for images, integers for labels", m[2]+m[3])
			}
			a.size = n
		} else if m := npyFortran.FindStringSubmatch(p); m != nil && fortran == "" {
			fortran = m[1]
		} else if m := npyShape.FindStringSubmatch(p); m != nil && !shaped {
			shaped = true
			for _, d := range strings.Split(m[1], ",") {
				if d = strings.TrimSpace(d); d == "" {
					continue
				}
				n, err := strconv.ParseInt(d, 10, 32)
				if err != nil {
					return nil, fmt.Errorf("the NPY dimension %s is too large", d)
				}
				a.shape = append(a.shape, int(n))
			}
		} else if strings.HasPrefix(p, "'descr'") {
			return nil, fmt.Errorf("elements of type %s; uint8 and float32 are taken for images, integers for labels", quoteShort(p))
		} else {
			return nil, bad
		}
	}
	if a.size < 0 || fortran == "" || !shaped {
		return nil, bad
	}
	if fortran == "True" && len(a.shape) > 1 {
		return nil, errors.New("the array is in Fortran order; save numpy.ascontiguousarray(x)")
	}
	return a, nil
}

func quoteShort(s string) string {
	if len(s) > 80 {
		s = s[:80] + "..."
	}
	return fmt.Sprintf("%q", s)
}

func (a *npyArray) len() int {
	if len(a.shape) == 0 {
		return 1
	}
	return a.shape[0]
}

func (a *npyArray) order() binary.ByteOrder {
	if a.big {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// float32s returns the elements of an array of floating-point numbers of 4 or 8 bytes.
func (a *npyArray) float32s() []float32 {
	o := a.order()
	out := make([]float32, len(a.data)/a.size)
	for i := range out {
		if a.size == 4 {
			out[i] = math.Float32frombits(o.Uint32(a.data[4*i:]))
		} else {
			out[i] = float32(math.Float64frombits(o.Uint64(a.data[8*i:])))
		}
	}
	return out
}

// integers returns the elements of an array of integers.
func (a *npyArray) integers() []int64 {
	o := a.order()
	out := make([]int64, len(a.data)/a.size)
	for i := range out {
		b := a.data[i*a.size : (i+1)*a.size]
		var v uint64
		switch a.size {
		case 1:
			v = uint64(b[0])
		case 2:
			v = uint64(o.Uint16(b))
		case 4:
			v = uint64(o.Uint32(b))
		case 8:
			v = o.Uint64(b)
		}
		if a.kind == 'i' {
			shift := 64 - 8*a.size
			out[i] = int64(v<<shift) >> shift
		} else {
			out[i] = int64(v)
		}
	}
	return out
}
