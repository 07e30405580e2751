package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/passes"
	"github.com/spf13/cobra"
)

// passFlags are the flags that look into the pass pipeline. Names and numbers
// go over all lists of a command, in the order they run.
type passFlags struct {
	list       string
	dumpDir    string
	printAfter string
	stopAfter  string
	shapes     []string // --input-shape
}

// isDefault reports that none of the flags was given.
func (p passFlags) isDefault() bool {
	return p.list == "clean" && p.dumpDir+p.printAfter+p.stopAfter == "" && len(p.shapes) == 0
}

func (p *passFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&p.list, "passes", "clean", "passes to run on the model, such as clean,-fuse-gelu (qvitc passes lists them)")
	f.StringArrayVar(&p.shapes, "input-shape", nil, "fix an open dimension or a whole input before the passes: batch=1, input=1x3x224x224 (repeatable)")
	f.StringVar(&p.dumpDir, "dump-ir", "", "write the graph after each pass into this folder")
	f.StringVar(&p.printAfter, "print-after", "", "print the graph after this pass (or all) on stderr")
	f.StringVar(&p.stopAfter, "stop-after", "", "stop after this pass or this many passes, print the graph on stdout and end")
}

// recipe notes what changes the graph.
func (p passFlags) recipe(r map[string]string) {
	r["passes"] = p.list
	if len(p.shapes) > 0 {
		r["input-shape"] = strings.Join(p.shapes, " ")
	}
}

// parse gives the list of --passes.
func (p passFlags) parse() ([]passes.Pass, error) {
	list, err := passes.ParseList(p.list, passes.DefaultPlan(4, 4))
	return list, fail(exitUsage, err)
}

// check refuses names and numbers of passes that none of the lists has.
func (p passFlags) check(lists ...[]passes.Pass) error {
	var names []string
	for _, l := range lists {
		for _, q := range l {
			names = append(names, q.Name)
		}
	}
	known := func(flag, name string) error {
		if name == "" || slices.Contains(names, name) {
			return nil
		}
		return failf(exitUsage, "nearest: "+strings.Join(passes.Nearest(name, names, 3), ", "), "%s %s: no such pass in this command", flag, ir.Quote(name))
	}
	if p.printAfter != "all" {
		if err := known("--print-after", p.printAfter); err != nil {
			return err
		}
	}
	if n, err := strconv.Atoi(p.stopAfter); err == nil {
		if n < 1 || n > len(names) {
			return failf(exitUsage, "", "--stop-after %d: this command runs passes 1 to %d", n, len(names))
		}
		return nil
	}
	return known("--stop-after", p.stopAfter)
}

// on gives what the flags say about one list that runs after as many passes of
// other lists.
func (p passFlags) on(list []passes.Pass, before int) passFlags {
	has := func(name string) bool {
		return slices.ContainsFunc(list, func(q passes.Pass) bool { return q.Name == name })
	}
	if p.printAfter != "all" && !has(p.printAfter) {
		p.printAfter = ""
	}
	if n, err := strconv.Atoi(p.stopAfter); err == nil && n > before && n <= before+len(list) {
		p.stopAfter = fmt.Sprint(n - before)
	} else if !has(p.stopAfter) {
		p.stopAfter = ""
	}
	return p
}

// driver runs passes as the flags say; stage names their part of the pipeline.
func (a *app) driver(p passFlags, stage string) *passes.Driver {
	d := &passes.Driver{Check: true, Out: a.err, PrintAfter: p.printAfter, StopAfter: p.stopAfter, Timing: a.verbose > 0}
	if p.dumpDir != "" {
		d.DumpDir = filepath.Join(p.dumpDir, stage)
	}
	return d
}

func (a *app) printGraph(g *ir.Graph) error {
	return g.Print(a.out, ir.PrintOptions{MaxElems: 16})
}
