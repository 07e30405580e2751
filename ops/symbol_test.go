package ops

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestDimensionNames(t *testing.T) {
	for in, want := range map[string]string{
		"batch":          "batch",
		"4*batch":        "4*batch",
		"batch*4":        "4*batch",
		"2*(batch+1)":    "2*batch+2",
		"b*a-3":          "a*b-3",
		"s0 + 1":         "s0+1",
		"floor(x/2)":     "floor(x/2)",
		"batch size":     "batch size",
		"12":             "12",
		"a+":             "a+",
		"((":             "((",
		"unk__1":         "unk__1",
		"9999999999*a*b": "9999999999*a*b",
	} {
		got := parseNum(in)
		if got.String() != want || got.isConst() {
			t.Errorf("%q reads as %v, want %q", in, got, want)
		}
		if !parseNum(got.String()).same(got) {
			t.Errorf("%q prints as %q, which reads differently", in, got)
		}
	}
	if s := parseNum("batch size").mul(known(4)); !parseNum(s.String()).same(s) {
		t.Errorf("%q reads differently", s)
	}
}

func TestPolynomials(t *testing.T) {
	b, h := symbol("b"), symbol("h")
	four := known(4)
	check := func(got num, want string) {
		t.Helper()
		if got.String() != want {
			t.Errorf("got %v, want %s", got, want)
		}
	}
	check(b.mul(four).quo(four), "b")
	check(b.mul(h).quo(b), "h")
	check(b.mul(four).add(known(7)).quo(four), "b+1")
	check(b.mul(four).add(known(7)).mod(four), "3")
	check(b.quo(four), "?")
	check(b.sub(b), "0")
	check(minNum(known(0), b), "0")
	check(maxNum(b.sub(known(1)), known(0)), "b-1")
	check(minNum(b, h), "?")
	check(b.add(known(1)).mul(four).quo(b.add(known(1))), "4")
	check(known(math.MaxInt64).add(known(1)), "?")
	check(known(math.MaxInt64).mul(known(2)), "?")
	if s, ok := b.cmp(known(0)); !ok || s != 1 {
		t.Error("a symbol must be above 0")
	}
	if _, ok := b.cmp(known(1)); ok {
		t.Error("a symbol may be 1")
	}
	p := b.add(known(1))
	for range 40 {
		p = p.mul(p).add(h)
	}
	if p.ok {
		t.Error("growth must end as unknown")
	}
}

// Polynomial arithmetic agrees with arithmetic on the values.
func TestPolynomialValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var draw func(depth int) num
		value := func(a num) (int64, bool) { return evalNum(a) }
		draw = func(depth int) num {
			switch k := rapid.IntRange(0, 6).Draw(t, "kind"); {
			case depth == 0 || k == 0:
				return known(int64(rapid.IntRange(-5, 9).Draw(t, "c")))
			case k == 1:
				return symbol([]string{"d2", "d3", "d5"}[rapid.IntRange(0, 2).Draw(t, "s")])
			default:
				a, b := draw(depth-1), draw(depth-1)
				x, okX := value(a)
				y, okY := value(b)
				ops := []func(num, num) num{num.add, num.mul, num.sub, num.quo, minNum, maxNum}
				k := rapid.IntRange(0, len(ops)-1).Draw(t, "op")
				r := ops[k](a, b)
				if v, ok := value(r); ok && okX && okY {
					var want int64
					switch k {
					case 0:
						want = x + y
					case 1:
						want = x * y
					case 2:
						want = x - y
					case 3:
						want = x / y
					case 4:
						want = min(x, y)
					case 5:
						want = max(x, y)
					}
					if v != want {
						t.Fatalf("op %d of %v and %v: %v = %d, want %d", k, a, b, r, v, want)
					}
				}
				return r
			}
		}
		draw(4)
	})
}
