package main

import (
	"math"
	"slices"

	"github.com/spf13/cobra"
)

// defaultIRM is the form of the rectification module used unless asked
// otherwise; docs/experiments.md has the table that decides it.
const defaultIRM = "rescale"

// trainFlags are the options of the fine-tuning.
type trainFlags struct {
	epochs     float64
	batch      int
	lr         float64
	seed       uint64
	optimiser  string
	warmUp     float64
	hard, soft float64
	tau        float64
	dgd        float64
	dgdMode    string
	flip       bool
	cropPad    int
	ema        float64
	damping    float64
	checkpoint string
	every      int
	resume     bool
}

// check refuses values out of range before any work is done.
func (t *trainFlags) check() error {
	for _, f := range []struct {
		name string
		ok   bool
		want string
	}{
		{"epochs", t.epochs > 0 && t.epochs <= 1e6, "a number above 0"},
		{"batch", t.batch >= 1, "at least 1"},
		{"lr", t.lr > 0 && t.lr <= math.MaxFloat32, "a number above 0"},
		{"optimizer", slices.Contains([]string{"adam", "adamw", "lamb"}, t.optimiser), "adam, adamw or lamb"},
		{"warmup", t.warmUp >= 0 && t.warmUp <= 1, "a part from 0 to 1"},
		{"hard", t.hard >= 0 && t.hard <= math.MaxFloat32, "0 or more"},
		{"soft", t.soft >= 0 && t.soft <= math.MaxFloat32 && t.hard+t.soft > 0, "0 or more, and not 0 beside --hard 0"},
		{"tau", t.tau > 0 && t.tau <= math.MaxFloat32, "a number above 0"},
		{"dgd", t.dgd >= 0 && t.dgd <= math.MaxFloat32, "0 or more"},
		{"dgd-mode", slices.Contains([]string{"paper", "mse", "rowwise"}, t.dgdMode), "paper, mse or rowwise"},
		{"crop-pad", t.cropPad >= 0, "0 or more"},
		{"ema", t.ema >= 0 && t.ema < 1, "0 or more, below 1"},
		{"damping", t.damping >= 0 && t.damping <= math.MaxFloat32, "0 or more"},
		{"checkpoint-every", t.every >= 1, "at least 1"},
	} {
		if !f.ok {
			return failf(exitUsage, "", "--%s: want %s", f.name, f.want)
		}
	}
	return nil
}

func (t *trainFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.Float64Var(&t.epochs, "epochs", 2, "passes over the training images; fractions are fine")
	f.IntVar(&t.batch, "batch", 64, "images a step")
	f.Float64Var(&t.lr, "lr", 1e-3, "peak learning rate, falling by a cosine")
	f.Uint64Var(&t.seed, "seed", 0, "seed of order and augmentation")
	f.StringVar(&t.optimiser, "optimizer", "adam", "adam, adamw or lamb")
	f.Float64Var(&t.warmUp, "warmup", 0, "part of the steps with a rising rate")
	f.Float64Var(&t.hard, "hard", 0.5, "weight of the cross-entropy with labels (given to --soft where there are none)")
	f.Float64Var(&t.soft, "soft", 0.5, "weight of the distillation of the teacher's logits")
	f.Float64Var(&t.tau, "tau", 1, "temperature of the distillation")
	f.Float64Var(&t.dgd, "dgd", 1, "weight of the distribution guided distillation of q and k (0: off)")
	f.StringVar(&t.dgdMode, "dgd-mode", "paper", "form of DGD: paper, mse or rowwise")
	f.BoolVar(&t.flip, "flip", false, "augment by horizontal flips")
	f.IntVar(&t.cropPad, "crop-pad", 0, "augment by random crops after padding this many pixels")
	f.Float64Var(&t.ema, "ema", 0, "decay of an average of the parameters that becomes the result (0: off)")
	f.Float64Var(&t.damping, "damping", 0, "weight of the damping of oscillating weights (0: off)")
	f.StringVar(&t.checkpoint, "checkpoint", "", "write checkpoints under this name; Ctrl-C then ends with one")
	f.IntVar(&t.every, "checkpoint-every", 100, "steps between checkpoints")
	f.BoolVar(&t.resume, "resume", false, "go on from the newest good checkpoint; the result is the same bytes as without the break")
}
