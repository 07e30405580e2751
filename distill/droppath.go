package distill

import (
	"fmt"
	"math/rand/v2"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/runtime"
)

// DropPath is an input of the student, [batch,1,...], that scales a residual
// branch: training sets it to 0 for a random part Rate of the images and to
// 1/(1-Rate) for the others, by the seed, the step and the image's place in the
// batch. Evaluation takes graphs without such inputs.
type DropPath struct {
	Input *ir.Value
	Rate  float64 // 0 to below 1
}

// checkDropPath tells whether the graph's inputs are the image and these.
func checkDropPath(g *ir.Graph, drops []DropPath) error {
	if len(g.Inputs) != 1+len(drops) {
		return fmt.Errorf("graph %s has %d inputs: training takes models with one, the image", ir.Quote(g.Name), len(g.Inputs))
	}
	for i, d := range drops {
		if g.Inputs[i+1] != d.Input || !(d.Rate >= 0 && d.Rate < 1) {
			return fmt.Errorf("graph %s: drop-path %d of rate %v does not belong to input %d", ir.Quote(g.Name), i, d.Rate, i+1)
		}
	}
	return nil
}

const dropKey = 0x64726f70

// setDropPath fills the inputs of a state for the images from lo on of a batch.
func (e *engine) setDropPath(st *runtime.State, lo int) error {
	if len(e.drops) == 0 {
		return nil
	}
	n := len(st.Input(e.drops[0].Input))
	for i := range n {
		r := rand.New(rand.NewPCG(e.opt.Seed^dropKey, uint64(e.step)<<24^uint64(lo+i)))
		for _, d := range e.drops {
			in := st.Input(d.Input)
			if len(in) != n {
				return &ir.Error{Tensor: d.Input.Name, Msg: fmt.Sprintf("takes %d numbers, want one for each of %d images", len(in), n)}
			}
			in[i] = 0
			if r.Float64() >= d.Rate {
				in[i] = float32(1 / (1 - d.Rate))
			}
		}
	}
	return nil
}
