package distill

import (
	"fmt"
	"math"

	"github.com/qvitc/qvitc/internal/atomicfile"
	"github.com/qvitc/qvitc/ir"
)

// Optimiser names an update rule.
type Optimiser string

// Update rules. Adam with the global clip is what the authors' LAMB amounts to
// at weight decay 0 (method.md section 9).
const (
	Adam  Optimiser = "adam"
	AdamW Optimiser = "adamw" // decoupled decay on weights alone
	LAMB  Optimiser = "lamb"  // layer-wise trust ratio on weights and embeddings
)

// Options say how a student is trained. The zero value of a field stands for
// the default named beside it. Threads alone does not change the result.
type Options struct {
	Epochs  float64 // passes over the data, fractions allowed; 1
	Shards  int     // parts of a batch that are computed apart; by default one per 16 images, at least 2
	Threads int     // goroutines; GOMAXPROCS

	Optimiser   Optimiser // Adam
	LR          float64   // peak learning rate; 1e-3
	MinLR       float64   // floor of the cosine; 1e-5, at most LR
	WarmUp      float64   // part of the steps with a linearly rising rate, 0 to 1; 0
	Clip        float64   // bound of the global gradient norm; 1, negative: none
	WeightDecay float64   // for AdamW and LAMB; 0
	Beta1       float64   // 0.9
	Beta2       float64   // 0.999
	Epsilon     float64   // 1e-8

	ScaleLR     float64 // multiplies the rate of quantiser scales (in log alpha); 1
	ZeroPointLR float64 // multiplies the rate of zero points (in code units); 10
	GradScale   bool    // LSQ's g = 1/√(N·Qp) on the gradients of scales and zero points
	Damping     float64 // weight of the oscillation damping ‖w - ŵ‖², rising from 0 by a cosine; 0
	EMA         float64 // decay of the average of the parameters that is the result; 0: off

	Loss *Loss // DefaultLoss
	DGD  DGD   // off

	// Features is the weight of the distance of the blocks' outputs from the teacher's
	// (featureLoss), as a mean over the images and Job.Features; 0.
	Features float64

	FastBackward bool // gradients of quantised products in 16-bit integers (runtime.Config.FastBackward)

	// MaxMemory bounds the bytes of activations, gradients, moments and teacher of
	// all threads together; parts of the student then run forward twice. 0: none.
	MaxMemory int64
	// TeacherCache bounds the bytes of the teacher's answers that are kept where
	// images come back unchanged or mirrored; 512 MiB, negative: none. Neither
	// changes the result.
	TeacherCache int64

	Outlier float64 // skip a step whose loss is this many deviations above its window; 0: never

	Checkpoint      string // base name of the checkpoint files; empty: none
	CheckpointEvery int    // steps between checkpoints; 0: at the end or an interrupt alone
	Resume          bool   // go on from the newest good checkpoint, if there is one
	Seed            uint64 // noted in checkpoints: a run resumes with the same seed only
	Note            string // further settings of the caller that a resumed run must share

	fs atomicfile.FS // of tests
}

// withDefaults fills the fields left at zero and checks the rest.
func (o Options) withDefaults() (Options, error) {
	def := func(v *float64, d float64) {
		if *v == 0 {
			*v = d
		}
	}
	def(&o.Epochs, 1)
	def(&o.LR, 1e-3)
	def(&o.MinLR, math.Min(1e-5, o.LR))
	def(&o.Clip, 1)
	def(&o.Beta1, 0.9)
	def(&o.Beta2, 0.999)
	def(&o.Epsilon, 1e-8)
	def(&o.ScaleLR, 1)
	def(&o.ZeroPointLR, 10)
	if o.Optimiser == "" {
		o.Optimiser = Adam
	}
	if o.Loss == nil {
		l := DefaultLoss
		o.Loss = &l
	}
	switch o.Optimiser {
	case Adam, AdamW, LAMB:
	default:
		return o, fmt.Errorf("optimiser %q: want adam, adamw or lamb", o.Optimiser)
	}
	for _, f := range []struct {
		name      string
		v, lo, hi float64
	}{
		{"epochs", o.Epochs, 0, 1e6}, {"learning rate", o.LR, 0, math.MaxFloat32}, {"floor of the learning rate", o.MinLR, 0, o.LR},
		{"warm-up", o.WarmUp, 0, 1}, {"weight decay", o.WeightDecay, 0, math.MaxFloat32}, {"beta1", o.Beta1, 0, 1}, {"beta2", o.Beta2, 0, 1},
		{"epsilon", o.Epsilon, 0, 1}, {"learning-rate factor of scales", o.ScaleLR, 0, math.MaxFloat32},
		{"learning-rate factor of zero points", o.ZeroPointLR, 0, math.MaxFloat32}, {"damping", o.Damping, 0, math.MaxFloat32},
		{"decay of the average", o.EMA, 0, 1}, {"weight of the features", o.Features, 0, math.MaxFloat32}, {"outlier bound", o.Outlier, 0, math.MaxFloat32},
	} {
		if !(f.v >= f.lo && f.v <= f.hi) {
			return o, fmt.Errorf("%s %v: want a number from %v to %v", f.name, f.v, f.lo, f.hi)
		}
	}
	for _, b := range []float64{o.Beta1, o.Beta2, o.EMA} {
		if b == 1 {
			return o, fmt.Errorf("beta1, beta2 and the decay of the average must be below 1")
		}
	}
	if math.IsNaN(o.Clip) {
		return o, fmt.Errorf("gradient clip %v: want a number", o.Clip)
	}
	if o.MaxMemory < 0 {
		return o, fmt.Errorf("memory limit of %d bytes: want 0 or more", o.MaxMemory)
	}
	if o.Shards < 0 || o.Threads < 0 || o.CheckpointEvery < 0 {
		return o, fmt.Errorf("shards %d, threads %d and checkpoint interval %d must not be negative", o.Shards, o.Threads, o.CheckpointEvery)
	}
	if err := o.Loss.check(); err != nil {
		return o, err
	}
	return o, o.DGD.check()
}

// identity is what two runs must share for one to resume the other: all that
// changes the numbers.
func (o Options) identity() string {
	o.Threads, o.Checkpoint, o.CheckpointEvery, o.Resume, o.fs = 0, "", 0, false, nil
	o.MaxMemory, o.TeacherCache = 0, 0
	loss := *o.Loss
	o.Loss = nil
	return fmt.Sprintf("%+v %+v", o, loss)
}

// shardImages is the largest shard that the default makes.
const shardImages = 16

// shardBounds cuts a batch of n images: shard s holds images b[s] to b[s+1]. The
// cut depends on n and shards alone; sizes differ by at most one.
func shardBounds(n, shards int) []int {
	if shards == 0 {
		shards = max(2, (n+shardImages-1)/shardImages)
	}
	shards = min(shards, n)
	b := make([]int, shards+1)
	for s := range b {
		b[s] = s * n / shards
	}
	return b
}

// cutFor is shardBounds for graphs that may have been exported with a fixed
// batch: every shard then holds just that many images.
func cutFor(n, shards int, graphs ...*ir.Graph) ([]int, error) {
	for _, g := range graphs {
		if g == nil || len(g.Inputs) == 0 || g.Inputs[0].Type.Rank() < 1 || !g.Inputs[0].Type.Shape[0].Known() {
			continue
		}
		fixed := int(g.Inputs[0].Type.Shape[0].Size)
		if fixed < 1 || n%fixed != 0 {
			return nil, fmt.Errorf("graph %s takes batches of %d images: %d images are no multiple of that", ir.Quote(g.Name), fixed, n)
		}
		shards = n / fixed
	}
	return shardBounds(n, shards), nil
}

// rate is the learning rate of step t (from 0) of total: a linear rise, then a
// cosine from LR to MinLR.
func (o Options) rate(t, total int) float64 {
	warm := int(math.Round(o.WarmUp * float64(total)))
	if t < warm {
		return o.LR * float64(t+1) / float64(warm)
	}
	x := float64(t-warm) / float64(max(1, total-warm))
	return o.MinLR + (o.LR-o.MinLR)*(1+math.Cos(math.Pi*x))/2
}
