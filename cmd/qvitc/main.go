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
	"runtime/debug"
	"syscall"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run executes one command line and gives the exit code. Everything that goes
// wrong ends in one line on stderr, with a hint on its own line where one helps.
func run(args []string, in io.Reader, out, errw io.Writer) (code int) {
	a := &app{in: in, out: out, err: errw}
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
	root.SetOut(out)
	root.SetErr(errw)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var f *failure
	if !errors.As(err, &f) {
		// cobra's own complaints: unknown command, flag or argument count
		f = &failure{code: exitUsage, err: err, hint: "qvitc help lists the commands and their flags"}
	}
	fmt.Fprintf(errw, "qvitc: %s\n", oneLine(f.err.Error()))
	if f.hint != "" {
		fmt.Fprintf(errw, "hint: %s\n", f.hint)
	}
	return f.code
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
