package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run([]string{"--shapes", "5x6x7,8x8x8", "--rounds", "1"}, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"GFLOP/s best (median)", "5x6x7          forward", "5x6x7          dgrad", "8x8x8          wgrad"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	for _, args := range [][]string{{"--shapes", "5x6"}, {"--shapes", "0x1x1"}, {"--rounds", "0"}, {"x"}, {"--python", "/does/not/exist"}} {
		if err := run(args, &out); err == nil {
			t.Errorf("%v is taken", args)
		}
	}
}
