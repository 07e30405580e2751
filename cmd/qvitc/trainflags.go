package main

import (
	"math"
	"slices"
	"strconv"

	"github.com/qvitc/qvitc/dataset"
	"github.com/qvitc/qvitc/distill"
	"github.com/spf13/cobra"
)

// defaultIRM is the form of the rectification module used unless asked
// otherwise; docs/experiments.md has the table that decides it.
const defaultIRM = "rescale"

// trainFlags are the options of training that compress and finetune share. What
// stands in it when add is called are the command's defaults.
type trainFlags struct {
	epochs      float64
	batch       int
	lr          float64
	seed        uint64
	optimiser   string
	warmUp      float64
	weightDecay float64
	clip        float64
	hard, soft  float64
	teacherHard float64
	tau         float64
	smoothing   float64
	dgd         float64
	dgdMode     string
	features    float64
	dropPath    float64
	ema         float64
	augment     augmentFlags
	checkpoint  string
	every       int
	resume      bool
	fast        bool // of compress alone: finetune has no quantised products
	maxMemory   sizeFlag
	cache       sizeFlag
}

// compressTraining are the defaults of compress: half labels, half the teacher.
var compressTraining = trainFlags{
	epochs: 2, batch: 64, lr: 1e-3, optimiser: "adam", clip: 1, hard: 0.5, soft: 0.5, tau: 1, dgd: 1, dgdMode: "paper", features: 15,
	every: 100, fast: true,
}

// finetuneTraining are the defaults of finetune: labels alone. What
// docs/experiments.md measures on small images chose the batch, the rate and no
// augmentation, which pays in long runs alone.
var finetuneTraining = trainFlags{
	epochs: 10, batch: 64, lr: 1e-3, optimiser: "adamw", warmUp: 0.05, weightDecay: 0.05, clip: 1, hard: 1, tau: 1, smoothing: 0.1, dgdMode: "paper", every: 100,
}

// check refuses values out of range before any work is done.
func (t *trainFlags) check() error {
	for _, f := range []struct {
		name  string
		value any
		ok    bool
		want  string
	}{
		{"epochs", t.epochs, t.epochs > 0 && t.epochs <= 1e6, "a number above 0"},
		{"batch", t.batch, t.batch >= 1, "at least 1"},
		{"lr", t.lr, t.lr > 0 && t.lr <= math.MaxFloat32, "a number above 0"},
		{"optimizer", t.optimiser, slices.Contains([]string{"adam", "adamw", "lamb"}, t.optimiser), "adam, adamw or lamb"},
		{"warmup", t.warmUp, t.warmUp >= 0 && t.warmUp <= 1, "a part from 0 to 1"},
		{"weight-decay", t.weightDecay, t.weightDecay >= 0 && t.weightDecay <= math.MaxFloat32, "0 or more"},
		{"clip", t.clip, t.clip >= 0 && t.clip <= math.MaxFloat32, "0 or more"},
		{"hard", t.hard, t.hard >= 0 && t.hard <= math.MaxFloat32, "0 or more"},
		{"teacher-hard", t.teacherHard, t.teacherHard >= 0 && t.teacherHard <= math.MaxFloat32, "0 or more"},
		{"soft", t.soft, t.soft >= 0 && t.soft <= math.MaxFloat32, "0 or more"},
		{"soft", t.soft, t.hard+t.soft+t.teacherHard > 0, "more than 0 where --hard and --teacher-hard are 0"},
		{"tau", t.tau, t.tau > 0 && t.tau <= math.MaxFloat32, "a number above 0"},
		{"smoothing", t.smoothing, t.smoothing >= 0 && t.smoothing < 1, "0 or more, below 1"},
		{"dgd", t.dgd, t.dgd >= 0 && t.dgd <= math.MaxFloat32, "0 or more"},
		{"dgd-mode", t.dgdMode, slices.Contains([]string{"paper", "mse", "rowwise"}, t.dgdMode), "paper, mse or rowwise"},
		{"features", t.features, t.features >= 0 && t.features <= math.MaxFloat32, "0 or more"},
		{"drop-path", t.dropPath, t.dropPath >= 0 && t.dropPath < 1, "0 or more, below 1"},
		{"ema", t.ema, t.ema >= 0 && t.ema < 1, "0 or more, below 1"},
		{"checkpoint-every", t.every, t.every >= 1, "at least 1"},
	} {
		if !f.ok {
			return failf(exitUsage, "", "--%s %v: want %s", f.name, f.value, f.want)
		}
	}
	if t.weightDecay > 0 && t.optimiser == "adam" {
		return failf(exitUsage, "use --optimizer adamw or lamb", "--weight-decay: adam has none")
	}
	return t.augment.check()
}

func (t *trainFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.Float64Var(&t.epochs, "epochs", t.epochs, "passes over the training images; fractions are fine")
	f.IntVar(&t.batch, "batch", t.batch, "images a step")
	f.Float64Var(&t.lr, "lr", t.lr, "peak learning rate, falling by a cosine")
	f.Uint64Var(&t.seed, "seed", 0, "seed of order, augmentation and drop-path")
	f.StringVar(&t.optimiser, "optimizer", t.optimiser, "adam, adamw or lamb")
	f.Float64Var(&t.warmUp, "warmup", t.warmUp, "part of the steps with a rising rate")
	f.Float64Var(&t.weightDecay, "weight-decay", t.weightDecay, "decay of the weights of adamw and lamb; biases, norms, positions and quantisers have none")
	f.Float64Var(&t.clip, "clip", t.clip, "bound of the gradient's norm (0: none)")
	f.Float64Var(&t.hard, "hard", t.hard, "weight of the cross-entropy with labels (given to the distillation where there are none)")
	f.Float64Var(&t.soft, "soft", t.soft, "weight of the distillation of the teacher's logits")
	f.Float64Var(&t.teacherHard, "teacher-hard", t.teacherHard, "weight of the cross-entropy with the teacher's answer")
	f.Float64Var(&t.tau, "tau", t.tau, "temperature of the distillation")
	f.Float64Var(&t.smoothing, "smoothing", t.smoothing, "part of a label that is spread over all classes")
	f.Float64Var(&t.dgd, "dgd", t.dgd, "weight of the distribution guided distillation of q and k (0: off)")
	f.StringVar(&t.dgdMode, "dgd-mode", t.dgdMode, "form of DGD: paper, mse or rowwise")
	f.Float64Var(&t.features, "features", t.features, "weight of the distance of the blocks' outputs from the teacher's (0: off, as in the paper)")
	f.Float64Var(&t.dropPath, "drop-path", t.dropPath, "part of the images that skip the last block's branches in a step, falling to 0 at the first")
	f.Float64Var(&t.ema, "ema", t.ema, "decay of an average of the parameters that becomes the result (0: off)")
	t.augment.add(c)
	f.StringVar(&t.checkpoint, "checkpoint", "", "write checkpoints under this name; Ctrl-C then ends with one")
	f.IntVar(&t.every, "checkpoint-every", t.every, "steps between checkpoints")
	t.cache = 512 << 20
	f.Var(&t.maxMemory, "max-memory", "memory for training; parts of the network then run twice a step, with the same result (off: as much as it takes)")
	f.Var(&t.cache, "teacher-cache", "memory for the teacher's answers, kept where images are at most mirrored and all fit")
	f.BoolVar(&t.resume, "resume", false, "go on from the newest good checkpoint; the result is the same bytes as without the break")
}

// options are the flags as distill takes them.
func (t *trainFlags) options() distill.Options {
	clip := t.clip
	if clip == 0 {
		clip = -1
	}
	cache := int64(t.cache)
	if cache == 0 {
		cache = -1
	}
	return distill.Options{
		Epochs: t.epochs, Optimiser: distill.Optimiser(t.optimiser), LR: t.lr, WarmUp: t.warmUp, WeightDecay: t.weightDecay, Clip: clip,
		Loss: &distill.Loss{Hard: t.hard, TeacherHard: t.teacherHard, Soft: t.soft, Tau: t.tau, Smoothing: t.smoothing},
		EMA:  t.ema, Features: t.features, CheckpointEvery: t.every, Resume: t.resume, Seed: t.seed,
		FastBackward: t.fast, MaxMemory: int64(t.maxMemory), TeacherCache: cache,
	}
}

// loader are the flags as dataset takes them.
func (t *trainFlags) loader() dataset.LoaderOptions {
	return dataset.LoaderOptions{Batch: t.batch, Seed: t.seed, Shuffle: true, DropLast: true, Augment: t.augment.resolved()}
}

// needsTeacher tells whether a part of the loss compares with a teacher.
func (t *trainFlags) needsTeacher() bool { return t.soft+t.teacherHard+t.dgd+t.features > 0 }

// recipe notes every option that shapes the result, as resolved.
func (t *trainFlags) recipe(r map[string]string) {
	for k, v := range map[string]float64{"epochs": t.epochs, "lr": t.lr, "warmup": t.warmUp, "weight-decay": t.weightDecay, "clip": t.clip,
		"hard": t.hard, "teacher-hard": t.teacherHard, "soft": t.soft, "tau": t.tau, "smoothing": t.smoothing, "dgd": t.dgd,
		"features": t.features, "drop-path": t.dropPath, "ema": t.ema} {
		r[k] = strconv.FormatFloat(v, 'g', -1, 64)
	}
	r["batch"], r["optimizer"], r["dgd-mode"] = strconv.Itoa(t.batch), t.optimiser, t.dgdMode
	r["seed"] = strconv.FormatUint(t.seed, 10)
	t.augment.recipe(r)
}
