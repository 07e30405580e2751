package doctor

import (
	"fmt"
	"strconv"
	"strings"
)

// Version is a version of ONNX Runtime, major*1000 + minor: 1020 is 1.20.
// Patch releases do not change what a file needs.
type Version int

func (v Version) String() string { return fmt.Sprintf("%d.%d", v/1000, v%1000) }

// Oldest and Newest are the versions that Check knows about.
const (
	Oldest Version = 1016
	Newest Version = 1032
)

// ParseVersion reads "1.20" or "1.20.1".
func ParseVersion(s string) (Version, error) {
	major, rest, _ := strings.Cut(s, ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, err1 := strconv.Atoi(major)
	b, err2 := strconv.Atoi(minor)
	if err1 != nil || err2 != nil || a != 1 || b < 0 || b > 999 {
		return 0, fmt.Errorf("%q is no version of ONNX Runtime: want one like 1.20", s)
	}
	v := Version(a*1000 + b)
	if v < Oldest {
		return 0, fmt.Errorf("ONNX Runtime %s is not known: the oldest that is checked for is %s", v, Oldest)
	}
	return v, nil
}

// Target is the range of versions that a file is to run on.
type Target struct{ From, To Version }

// ParseTarget reads "ort=1.20" (that version), "ort>=1.20" (it and newer ones) or
// "" (any from the oldest on that loads the file).
func ParseTarget(s string) (Target, error) {
	if s == "" {
		return Target{}, nil
	}
	if v, ok := strings.CutPrefix(s, "ort>="); ok {
		from, err := ParseVersion(v)
		return Target{from, max(from, Newest)}, err
	}
	if v, ok := strings.CutPrefix(s, "ort="); ok {
		from, err := ParseVersion(v)
		return Target{from, from}, err
	}
	return Target{}, fmt.Errorf("target %q is not known: want ort=1.20 or ort>=1.20", s)
}

func (t Target) String() string {
	switch {
	case t == Target{}:
		return "any"
	case t.From == t.To:
		return "ort=" + t.From.String()
	}
	return "ort>=" + t.From.String()
}

// span is a range of versions, both ends in it; 0 leaves an end open.
type span struct{ since, until Version }

func (s span) meets(t Target) bool {
	return (s.until == 0 || s.until >= t.From) && (s.since == 0 || t.To == 0 || s.since <= t.To)
}

func (s span) String() string {
	switch {
	case s.since == 0 && s.until == 0:
		return "every version"
	case s.until == 0:
		return s.since.String() + " and newer"
	case s.since == 0:
		return s.until.String() + " and older"
	case s.since == s.until:
		return s.since.String()
	}
	return s.since.String() + " to " + s.until.String()
}

// loads holds the newest opset and IR version that a version loads. Measured by
// loading files of every opset and IR version.
var loads = []struct {
	from      Version
	opset, ir int
}{
	{1016, 19, 9}, {1017, 20, 9}, {1018, 21, 10}, {1021, 22, 10}, {1023, 23, 11}, {1024, 25, 13}, {1025, 26, 13}, {1032, 28, 14},
}

// oldestFor gives the oldest version that loads a file of this opset and IR
// version; 0 when none does.
func oldestFor(opset, ir int) Version {
	for _, l := range loads {
		if opset <= l.opset && ir <= l.ir {
			return l.from
		}
	}
	return 0
}

// limits gives what a version loads.
func limits(v Version) (opset, ir int) {
	for _, l := range loads {
		if l.from <= v {
			opset, ir = l.opset, l.ir
		}
	}
	return opset, ir
}
