package passes

import (
	"fmt"
	"slices"
	"strings"

	"github.com/qvitc/qvitc/ir"
)

// Pass is one rewrite of the graph. It is a value, so that a pipeline is a
// slice and a program outside this module can add its own.
//
// Run edits g in place, tells r what it did, and reports whether anything
// changed. Running a pass on its own result changes nothing. A pass neither
// checks, times nor prints: the Driver does.
type Pass struct {
	Name string // flag, dump file and testdata folder, such as "fold-constants"
	Doc  string // first line: summary
	Run  func(g *ir.Graph, r *Report) (bool, error)
}

// Summary is the first line of the pass's Doc.
func (p Pass) Summary() string {
	s, _, _ := strings.Cut(p.Doc, "\n")
	return s
}

// Note is a remark of a pass about one node (or, with an empty Node, about the
// whole graph).
type Note struct {
	Node string
	Msg  string
}

func (n Note) String() string {
	if n.Node == "" {
		return n.Msg
	}
	return ir.Quote(n.Node) + ": " + n.Msg
}

// Count is one counter of a Report.
type Count struct {
	Key string
	N   int
}

// Report collects what one run of one pass did.
type Report struct {
	Pass   string
	counts []Count
	Notes  []Note
	noted  map[Note]bool
}

// Count adds n to the counter named key. Adding zero leaves no trace.
func (r *Report) Count(key string, n int) {
	if n == 0 {
		return
	}
	for i := range r.counts {
		if r.counts[i].Key == key {
			r.counts[i].N += n
			return
		}
	}
	r.counts = append(r.counts, Count{key, n})
}

// Note adds a remark about node n (nil: about the graph).
func (r *Report) Note(n *ir.Node, format string, args ...any) {
	note := Note{Msg: fmt.Sprintf(format, args...)}
	if n != nil {
		note.Node = LayerName(n)
	}
	if r.noted[note] { // a pass that goes over the graph again
		return
	}
	if r.noted == nil {
		r.noted = map[Note]bool{}
	}
	r.noted[note] = true
	r.Notes = append(r.Notes, note)
}

// Get reads a counter; 0 when it was never touched.
func (r *Report) Get(key string) int {
	for _, c := range r.counts {
		if c.Key == key {
			return c.N
		}
	}
	return 0
}

// Counts lists the counters by name.
func (r *Report) Counts() []Count {
	c := slices.Clone(r.counts)
	slices.SortFunc(c, func(a, b Count) int { return strings.Compare(a.Key, b.Key) })
	return c
}

// String prints the counters on one line and each note on its own.
func (r *Report) String() string {
	var b strings.Builder
	for i, c := range r.Counts() {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s %d", c.Key, c.N)
	}
	if len(r.counts) == 0 {
		b.WriteString("nothing to do")
	}
	b.WriteString("\n")
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	return b.String()
}

// rewrote marks n as made or changed by the pass, and gives n back.
func (r *Report) rewrote(n *ir.Node) *ir.Node {
	if k := len(n.Origin.By); k == 0 || n.Origin.By[k-1] != r.Pass {
		n.Origin.By = append(slices.Clip(n.Origin.By), r.Pass)
	}
	return n
}

// inherit gives n the name, role and origin of the node it stands for.
func (r *Report) inherit(n, from *ir.Node) *ir.Node {
	n.Name, n.Role, n.Origin = from.Name, from.Role, from.Origin
	return r.rewrote(n)
}
