package distill

import (
	"errors"
	"fmt"

	"github.com/qvitc/qvitc/runtime"
)

// compileStudent plans the student for shards of n images, within what
// Options.MaxMemory leaves for the state of one worker.
func (e *engine) compileStudent(c runtime.Config, p *plan) (err error) {
	workers, rest := int64(max(1, e.busy)), e.opt.MaxMemory
	if e.opt.MaxMemory > 0 {
		rest -= e.fixedMemory(p, workers)
		c.MaxMemory = max(1, rest/workers)
	}
	p.student, err = runtime.Compile(e.student, c)
	var low *runtime.MemoryError
	if errors.As(err, &low) {
		return fmt.Errorf("training needs %.1f MiB on %d threads even with every block computed twice; the limit is %.1f MiB: raise the limit, use fewer threads or make the batch smaller",
			mib(e.opt.MaxMemory-rest+low.Need*workers), workers, mib(e.opt.MaxMemory))
	}
	return err
}

// fixedMemory is what training takes beside the states of the student.
func (e *engine) fixedMemory(p *plan, workers int64) int64 {
	var elements int64
	for _, v := range e.params {
		elements += int64(v.Const.Len())
	}
	copies := workers + 3 // gradients of each worker and their sum, two moments
	if e.opt.EMA > 0 {
		copies++
	}
	n := 4 * elements * copies
	if p.teacher != nil {
		n += workers * p.teacher.Memory()
	}
	if e.cache != nil {
		n += e.cache.need
	}
	return n
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }
