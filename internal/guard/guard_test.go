package guard_test

import (
	"errors"
	"fmt"
	"regexp"
	"testing"

	"github.com/qvitc/qvitc/internal/guard"
)

func ExampleCall() {
	err := guard.Call(func() error { return errors.New("an error as it is") })
	fmt.Println(err)
	// Output:
	// an error as it is
}

func TestCallNamesTheLine(t *testing.T) {
	var none []int
	i := 3
	err := guard.Call(func() error { none[i]++; return nil })
	if want := regexp.MustCompile(`^internal error at guard/guard_test\.go:\d+: .*index out of range \[3\]`); err == nil || !want.MatchString(err.Error()) {
		t.Errorf("got %v", err)
	}
	if err := guard.Call(func() error { return nil }); err != nil {
		t.Error(err)
	}
}
