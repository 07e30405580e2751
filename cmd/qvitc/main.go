// Command qvitc compresses vision transformers in ONNX to 2, 3 or 4 bits.
//
//	qvitc compress deit.onnx --data imgs/ -b w4a4 -o deit.w4a4.onnx
//
// The commands are thin: flags, messages, progress and exit codes. What they
// do lives in the packages they call; compress.go reads like the pipeline.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/qvitc/qvitc/passes"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run executes one command line and gives the exit code. Everything that goes
// wrong ends in one line on stderr, with a hint on its own line where one helps.
func run(args []string, in io.Reader, out, errw io.Writer) (code int) {
	stdout := &sink{w: out}
	a := &app{args: args, out: stdout, err: errw}
	ctx, stop := interruptible(a)
	defer stop()
	defer func() {
		if r := recover(); r != nil {
			fmt.Fprintf(errw, "qvitc: internal error: %v\n", r)
			fmt.Fprintln(errw, "hint: please report this with the command line; -vv prints the stack")
			if a.verbose > 1 {
				fmt.Fprintf(errw, "%s\n", debug.Stack())
			}
			code = exitInternal
		}
	}()
	root := a.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(stdout)
	root.SetErr(errw)
	c, err := root.ExecuteContextC(ctx)
	if err == nil && stdout.err != nil {
		err = fail(exitIO, fmt.Errorf("cannot write the result: %w", stdout.err))
	}
	if err == nil {
		return exitOK
	}
	var f *failure
	switch {
	case errors.As(err, &f):
	case a.started:
		f = &failure{code: exitInternal, err: err}
	default: // cobra's own complaints: unknown command, flag or argument count
		what, like, _ := strings.Cut(err.Error(), "\n\nDid you mean this?\n")
		what = parsing.ReplaceAllString(what, "want a number")
		f = &failure{code: exitUsage, err: errors.New(what), hint: c.CommandPath() + " --help says more"}
		if like = strings.TrimSpace(like); like != "" {
			f.hint = "did you mean " + like + "?"
		}
	}
	fmt.Fprintf(errw, "qvitc: %s\n", oneLine(f.err.Error()))
	var p *passes.PassError
	if a.verbose > 1 && errors.As(err, &p) {
		fmt.Fprint(errw, p.Stack)
	}
	if f.hint != "" {
		fmt.Fprintf(errw, "hint: %s\n", f.hint)
	}
	return f.code
}

// parsing is how package strconv says that a text is no number.
var parsing = regexp.MustCompile(`strconv\.Parse(Int|Uint|Float): parsing .*: (invalid syntax|value out of range)`)

// sink is an output that remembers its first error, so that no print need be checked.
type sink struct {
	w   io.Writer
	err error
}

func (s *sink) Write(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.w.Write(p)
	s.err = err
	return n, err
}

// interruptible gives a context that SIGINT and SIGTERM cancel; a second
// signal ends the process at once.
func interruptible(a *app) (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	done := make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case <-signals:
			fmt.Fprintln(a.err, "\nqvitc: stopping after this step; interrupt again to stop at once")
			cancel()
		case <-done:
			return
		}
		select {
		case <-signals:
			os.Exit(exitInterrupted)
		case <-done:
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel()
	}
}
