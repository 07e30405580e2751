package main

import (
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
