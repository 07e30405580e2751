package main

import "testing"

func TestSizeFlag(t *testing.T) {
	for text, want := range map[string]int64{"2GiB": 2 << 30, "1.5 mib": 3 << 19, "500MB": 500e6, "100000": 100000, "7k": 7 << 10, "12B": 12, "off": 0, "0": 0} {
		var s sizeFlag
		if err := s.Set(text); err != nil || int64(s) != want {
			t.Errorf("%q: %d, %v, want %d", text, s, err, want)
		}
		var back sizeFlag
		if err := back.Set(s.String()); err != nil || back != s {
			t.Errorf("%q prints as %q, which reads %d, %v", text, s.String(), back, err)
		}
	}
	for _, text := range []string{"", "GiB", "-1GiB", "2 apples", "NaN", "inf", "1e30", "0.1"} {
		var s sizeFlag
		if err := s.Set(text); err == nil {
			t.Errorf("%q is taken as %d", text, s)
		}
	}
}
