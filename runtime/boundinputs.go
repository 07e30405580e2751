package runtime

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/qvitc/qvitc/ir"
)

// boundCache holds the Sessions of graphs in which small integer inputs have become
// constants, by their content.
type boundCache struct {
	needed   atomic.Bool // the graph runs only so
	mu       sync.Mutex
	sessions map[string]*Session
	order    []string // oldest first
}

// left picks the inputs that are still inputs of a bound session.
func (s *Session) left(in map[string]*ir.Tensor) map[string]*ir.Tensor {
	left := map[string]*ir.Tensor{}
	for _, v := range s.g.Inputs {
		left[v.Name] = in[v.Name]
	}
	return left
}

// bindLimit is the most elements of an input that may decide shapes.
const bindLimit = 64

// decides reports whether the content of input v may decide shapes: a scalar, a
// few integers, or the scales of a Resize.
func decides(v *ir.Value, t *ir.Tensor) bool {
	if len(v.Uses()) > 0 && t.Len() <= bindLimit && !slices.ContainsFunc(v.Uses(), func(u ir.Use) bool { return !u.Node.Is("Resize") || u.Index == 0 }) {
		return true
	}
	return len(t.Shape) == 0 && t.Elem != ir.String || t.Len() <= bindLimit && (t.Elem == ir.Int64 || t.Elem == ir.Int32)
}

// known is the session for the content given, where the graph needs one.
func (c *boundCache) known(s *Session, in map[string]*ir.Tensor) *Session {
	if !c.needed.Load() {
		return nil
	}
	return c.try(s, in)
}

// try makes or finds a session for the content of the inputs that may decide
// shapes; nil where there is no such input, or nothing else.
func (c *boundCache) try(s *Session, in map[string]*ir.Tensor) *Session {
	var key strings.Builder
	for _, v := range s.g.Inputs {
		if t := in[v.Name]; decides(v, t) {
			fmt.Fprintf(&key, "%q%v%v", v.Name, t.Shape, t.Raw())
		}
	}
	k := key.String()
	if k == "" {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if b, ok := c.sessions[k]; ok {
		return b
	}
	b, err := s.bind(in)
	if err != nil {
		return nil
	}
	if c.sessions == nil {
		c.sessions = map[string]*Session{}
	}
	c.sessions[k] = b
	c.order = append(c.order, k)
	if len(c.order) > maxPlans {
		delete(c.sessions, c.order[0])
		c.order = c.order[1:]
	}
	return b
}

// bind makes the session of the graph with those inputs as constants.
func (s *Session) bind(in map[string]*ir.Tensor) (*Session, error) {
	g, _ := s.g.Shadow()
	g.Inputs = slices.DeleteFunc(g.Inputs, func(v *ir.Value) bool {
		t := in[v.Name]
		if !decides(v, t) {
			return false
		}
		g.ReplaceUses(v, g.AddConst(v.Name, t.Clone()))
		return true
	})
	return NewSession(g, s.o)
}
