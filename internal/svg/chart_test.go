package svg

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
)

// Every chart is well-formed XML without a number that is none, whatever it is
// given; twice the same bytes.
func TestCharts(t *testing.T) {
	level := 3.5
	charts := []Chart{
		{},
		{Title: `<&"> é`, Labels: []string{"a", "b<"}, Line: &level, Series: []Series{{Name: "x & y", X: []float64{0, 1}, Y: []float64{1, 2}, Err: []float64{0.1, 0}}, {Name: "z", X: []float64{0, 1}, Y: []float64{math.NaN(), 5}, Dashed: true}}},
		{Series: []Series{{X: []float64{1, 2, 4}, Y: []float64{3, 3}, Steps: true}}},
		{Series: []Series{{X: []float64{7}, Y: []float64{-7}}}},
		{Points: true, Labels: []string{"one", "two", "none"}, Line: &level, Series: []Series{{Y: []float64{1, 2.5}, Err: []float64{0.2, 0.1}}}},
		{Points: true, Labels: []string{"flat"}, Series: []Series{{Y: []float64{0}}}},
	}
	for columns := range 4 {
		var a, b bytes.Buffer
		if err := errors.Join(Write(&a, columns, charts...), Write(&b, columns, charts...)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Error("other bytes the second time")
		}
		for _, bad := range []string{"NaN", "Inf", "%!"} {
			if strings.Contains(a.String(), bad) {
				t.Errorf("%s in the picture", bad)
			}
		}
		d := xml.NewDecoder(&a)
		for {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Ticks are round, inside, and not too many, at any magnitude.
func TestTicks(t *testing.T) {
	for _, r := range [][2]float64{{0, 1}, {88.1, 90.3}, {-3e-5, 4e-5}, {0, 1e9}, {5, 5}, {99.99, 100}} {
		s := newScale(r[0], r[1])
		ticks := s.ticks()
		if len(ticks) < 3 || len(ticks) > 11 {
			t.Errorf("%v: %v", r, ticks)
		}
		seen := map[string]bool{}
		for _, v := range ticks {
			if v < s.lo-1e-9*(s.hi-s.lo) || v > s.hi+1e-9*(s.hi-s.lo) || seen[s.label(v)] {
				t.Errorf("%v: tick %v is outside or prints as another: %v", r, v, ticks)
			}
			seen[s.label(v)] = true
		}
	}
}

func Example() {
	var b bytes.Buffer
	err := Write(&b, 1, Chart{Title: "top-1", Labels: []string{"w4a4", "w2a2"}, Series: []Series{{X: []float64{0, 1}, Y: []float64{90.1, 87.4}}}})
	fmt.Println(err, strings.Count(b.String(), "<circle"), "points")
	// Output: <nil> 2 points
}
