package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Every command and every flag occurs in a script.
func TestEveryFlagHasAScript(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "script", "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	const want = 40
	if len(files) < want {
		t.Errorf("%d scripts, want at least %d", len(files), want)
	}
	used := map[string]bool{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			note(used, strings.Fields(line))
		}
	}
	for _, c := range (&app{}).root().Commands() {
		if c.Name() == "help" || c.Name() == "completion" {
			continue
		}
		if !used[c.Name()] {
			t.Errorf("no script runs qvitc %s", c.Name())
		}
		c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" && !seen(used, c.Name(), f) {
				t.Errorf("no script gives qvitc %s the flag --%s", c.Name(), f.Name)
			}
		})
	}
	(&app{}).root().PersistentFlags().VisitAll(func(f *pflag.Flag) {
		if !seen(used, "", f) {
			t.Errorf("no script gives the flag --%s", f.Name)
		}
	})
}

// note records the command and the flags of a script line, both for that
// command and for any.
func note(used map[string]bool, words []string) {
	at := -1
	for i, w := range words {
		if w == "qvitc" || (w == "fails" || w == "ends") && i+2 < len(words) {
			at = i + 1
			if w != "qvitc" {
				at++ // the exit code
			}
			break
		}
	}
	if at < 0 || at >= len(words) {
		return
	}
	name := words[at]
	used[name] = true
	for _, w := range words[at:] {
		if flag, _, _ := strings.Cut(w, "="); strings.HasPrefix(flag, "-") {
			used[name+" "+flag], used[" "+flag] = true, true
		}
	}
}

func seen(used map[string]bool, command string, f *pflag.Flag) bool {
	return used[command+" --"+f.Name] || f.Shorthand != "" && used[command+" -"+f.Shorthand]
}

// Flags and commands say what they are for.
func TestEveryFlagHasHelp(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Short == "" {
			t.Errorf("%s has no description", c.CommandPath())
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s --%s has no description", c.CommandPath(), f.Name)
			}
		})
		for _, s := range c.Commands() {
			walk(s)
		}
	}
	walk((&app{}).root())
}
