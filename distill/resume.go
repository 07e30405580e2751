package distill

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/qvitc/qvitc/ir"
)

// identify sets what a checkpoint must match. The student's hash leaves out the
// values of its parameters, which the checkpoint itself holds.
func (t *trainer) identify(perEpoch int) {
	g, m := t.job.Student.Clone()
	for _, p := range t.params {
		clear(m[p.Value].Const.F32())
	}
	text := g.String()
	if t.eng.teacher != nil {
		text += t.eng.teacher.String()
	}
	for _, d := range t.eng.drops {
		text += fmt.Sprint(ir.Quote(d.Input.Name), d.Rate)
	}
	for _, taps := range t.eng.allTaps() {
		text += ir.Quote(taps.s.Name) + ir.Quote(taps.t.Name)
	}
	t.model = digest(text)
	t.config = digest(fmt.Sprintf("%s steps=%d perEpoch=%d", t.o.identity(), t.steps, perEpoch))
}

func digest(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:16])
}

// groups lists the tensors of a checkpoint with their names.
func (t *trainer) groups() (names []string, tensors [][][]float32) {
	values := make([][]float32, len(t.params))
	for i, p := range t.params {
		values[i] = p.Data
	}
	names, tensors = []string{"param", "m", "v"}, [][][]float32{values, t.opt.m, t.opt.v}
	if t.opt.ema != nil {
		names, tensors = append(names, "ema"), append(tensors, t.opt.ema)
	}
	return names, tensors
}

// save writes a checkpoint of the present state.
func (t *trainer) save() error {
	c := &checkpoint{checkpointHeader: t.head}
	c.Version, c.Model, c.Config, c.Steps = checkpointVersion, t.model, t.config, t.steps
	for _, p := range t.params {
		c.Params = append(c.Params, checkpointParam{Name: p.Name, Shape: p.Value.Const.Shape})
	}
	c.Groups, c.tensors = t.groups()
	path, err := t.store.save(c)
	if err != nil {
		return fmt.Errorf("step %d: %w", t.head.Step, err)
	}
	t.saved = path
	return nil
}

// saveNow saves, if checkpoints are on, a state whose loss is not known yet: it
// must at least be finite.
func (t *trainer) saveNow() error {
	if what, v := faultyParam(t.params); what != "" {
		return &Fault{Step: t.head.Step, What: what, Value: v, Hint: "lower the learning rate"}
	}
	if t.o.Checkpoint == "" || t.saved == t.store.name(t.head.Step) {
		return nil
	}
	return t.save()
}

// resume goes back to the newest good checkpoint of this very run.
func (t *trainer) resume() error {
	c, path, skipped, err := t.store.load(t.fits)
	for _, s := range skipped {
		t.notify("%s", s)
	}
	if err != nil {
		return err
	}
	if c == nil {
		t.notify("no checkpoint %q to resume: starting at step 0", t.o.Checkpoint)
		return nil
	}
	_, into := t.groups()
	for g := range into {
		for i := range into[g] {
			copy(into[g][i], c.tensors[g][i])
		}
	}
	t.head = c.checkpointHeader
	t.head.Params, t.head.Groups = nil, nil
	t.opt.updates, t.from, t.saved = c.Updates, c.Step, path
	return nil
}

// errOther: the graph is written into the hash as this build prints it.
var errOther = errors.New("it belongs to another model, or another version of qvitc began it")

func (t *trainer) fits(c *checkpoint) error {
	if c.Model != t.model {
		return errOther
	}
	if c.Config != t.config {
		return errors.New("it was made with other options, other data or another version of qvitc")
	}
	names, tensors := t.groups()
	ok := slices.Equal(c.Groups, names) && len(c.Params) == len(t.params) && c.Steps == t.steps
	for i := 0; ok && i < len(t.params); i++ {
		ok = c.Params[i].Name == t.params[i].Name && slices.Equal(c.Params[i].Shape, t.params[i].Value.Const.Shape)
	}
	for g := 0; ok && g < len(tensors); g++ {
		for _, x := range c.tensors[g] {
			for _, v := range x {
				if !finite(float64(v)) {
					return errors.New("it holds a number that is not finite")
				}
			}
		}
	}
	if !ok {
		return errOther
	}
	return nil
}
