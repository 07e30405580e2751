package passes

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/qvitc/qvitc/internal/atomicfile"
	"github.com/qvitc/qvitc/ir"
)

// Driver runs lists of passes. It alone checks, times, counts, dumps and
// recovers. The zero value runs silently without checks.
type Driver struct {
	Check      bool      // prove the invariants before the first pass and after each
	DumpDir    string    // write NN_name.ir after each pass that changed something; "" for none
	PrintAfter string    // print the graph to Out after this pass ("all": after each)
	StopAfter  string    // end after the pass of this name, or after this many passes
	Out        io.Writer // for PrintAfter and Timing; nil discards
	Timing     bool      // one line a pass to Out: time, nodes, counters
	ReproDir   string    // where reproducers go; "" is DumpDir, or else the temporary folder
}

// Step is what one pass did.
type Step struct {
	Pass        string
	Changed     bool
	Time        time.Duration
	NodesBefore int
	NodesAfter  int
	Report      *Report
}

// Result lists the steps of a run in order.
type Result struct {
	Steps   []Step
	Stopped bool // StopAfter ended the run before the list did
}

// Changed reports whether any pass changed the graph.
func (r *Result) Changed() bool {
	for _, s := range r.Steps {
		if s.Changed {
			return true
		}
	}
	return false
}

// Step finds the last step of a pass; nil when it did not run.
func (r *Result) Step(pass string) *Step {
	for i := len(r.Steps) - 1; i >= 0; i-- {
		if r.Steps[i].Pass == pass {
			return &r.Steps[i]
		}
	}
	return nil
}

// PassError says which pass failed and where the reproducer, if any, lies.
type PassError struct {
	Pass       string
	Reproducer string // file name; empty when the pass itself is not at fault, or it could not be written
	Internal   bool   // the pass panicked or broke an invariant: a bug, not a fault of the model
	Stack      string // of a panic
	Err        error
}

func (e *PassError) Error() string {
	s := fmt.Sprintf("pass %s: %v", e.Pass, e.Err)
	if e.Reproducer != "" {
		s += fmt.Sprintf(" (reproducer: %s)", e.Reproducer)
	}
	return s
}

// Unwrap gives the pass's own error.
func (e *PassError) Unwrap() error { return e.Err }

// Run runs the passes on g in order. When a pass fails, panics or breaks an
// invariant, g is put back to what it held before the run (values and nodes
// that the caller holds are then stale), and the error is a *PassError. A pass that
// fails says what is wrong with the model; only one that panics or breaks an
// invariant is wrong itself and leaves a reproducer.
func (d *Driver) Run(g *ir.Graph, list []Pass) (*Result, error) {
	res := &Result{}
	if d.Check {
		if err := g.Check(); err != nil {
			return res, fmt.Errorf("the graph is broken before the first pass: %w", err)
		}
	}
	stop, err := d.stopIndex(list)
	if err != nil {
		return res, err
	}
	if d.PrintAfter != "" && d.PrintAfter != "all" && !contains(list, d.PrintAfter) {
		return res, unknownPass("print-after", d.PrintAfter, list)
	}
	if d.DumpDir != "" {
		if err := os.MkdirAll(d.DumpDir, 0o777); err != nil {
			return res, err
		}
		if err := d.dump(g, 0, "input"); err != nil {
			return res, err
		}
	}
	snapshot, _ := g.Clone()
	for i, p := range list {
		step, err := d.step(g, p)
		if err != nil {
			return res, d.fail(g, snapshot, list, i, err)
		}
		res.Steps = append(res.Steps, step)
		if err := d.show(g, i+1, p, step); err != nil {
			return res, err
		}
		if i == stop {
			res.Stopped = i+1 < len(list)
			break
		}
	}
	return res, nil
}

func (d *Driver) step(g *ir.Graph, p Pass) (Step, error) {
	s := Step{Pass: p.Name, NodesBefore: g.Len(), Report: &Report{Pass: p.Name}}
	start := time.Now()
	changed, err := runOne(g, p, s.Report)
	s.Time, s.Changed, s.NodesAfter = time.Since(start), changed, g.Len()
	if err == nil && d.Check {
		if cerr := g.Check(); cerr != nil {
			err = &brokenError{fmt.Errorf("it broke the graph: %w", cerr)}
		} else if !changed && s.NodesBefore != s.NodesAfter {
			err = &brokenError{fmt.Errorf("it says that nothing changed, but there were %d nodes and now there are %d", s.NodesBefore, s.NodesAfter)}
		}
	}
	return s, err
}

// runOne turns a panic of the pass into an error.
func runOne(g *ir.Graph, p Pass, r *Report) (changed bool, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{value: v, stack: string(debug.Stack())}
		}
	}()
	return p.Run(g, r)
}

type panicError struct {
	value any
	stack string
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// brokenError is a broken invariant: the pass is wrong, not what it was given.
type brokenError struct{ err error }

func (e *brokenError) Error() string { return e.err.Error() }
func (e *brokenError) Unwrap() error { return e.err }

func (d *Driver) fail(g, snapshot *ir.Graph, list []Pass, i int, err error) error {
	pe := &PassError{Pass: list[i].Name, Err: err}
	var pan *panicError
	var broken *brokenError
	switch {
	case errors.As(err, &pan):
		pe.Stack = pan.stack
	case !errors.As(err, &broken):
		*g = *snapshot
		return pe
	}
	pe.Internal = true
	dir := d.ReproDir
	if dir == "" {
		dir = d.DumpDir
	}
	if dir == "" {
		dir = os.TempDir()
	}
	before, _ := snapshot.Clone()
	for _, p := range list[:i] {
		if _, err := runOne(before, p, &Report{Pass: p.Name}); err != nil {
			break
		}
	}
	*g = *snapshot
	pe.Reproducer, _ = writeReproducer(dir, before, list[i:], pe)
	return pe
}

func (d *Driver) show(g *ir.Graph, i int, p Pass, s Step) error {
	if d.DumpDir != "" && s.Changed {
		if err := d.dump(g, i, p.Name); err != nil {
			return err
		}
	}
	if d.Out == nil {
		return nil
	}
	if d.PrintAfter == "all" || d.PrintAfter == p.Name {
		fmt.Fprintf(d.Out, "// after %s\n%s", p.Name, g)
	}
	if d.Timing {
		line, _, _ := strings.Cut(s.Report.String(), "\n")
		fmt.Fprintf(d.Out, "%02d %-22s %8.2f ms  %5d -> %5d nodes  %s\n",
			i, p.Name, float64(s.Time.Microseconds())/1000, s.NodesBefore, s.NodesAfter, line)
	}
	return nil
}

func (d *Driver) dump(g *ir.Graph, i int, name string) error {
	path := filepath.Join(d.DumpDir, fmt.Sprintf("%02d_%s.ir", i, name))
	return atomicfile.WriteFile(path, func(w io.Writer) error { _, err := io.WriteString(w, g.String()); return err })
}

// stopIndex finds the last pass to run: len(list) when nothing is to stop it.
func (d *Driver) stopIndex(list []Pass) (int, error) {
	if d.StopAfter == "" {
		return len(list), nil
	}
	if n, err := strconv.Atoi(d.StopAfter); err == nil {
		if n < 1 {
			return 0, fmt.Errorf("stop-after %d: want a pass name or a number from 1", n)
		}
		return n - 1, nil
	}
	for i, p := range list {
		if p.Name == d.StopAfter {
			return i, nil
		}
	}
	return 0, unknownPass("stop-after", d.StopAfter, list)
}

func contains(list []Pass, name string) bool {
	for _, p := range list {
		if p.Name == name {
			return true
		}
	}
	return false
}

func unknownPass(what, name string, list []Pass) error {
	names := make([]string, len(list))
	for i, p := range list {
		names[i] = p.Name
	}
	return &ir.Error{
		Msg:  fmt.Sprintf("%s: no pass %s in this run", what, ir.Quote(name)),
		Hint: "nearest: " + strings.Join(Nearest(name, names, 3), ", "),
	}
}
