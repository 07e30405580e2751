package distill

import (
	"fmt"

	"github.com/qvitc/qvitc/runtime"
)

// compileStudent plans the student for shards of n images, within what
// Options.MaxMemory leaves for the state of one worker.
func (e *engine) compileStudent(c runtime.Config, p *plan) (err error) {
	workers := max(1, e.busy)
	if limit := e.opt.MaxMemory; limit > 0 {
		var elements int64
		for _, v := range e.params {
			elements += int64(v.Const.Len())
		}
		copies := int64(workers) + 3 // gradients of each worker and their sum, two moments
		if e.opt.EMA > 0 {
			copies++
		}
		rest := limit - 4*elements*copies
		if p.teacher != nil {
			rest -= int64(workers) * p.teacher.Memory()
		}
		if e.mayCache {
			rest -= e.cacheLimit()
		}
		if c.MaxMemory = rest / int64(workers); c.MaxMemory <= 0 {
			return fmt.Errorf("gradients, moments and the teacher alone take %.1f MiB on %d threads; the limit is %.1f MiB: raise the limit or use fewer threads", mib(limit-rest), workers, mib(limit))
		}
	}
	p.student, err = runtime.Compile(e.student, c)
	return err
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }
