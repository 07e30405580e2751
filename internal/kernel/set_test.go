package kernel

import "testing"

func TestChoose(t *testing.T) {
	low, high := &set{name: "portable"}, &set{name: "avx2"}
	have := []*set{high, low}
	for _, c := range []struct {
		env  string
		want *set
		bad  bool
	}{{"", high, false}, {"portable", low, false}, {"avx2", high, false}, {"avx512", high, true}, {"fast", high, true}} {
		got, err := choose(have, c.env)
		if got != c.want || (err != nil) != c.bad {
			t.Errorf("choose(%q) = %s, %v", c.env, got.name, err)
		}
	}
	if EnvError() == nil && Name() != active.name {
		t.Error("Name must say the active set")
	}
}
