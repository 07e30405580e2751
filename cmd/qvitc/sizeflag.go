package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// sizeFlag is a number of bytes as people write it: 2GiB, 512MB, 100000, or off.
type sizeFlag int64

var sizeUnits = []struct {
	suffix string
	bytes  float64
}{
	{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"tib", 1 << 40},
	{"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"tb", 1e12},
	{"k", 1 << 10}, {"m", 1 << 20}, {"g", 1 << 30}, {"b", 1},
}

func (s *sizeFlag) String() string {
	switch n := int64(*s); {
	case n <= 0:
		return "off"
	case n%(1<<30) == 0:
		return fmt.Sprintf("%dGiB", n>>30)
	case n%(1<<20) == 0:
		return fmt.Sprintf("%dMiB", n>>20)
	default:
		return strconv.FormatInt(n, 10)
	}
}

func (s *sizeFlag) Set(text string) error {
	t, unit := strings.ToLower(strings.TrimSpace(text)), 1.0
	if t == "off" || t == "0" {
		*s = 0
		return nil
	}
	for _, u := range sizeUnits {
		if r, ok := strings.CutSuffix(t, u.suffix); ok {
			t, unit = strings.TrimSpace(r), u.bytes
			break
		}
	}
	x, err := strconv.ParseFloat(t, 64)
	if err != nil || !(x > 0) || x*unit > math.MaxInt64/2 || x*unit < 1 {
		return fmt.Errorf("want a size such as 2GiB or 500MB, or off")
	}
	*s = sizeFlag(x * unit)
	return nil
}

func (s *sizeFlag) Type() string { return "size" }
