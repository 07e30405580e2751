package passes

import (
	"fmt"
	"math"
	"os"
	"strings"

	"golang.org/x/tools/txtar"

	"github.com/qvitc/qvitc/ir"
)

// Reproducer is what a pass that panicked or broke the graph leaves behind: the graph before the failing
// pass, that pass and the rest of the pipeline, and the message.
type Reproducer struct {
	Graph   *ir.Graph
	Passes  []string // the failing pass first
	Message string
}

// writeReproducer writes a txtar file with the parts "message", "passes" and
// "graph" (constants in full) and gives its name.
func writeReproducer(dir string, g *ir.Graph, rest []Pass, pe *PassError) (string, error) {
	f, err := os.CreateTemp(dir, "qvitc-"+pe.Pass+"-*.txtar")
	if err != nil {
		return "", err
	}
	names := make([]string, len(rest))
	for i, p := range rest {
		names[i] = p.Name
	}
	var text strings.Builder
	if err := g.Print(&text, ir.PrintOptions{MaxElems: math.MaxInt}); err != nil {
		f.Close()
		return "", err
	}
	msg := pe.Err.Error() + "\n"
	if pe.Stack != "" {
		msg += pe.Stack
	}
	a := &txtar.Archive{
		Comment: []byte("A pass failed. Replay: passes.ReadReproducer, then Reproducer.Replay.\n"),
		Files: []txtar.File{
			{Name: "message", Data: []byte(msg)},
			{Name: "passes", Data: []byte(strings.Join(names, "\n") + "\n")},
			{Name: "graph", Data: []byte(text.String())},
		},
	}
	_, err = f.Write(txtar.Format(a))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return f.Name(), err
}

// ReadReproducer reads a file that a failed Driver.Run wrote.
func ReadReproducer(path string) (*Reproducer, error) {
	a, err := txtar.ParseFile(path)
	if err != nil {
		return nil, err
	}
	r := &Reproducer{}
	for _, f := range a.Files {
		switch f.Name {
		case "message":
			r.Message = string(f.Data)
		case "passes":
			r.Passes = strings.Fields(string(f.Data))
		case "graph":
			if r.Graph, err = ir.Parse(string(f.Data), ir.ParseOptions{}); err != nil {
				return nil, fmt.Errorf("%s: graph: %w", path, err)
			}
		}
	}
	if r.Graph == nil || len(r.Passes) == 0 {
		return nil, fmt.Errorf("%s: not a reproducer: want the parts \"graph\" and \"passes\"", path)
	}
	return r, nil
}

// Replay runs the recorded passes on the recorded graph and gives the failure
// again, or nil when it no longer fails. known holds the passes by name: those
// of a Registry, and the caller's own.
func (r *Reproducer) Replay(known []Pass) error {
	var list []Pass
	for _, name := range r.Passes {
		i := indexPass(known, name)
		if i < 0 {
			return fmt.Errorf("reproducer: pass %s is not among the known passes", ir.Quote(name))
		}
		list = append(list, known[i])
	}
	g, _ := r.Graph.Clone()
	for _, p := range list {
		if _, err := runOne(g, p, &Report{Pass: p.Name}); err != nil {
			return &PassError{Pass: p.Name, Err: err}
		}
		if err := g.Check(); err != nil {
			return &PassError{Pass: p.Name, Err: fmt.Errorf("it broke the graph: %w", err)}
		}
	}
	return nil
}

func indexPass(list []Pass, name string) int {
	for i, p := range list {
		if p.Name == name {
			return i
		}
	}
	return -1
}
