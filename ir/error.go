package ir

import (
	"fmt"
	"strings"
)

// Error is the one error type of the tool: where (file, node, tensor), what is
// wrong, and what to do. It prints as one line; the hint follows on its own.
type Error struct {
	File   string
	Node   string // node name or, when unnamed, "#index"
	Op     string
	Tensor string
	Msg    string
	Hint   string
	Err    error // cause, for errors.Is and errors.As
}

// MaxMessageBytes is the longest message that an Error prints.
const MaxMessageBytes = 4096

func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File + ": ")
	}
	if e.Node != "" || e.Op != "" {
		fmt.Fprintf(&b, "node %s", Quote(e.Node))
		if e.Op != "" {
			fmt.Fprintf(&b, " (%s)", strings.Trim(Quote(e.Op), `"`))
		}
		b.WriteString(": ")
	}
	if e.Tensor != "" {
		fmt.Fprintf(&b, "tensor %s: ", Quote(e.Tensor))
	}
	b.WriteString(e.Msg)
	if e.Err != nil {
		if e.Msg != "" {
			b.WriteString(": ")
		}
		b.WriteString(e.Err.Error())
	}
	s := b.String()
	if len(s) > MaxMessageBytes {
		s = strings.ToValidUTF8(s[:MaxMessageBytes-len("...")], "") + "..."
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Quote prints a name from a file safely: quoted, escapes shown, at most 80 runes.
func Quote(s string) string { return fmt.Sprintf("%q", clip(s)) }

func clip(s string) string {
	if r := []rune(s); len(r) > 80 {
		return string(r[:79]) + "…"
	}
	return s
}

// Errorf makes an Error about this node.
func (n *Node) Errorf(format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	name := n.Name
	if name == "" {
		name = n.Origin.Name
	}
	if name == "" && n.Origin.Index > 0 {
		name = fmt.Sprintf("#%d", n.Origin.Index)
	}
	if name == "" && len(n.Outputs) > 0 && n.Outputs[0] != nil {
		name = n.Outputs[0].Name
	}
	e := &Error{File: n.Origin.File, Node: name, Op: n.Op, Msg: err.Error()}
	return e
}
