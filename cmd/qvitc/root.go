package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/qvitc/qvitc/internal/kernel"
	"github.com/spf13/cobra"
)

// app is what all commands share: streams and global flags.
type app struct {
	args     []string // the command line, for messages
	out, err io.Writer
	started  bool // flags and arguments were accepted
	verbose  int
	quiet    bool
	json     bool
	noColor  bool
	threads  int

	// finished, where set, sees a compression at its end.
	finished func(context.Context, *job) error

	// teachers, where set, keeps what teachers gave for the runs after this one.
	teachers *teachers

	// pace, where set, waits for the turn in which a training may take a step of so many.
	pace func(step, steps int)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "qvitc",
		Short: "Compress vision transformers in ONNX to 2, 3 or 4 bits",
		Long: `qvitc turns a full-precision vision transformer in ONNX into a 2-, 3- or 4-bit
one in ONNX: calibration, quantisation-aware fine-tuning with distillation from
the original (Q-ViT), packed export that runs in unmodified ONNX Runtime.

  qvitc compress deit.onnx --data imgs/ -b w4a4 -o deit.w4a4.onnx`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: func(*cobra.Command, []string) error { return a.start() },
	}
	f := root.PersistentFlags()
	f.CountVarP(&a.verbose, "verbose", "v", "more detail on stderr (-vv: stack traces of internal errors)")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "no progress and no notes")
	f.BoolVar(&a.json, "json", false, "print one JSON object on stdout; everything else goes to stderr")
	f.BoolVar(&a.noColor, "no-color", os.Getenv("NO_COLOR") != "", "no colours")
	f.IntVar(&a.threads, "threads", 0, "processor cores to use (0: all); the result does not depend on it")
	for _, c := range []func() *cobra.Command{
		a.newCmd,
		a.inspectCmd,
		a.checkCmd,
		a.doctorCmd,
		a.compressCmd,
		a.exportCmd,
		a.finetuneCmd,
		a.evalCmd,
		a.runCmd,
		a.diffCmd,
		a.benchCmd,
		a.serveCmd,
		a.verifyCmd,
		a.entropyCmd,
		a.experimentCmd,
		a.passesCmd,
		a.versionCmd,
	} {
		root.AddCommand(c())
	}
	root.AddCommand(&cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: exitHelp})
	return root
}

// oneModel wants one argument.
func oneModel(c *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%s takes one model file, %d are given", c.CommandPath(), len(args))
	}
	return nil
}

// start checks and settles what all commands share.
func (a *app) start() error {
	a.started = true
	if err := kernel.EnvError(); err != nil {
		return failf(exitUsage, "", "%v", err)
	}
	if a.threads < 0 {
		return failf(exitUsage, "", "--threads %d: want 0 or more", a.threads)
	}
	if a.threads == 0 {
		a.threads = runtime.GOMAXPROCS(0)
	}
	return nil
}

// note prints a line about what is going on, unless quiet.
func (a *app) note(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintf(a.err, format+"\n", args...)
	}
}

// printJSON writes v as one indented object on stdout.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
