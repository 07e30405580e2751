package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/qvitc/qvitc/distill"
	"github.com/qvitc/qvitc/internal/atomicfile"
	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

// experiment is a matrix of compress runs: every variant at every width with
// every seed. Flags are those of compress, without the dashes.
type experiment struct {
	Title    string            `yaml:"title"`
	Model    string            `yaml:"model"`
	Data     string            `yaml:"data"`
	Flags    map[string]string `yaml:"flags"`
	Bits     []string          `yaml:"bits"`
	Seeds    []uint64          `yaml:"seeds"`
	Variants []variant         `yaml:"variants"`
	Measure  *measureOptions   `yaml:"measure"` // what to look at inside the models; nil: nothing
}

type variant struct {
	Name  string            `yaml:"name"`
	Flags map[string]string `yaml:"flags"`
}

// cell is one run and what came out of it.
type cell struct {
	Key     string   `json:"key"` // the command line: a finished cell is not run again
	Variant string   `json:"variant"`
	Bits    string   `json:"bits"`
	Seed    uint64   `json:"seed"`
	Result  *outcome `json:"result"`

	Curve  []curvePoint `json:"curve,omitempty"`  // losses of the training
	Inside *inside      `json:"inside,omitempty"` // what Measure asked for

	args []string // the command line
}

func (a *app) experimentCmd() *cobra.Command {
	var out string
	var finished bool
	var jobs int
	c := &cobra.Command{
		Use:   "experiment FILE.yaml",
		Short: "Run a matrix of compressions and tabulate top-1",
		Long: `experiment runs compress for every variant, width and seed of a YAML file, keeps
each result in a JSON-lines file, and prints a Markdown table of mean and spread.
Run again it goes on where it stopped, inside a run from its last checkpoint (kept
beside the results while it lasts); --finished tabulates what is there and runs
nothing. With --jobs several runs go step by step side by side, each on its
share of --threads; the results are the same. Plots go beside the table as SVG: top-1 by
width (FILE.svg), the losses over the steps (FILE.curve.svg) and, where the file
has the key measure, the entropy of q and k with and without IRM, their values
against the fitted Gaussian, and how far attention looks in the float and in the
quantised model (FILE.entropy.svg, FILE.values.svg, FILE.distance.svg).

Keys of the file: model; data; bits and seeds, lists; flags of compress for every
run, as {epochs: "0.75"}; variants, a list of {name: ..., flags: {...}}; title;
measure, as {bits: 4, samples: 64}.`,
		Example: "  qvitc experiment experiments/ablation.yaml",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("%s takes one file, %d are given", c.CommandPath(), len(args))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			return a.experiment(c.Context(), args[0], out, finished, jobs)
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "", "results file (default FILE.jsonl); the table goes to FILE.md beside it")
	c.Flags().IntVar(&jobs, "jobs", 1, "runs with the same seed at a time: they share the teacher's answers, and the memory is that of all")
	c.Flags().BoolVar(&finished, "finished", false, "tabulate the runs that are finished, start none")
	return c
}

func (a *app) experiment(ctx context.Context, file, out string, finished bool, jobs int) error {
	if jobs < 1 {
		return failf(exitUsage, "", "--jobs %d: want 1 or more", jobs)
	}
	e, err := readExperiment(file)
	if err != nil {
		return err
	}
	if out == "" {
		out = strings.TrimSuffix(file, filepath.Ext(file)) + ".jsonl"
	}
	done, err := readCells(out)
	if err != nil {
		return err
	}
	cells := e.matrix(done)
	if finished {
		cells = slices.DeleteFunc(cells, func(c cell) bool { return c.Result == nil })
	} else if err := a.runCells(ctx, e, cells, out, jobs); err != nil {
		return err
	}
	if len(cells) == 0 {
		return failf(exitUsage, "the same command without --finished starts them", "%s: no run of %s is finished", out, file)
	}
	table := e.table(file, cells)
	base := strings.TrimSuffix(out, filepath.Ext(out))
	md := base + ".md"
	if err := atomicfile.WriteFile(md, func(w io.Writer) error { _, err := io.WriteString(w, table); return err }); err != nil {
		return fail(exitIO, err)
	}
	plots, err := e.plot(base, cells)
	if err != nil {
		return fail(exitIO, err)
	}
	if a.json {
		return a.printJSON(map[string]any{"results": out, "table": md, "plots": plots, "cells": cells})
	}
	_, err = io.WriteString(a.out, table)
	return err
}

// matrix is every cell of the experiment, with its result where it is finished.
func (e *experiment) matrix(done map[string]cell) (cells []cell) {
	for _, seed := range e.Seeds {
		for _, bits := range e.Bits {
			for _, v := range e.Variants {
				args := e.args(v, bits, seed)
				c := cell{Key: strings.Join(args, " "), args: args}
				if old, ok := done[c.Key]; ok && (e.Measure == nil || old.Inside != nil) {
					c = old
				}
				c.Variant, c.Bits, c.Seed = v.Name, bits, seed
				cells = append(cells, c)
			}
		}
	}
	return cells
}

// runCells runs the cells that have no result and adds each to the file as it ends.
func (a *app) runCells(ctx context.Context, e *experiment, cells []cell, out string, jobs int) error {
	tmp, err := os.MkdirTemp("", "qvitc-experiment")
	if err != nil {
		return fail(exitIO, err)
	}
	defer os.RemoveAll(tmp)
	results, err := os.OpenFile(out, os.O_APPEND|os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return fail(exitIO, err)
	}
	defer results.Close()
	if err := endLine(results); err != nil {
		return fail(exitIO, err)
	}
	r := &matrixRun{app: a, measure: e.Measure, tmp: tmp, out: out, results: results,
		progress: a.longProgress("experiment", len(cells)), started: time.Now(), parts: map[*cell]span{}}
	defer r.progress.done()
	for _, c := range cells {
		if c.Result != nil {
			r.finished++
		}
	}
	a.teachers = newTeachers(jobs > 1)
	for _, w := range waves(cells, jobs) {
		if err := r.wave(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

func readExperiment(file string) (*experiment, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fail(exitIO, err)
	}
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	e := &experiment{}
	if err := d.Decode(e); err != nil {
		return nil, failf(exitUsage, "qvitc experiment --help tells the keys", "%s: %s", file, yamlText(err))
	}
	if e.Model == "" || e.Data == "" || len(e.Bits) == 0 || len(e.Seeds) == 0 || len(e.Variants) == 0 {
		return nil, failf(exitUsage, "", "%s: model, data, bits, seeds and variants must all be there", file)
	}
	return e, nil
}

// args is the command line of one cell, without the output.
func (e *experiment) args(v variant, bits string, seed uint64) []string {
	flags := maps.Clone(e.Flags)
	if flags == nil {
		flags = map[string]string{}
	}
	maps.Copy(flags, v.Flags)
	args := []string{"compress", e.Model, "--data", e.Data, "-b", bits, "--seed", fmt.Sprint(seed)}
	for _, k := range slices.Sorted(maps.Keys(flags)) {
		args = append(args, "--"+k+"="+flags[k])
	}
	return args
}

// cellFailure says which run failed, or where an interrupted matrix stands.
func cellFailure(err error, args []string, results string) error {
	var f *failure
	if !errors.As(err, &f) {
		return err
	}
	if f.code == exitInterrupted {
		return failf(exitInterrupted, "the same command goes on where they are", "interrupted; finished runs are in %s, checkpoints of the others beside it", results)
	}
	if errors.Is(err, distill.ErrResume) {
		f.hint = "remove that file to begin the run again"
	}
	return &failure{code: f.code, err: fmt.Errorf("%s: %w", shellLine(args...), f.err), hint: f.hint}
}

// endLine ends a last line that a killed run cut short, so that the next starts a new one.
func endLine(f *os.File) error {
	st, err := f.Stat()
	if err != nil || st.Size() == 0 {
		return err
	}
	var last [1]byte
	if _, err := f.ReadAt(last[:], st.Size()-1); err != nil || last[0] == '\n' {
		return err
	}
	_, err = f.WriteString("\n")
	return err
}

// readCells reads finished cells by key; a last line cut short is passed over.
func readCells(file string) (map[string]cell, error) {
	f, err := os.Open(file)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fail(exitIO, err)
	}
	defer f.Close()
	done := map[string]cell{}
	s := bufio.NewScanner(f)
	s.Buffer(nil, 16<<20)
	for s.Scan() {
		var c cell
		if json.Unmarshal(s.Bytes(), &c) == nil && c.Result != nil {
			done[c.Key] = c
		}
	}
	return done, fail(exitIO, s.Err())
}
