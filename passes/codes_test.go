package passes

import (
	"slices"
	"testing"

	"github.com/qvitc/qvitc/ir"
)

// TestCodesOf reads every code of every integer type, in tensors that end within a byte.
func TestCodesOf(t *testing.T) {
	for _, e := range []ir.Elem{ir.Int8, ir.Uint8, ir.Int4, ir.Uint4, ir.Int2, ir.Uint2, ir.Int16, ir.Uint16} {
		lo, hi := grid{bits: e.Bits(), signed: e.IsSigned()}.bounds()
		for extra := range 5 {
			var want []int32
			for c := lo; c <= hi; c += max(1, (hi-lo)/300) {
				want = append(want, int32(c))
			}
			for k := range extra {
				want = append(want, int32(hi-k%2))
			}
			c := codeTensor(e, want, len(want))
			if got := codesOf(c); !slices.Equal(got, want) {
				t.Errorf("%v: %v, want %v", e, got, want)
			}
			for i, v := range want {
				if c.Int(i) != int64(v) {
					t.Errorf("%v: element %d is %d", e, i, c.Int(i))
				}
			}
		}
	}
	if got := codesOf(ir.Of([]int32{-7, 1 << 30}, 2)); !slices.Equal(got, []int32{-7, 1 << 30}) {
		t.Errorf("int32: %v", got)
	}
}

func TestTransposedAs(t *testing.T) {
	for _, s := range [][2]int{{0, 3}, {3, 0}, {1, 1}, {1, 40}, {40, 1}, {7, 16}, {5, 33}} {
		rows, cols := s[0], s[1]
		src := make([]int32, rows*cols)
		for i := range src {
			src[i] = int32(i % 127)
		}
		got := transposedAs[int8](src, rows, cols)
		for r := range rows {
			for c := range cols {
				if got[c*rows+r] != int8(src[r*cols+c]) {
					t.Fatalf("%v: [%d,%d] is %d", s, c, r, got[c*rows+r])
				}
			}
		}
		if back := transposedAs[int32](got, cols, rows); !slices.Equal(back, src) {
			t.Errorf("%v: twice gives %v", s, back)
		}
	}
}
