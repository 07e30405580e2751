package distill

import (
	"errors"
	"fmt"
	"slices"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/runtime"
)

// TapPair is where DGD compares one attention: queries and keys of student and
// teacher, [images*windows, heads, tokens, channels] or without the heads. The
// student's are taken after IRM and before the quantiser. The channels of
// teacher and student may differ in number.
type TapPair struct{ StudentQ, StudentK, TeacherQ, TeacherK *ir.Value }

// engine computes the loss and its gradient for a batch. A batch is cut into
// shards, whose gradients are summed in order.
type engine struct {
	student, teacher *ir.Graph
	params           []*ir.Value
	logits           [2][]*ir.Value // student's, teacher's
	taps             []tap          // of DGD
	features         []tap
	drops            []DropPath
	step             int // that run computes; drop-path is drawn by it
	opt              Options
	phases           *Phases
	plans            map[int]*plan // by images of a shard
	workers          []*worker
	busy             int         // workers that a batch keeps at work
	total            [][]float32 // gradients of the batch; the first worker's or sum
	sum              [][]float32 // where workers do several shards; made when needed

	data   Source
	shared *TeacherCache // of the job; nil: one of its own
	cache  *cached       // nil where the teacher's answers are not kept
}

// tap is a value that student and teacher are compared by: q or k of one attention, or
// a feature.
type tap struct{ s, t *ir.Value }

// plan is student and teacher compiled for one shard size.
type plan struct {
	student, teacher *runtime.Program
	classes          int
	dgd              map[tapShape]*dgdPlan
	taps             []*dgdPlan // of each tap of DGD
	weights          []float64  // of one matrix of each tap in a batch of one image
}

// worker is what one goroutine needs.
type worker struct {
	student, teacher map[int]*runtime.State
	grads            [][]float32
	loss             scratch
	dgd              map[*dgdPlan]*dgdState
	rows             [3][][]float32

	answers  answers
	keys     []answerKey // of the shard's images
	kept     [][]float32 // their answers
	recalled []float32
}

func newEngine(j *Job, params []Param, o Options) (*engine, error) {
	e := &engine{student: j.Student, opt: o, phases: j.Phases, plans: map[int]*plan{}, data: j.Data, shared: j.TeacherCache}
	for _, p := range params {
		e.params = append(e.params, p.Value)
	}
	e.logits[0] = logitsOf(j.Student, j.StudentLogits)
	if o.Loss.TeacherHard+o.Loss.Soft+o.Features > 0 || o.DGD.on() {
		if j.Teacher == nil {
			return nil, fmt.Errorf("the loss needs a teacher, and none is given")
		}
		e.teacher = j.Teacher
		e.logits[1] = logitsOf(j.Teacher, j.TeacherLogits)
	}
	if err := checkDropPath(e.student, j.DropPath); err != nil {
		return nil, err
	}
	e.drops = j.DropPath
	if e.teacher != nil {
		if err := checkDropPath(e.teacher, nil); err != nil {
			return nil, err
		}
	}
	if o.DGD.on() {
		for i, t := range j.Taps {
			if t.StudentQ == nil || t.StudentK == nil || t.TeacherQ == nil || t.TeacherK == nil {
				return nil, fmt.Errorf("attention %d: DGD needs q and k of student and teacher", i)
			}
			e.taps = append(e.taps, tap{t.StudentQ, t.TeacherQ}, tap{t.StudentK, t.TeacherK})
		}
		if len(e.taps) == 0 {
			return nil, fmt.Errorf("DGD is on, but no attention was recognised in the model: nothing to compare")
		}
	}
	if o.Features > 0 {
		var err error
		if e.features, err = featureTaps(j); err != nil {
			return nil, err
		}
	}
	for range o.Threads {
		w := &worker{student: map[int]*runtime.State{}, teacher: map[int]*runtime.State{}, dgd: map[*dgdPlan]*dgdState{}, grads: zeros(params)}
		e.workers = append(e.workers, w)
	}
	return e, nil
}

// allTaps lists the taps of DGD and the features, as answers.taps has them.
func (e *engine) allTaps() []tap { return slices.Concat(e.taps, e.features) }

func logitsOf(g *ir.Graph, given []*ir.Value) []*ir.Value {
	if len(given) > 0 {
		return given
	}
	return g.Outputs
}

// plan compiles both graphs for shards of n images, once.
func (e *engine) plan(n int) (*plan, error) {
	if p := e.plans[n]; p != nil {
		return p, nil
	}
	p := &plan{dgd: map[tapShape]*dgdPlan{}}
	var taps [2][]*ir.Value
	for _, t := range e.allTaps() {
		taps[0] = append(taps[0], t.s)
		taps[1] = append(taps[1], t.t)
	}
	var err error
	if e.teacher != nil {
		c := runtime.Config{Batch: n, Taps: notOutputs(e.teacher, e.logits[1], taps[1])}
		if p.teacher, err = runtime.Compile(e.teacher, c); err != nil {
			return nil, fmt.Errorf("teacher: %w", err)
		}
		if p.classes, err = classesOf(p.teacher, e.logits[1], n); err != nil {
			return nil, fmt.Errorf("teacher: %w", err)
		}
	}
	if e.cache == nil && len(e.plans) == 0 {
		e.cache = e.newCached(p, n)
	}
	c := runtime.Config{Batch: n, Train: true, Params: e.params, FastBackward: e.opt.FastBackward, Taps: notOutputs(e.student, e.logits[0], taps[0])}
	if err = e.compileStudent(c, p); err != nil {
		return nil, fmt.Errorf("student: %w", err)
	}
	k, err := classesOf(p.student, e.logits[0], n)
	if err != nil {
		return nil, fmt.Errorf("student: %w", err)
	}
	if e.teacher != nil && k != p.classes {
		return nil, fmt.Errorf("the teacher has %d classes, the student %d", p.classes, k)
	}
	p.classes = k
	if err := errors.Join(p.measureTaps(e, n), p.measureFeatures(e, n)); err != nil {
		return nil, err
	}
	e.plans[n] = p
	return p, nil
}

// notOutputs lists the values that must be taps, each once.
func notOutputs(g *ir.Graph, lists ...[]*ir.Value) []*ir.Value {
	var out []*ir.Value
	seen := map[*ir.Value]bool{}
	for _, l := range lists {
		for _, v := range l {
			if !seen[v] && !g.IsOutput(v) {
				seen[v] = true
				out = append(out, v)
			}
		}
	}
	return out
}

// classesOf checks that every logit output is [n, classes].
func classesOf(p *runtime.Program, logits []*ir.Value, n int) (int, error) {
	classes := 0
	if len(logits) == 0 {
		return 0, fmt.Errorf("the graph has no output")
	}
	for _, v := range logits {
		s := p.Shape(v)
		if len(s) != 2 || s[0] != n || s[1] < 1 || p.Elem(v) != ir.Float32 {
			return 0, &ir.Error{Tensor: v.Name, Msg: fmt.Sprintf("is %v%v for %d images: logits must be float32 [%d, classes]", p.Elem(v), s, n, n)}
		}
		if classes != 0 && s[1] != classes {
			return 0, &ir.Error{Tensor: v.Name, Msg: fmt.Sprintf("has %d classes, another head has %d", s[1], classes)}
		}
		classes = s[1]
	}
	return classes, nil
}

// measureTaps fills p.taps and p.weights. A matrix weighs Lambda · 1/(heads of all taps) ·
// 1/(windows of an image), so that the sum is the mean over layers, heads and
// {q, k}.
func (p *plan) measureTaps(e *engine, n int) error {
	heads := make([]int, len(e.taps))
	all := 0
	for i, t := range e.taps {
		s, u := p.student.Shape(t.s), p.teacher.Shape(t.t)
		count, tokens, d, h := matrices(s)
		tCount, tTokens, dT, _ := matrices(u)
		if count == 0 || count != tCount || tokens != tTokens || count%(n*h) != 0 {
			return fmt.Errorf("DGD cannot compare student tensor %s %v with teacher tensor %s %v: want [images, heads, tokens, channels] with equal images, heads and tokens",
				ir.Quote(t.s.Name), s, ir.Quote(t.t.Name), u)
		}
		shape := tapShape{count: count, tokens: tokens, d: d, dT: dT}
		if p.dgd[shape] == nil {
			q, err := newDGDPlan(e.opt.DGD, shape)
			if err != nil {
				return err
			}
			p.dgd[shape] = q
		}
		p.taps = append(p.taps, p.dgd[shape])
		heads[i] = h
		all += h
	}
	for i, t := range p.taps {
		windows := t.count / (n * heads[i])
		p.weights = append(p.weights, e.opt.DGD.Lambda/float64(all*windows))
	}
	return nil
}

func matrices(s []int) (count, tokens, d, heads int) {
	if len(s) < 3 {
		return 0, 0, 0, 1
	}
	count, heads = 1, 1
	for _, n := range s[:len(s)-2] {
		count *= n
	}
	if len(s) > 3 {
		heads = s[len(s)-3]
	}
	return count, s[len(s)-2], s[len(s)-1], heads
}
