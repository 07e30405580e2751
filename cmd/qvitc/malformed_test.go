package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const malformedDir = "../../../shared/malformed"

// TestCheckMalformed gives every file of the corpus of broken models to check:
// its verdict as the exit code, one plain line, within two seconds.
func TestCheckMalformed(t *testing.T) {
	index, err := os.ReadFile(filepath.Join(malformedDir, "index.tsv"))
	if err != nil {
		t.Skip("the corpus of broken models is not here: ", err)
	}
	right := 0
	for i, line := range strings.Split(strings.TrimRight(string(index), "\n"), "\n") {
		col := strings.Split(line, "\t")
		if i == 0 || len(col) < 6 {
			continue
		}
		var out, errw bytes.Buffer
		start := time.Now()
		code := run([]string{"check", filepath.Join(malformedDir, col[0])}, strings.NewReader(""), &out, &errw)
		if d := time.Since(start); d > 2*time.Second {
			t.Errorf("%s took %v", col[0], d)
		}
		text := errw.String()
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f }) || len(text) > 8192 {
			t.Errorf("%s: not plain: %q", col[0], text)
		}
		switch col[2] {
		case "reject", "refuse":
			if code != exitModel || out.Len() > 0 || strings.Count(text, "\nqvitc: ") > 0 || !strings.Contains(text, "qvitc: ") {
				t.Errorf("%s (%s): code %d, %q, %q", col[0], col[3], code, &out, text)
				continue
			}
		case "accept":
			if code != exitOK || out.String() != "ok\n" {
				t.Errorf("%s (%s): code %d, %q, %q", col[0], col[3], code, &out, text)
				continue
			}
		default: // warn: either will do
			if code != exitOK && code != exitModel {
				t.Errorf("%s (%s): code %d", col[0], col[3], code)
				continue
			}
		}
		right++
	}
	t.Logf("%d verdicts are right", right)
}
