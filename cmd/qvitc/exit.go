package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/passes"
)

// Exit codes, the same for every command (qvitc help exit-codes).
const (
	exitOK          = 0
	exitInternal    = 1   // a bug in qvitc
	exitUsage       = 2   // flags, arguments or recipe
	exitModel       = 3   // unreadable or invalid model
	exitUnsupported = 4   // valid model that cannot be compressed or run
	exitGate        = 5   // accuracy gate missed; the file is still written
	exitVerify      = 6   // the written file does not match the student; withheld
	exitIO          = 7   // reading data, writing files, memory
	exitInterrupted = 130 // interrupted; a checkpoint was written where one was asked for
)

// failure is an error with the exit code and the hint it ends with.
type failure struct {
	code int
	err  error
	hint string
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// fail wraps err with an exit code; a hint inside an ir.Error is kept. Errors
// that already carry a code, and interruptions, keep theirs.
func fail(code int, err error) error {
	if err == nil {
		return nil
	}
	var f *failure
	if errors.As(err, &f) {
		return err
	}
	if errors.Is(err, context.Canceled) {
		return &failure{code: exitInterrupted, err: errors.New("interrupted")}
	}
	if pe, ok := err.(*fs.PathError); ok { // "open x: no such file" without the verb
		err = fmt.Errorf("%s: %w", pe.Path, pe.Err)
	}
	out := &failure{code: code, err: err}
	var e *ir.Error
	if errors.As(err, &e) {
		out.hint = e.Hint
	}
	var no syscall.Errno // the system said no
	if code != exitModel && errors.As(err, &no) {
		out.code = exitIO
	}
	var p *passes.PassError
	if errors.As(err, &p) && p.Internal {
		out.code = exitInternal
	}
	return out
}

func failf(code int, hint, format string, args ...any) error {
	return &failure{code: code, err: fmt.Errorf(format, args...), hint: hint}
}

// withHint gives an error that has no hint one.
func withHint(err error, hint string) error {
	var f *failure
	if errors.As(err, &f) && f.hint == "" {
		return &failure{code: f.code, err: f.err, hint: hint}
	}
	return err
}

// oneLine keeps a message on one line of at most 4 KiB.
func oneLine(s string) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' || r == '\t' }), " ")
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
	if len(s) > 4000 {
		s = strings.ToValidUTF8(s[:4000], "") + "..."
	}
	return s
}

const exitHelp = `Exit codes of every command:

    0  ok
    1  internal error: a bug in qvitc
    2  usage: a flag, an argument or a recipe is wrong
    3  the model is unreadable or invalid
    4  the model is valid but not supported (the operators are listed), or doctor found hazards in it
    5  the accuracy gate was missed; the file is still written
    6  the written file does not give the student's answers; it is withheld
    7  reading data, writing a file, or memory
  130  interrupted; the checkpoint, if any, is named
`
