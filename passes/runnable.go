package passes

import (
	"slices"

	"github.com/qvitc/qvitc/internal/guard"
	"github.com/qvitc/qvitc/ir"
)

// IsPacked reports whether g holds operators of the domain ai.qvitc, which the
// runtime takes as they are.
func IsPacked(g *ir.Graph) bool {
	for n := range g.Nodes() {
		if n.Domain == ir.Domain {
			return true
		}
	}
	return false
}

// ReadQuantised brings a graph of any quantised form, as a file holds it, into
// FakeQuant nodes (Raise), its activation functions into one node each. The notes
// say what stays as the file has it.
func ReadQuantised(g *ir.Graph) (notes []string, err error) {
	d := Driver{Check: true}
	res, err := d.Run(g, slices.Concat(Raise, []Pass{FuseGelu, DropDead}))
	if err != nil {
		return nil, err
	}
	for _, s := range res.Steps {
		for _, n := range s.Report.Notes {
			notes = append(notes, n.String())
		}
	}
	return notes, nil
}

// Runnable brings a quantised graph that is not packed into the form that the
// runtime is fastest with: ReadQuantised, then LowerPacked. The answers are those
// of the quantisers, bit for bit. It changes g, and gives g itself where it is
// packed or not quantised.
func Runnable(g *ir.Graph) (run *ir.Graph, notes []string, err error) {
	if IsPacked(g) || !IsQuantised(g) {
		return g, nil, nil
	}
	if notes, err = ReadQuantised(g); err != nil {
		return nil, nil, err
	}
	run, _ = g.Clone()
	err = guard.Call(func() error {
		_, err := LowerPacked.Run(run, &Report{Pass: LowerPacked.Name})
		return err
	})
	if err != nil {
		return g, append(notes, "products run on floats: "+err.Error()), nil
	}
	return run, notes, nil
}
