package ops

import (
	"fmt"
	"slices"
	"strings"

	"github.com/qvitc/qvitc/ir"
)

// Subst fixes symbolic dimensions: every dimension of the graph inputs that is
// named in dims, or is a sum of products of such names, becomes its size
// (at least 1). Symbolic dimensions on node outputs are cleared, so that the
// next Infer finds them anew; on outputs of operators that inference does not
// know, the names are replaced. A name that no input has is an error.
func Subst(g *ir.Graph, dims map[string]int) error {
	used := map[string]bool{}
	for _, v := range g.Inputs {
		for i, d := range v.Type.Shape {
			n, err := substDim(d, dims, used)
			if err != nil {
				return &ir.Error{Tensor: v.Name, Msg: err.Error()}
			}
			if n != d {
				v.Type.Shape = slices.Clone(v.Type.Shape)
				v.Type.Shape[i] = n
			}
		}
	}
	var missing []string
	for name := range dims {
		if !used[name] {
			missing = append(missing, ir.Quote(name))
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return fmt.Errorf("no graph input has a dimension named %s", strings.Join(missing, ", "))
	}
	for n := range g.Nodes() {
		inferred := Lookup(n.Domain, n.Op) != nil
		for _, v := range n.Outputs {
			if v == nil {
				continue
			}
			v.Type.Shape = slices.Clone(v.Type.Shape)
			for i, d := range v.Type.Shape {
				if d.Known() || d.Sym == "" {
					continue
				}
				if inferred {
					v.Type.Shape[i] = ir.UnknownDim
				} else if n, err := substDim(d, dims, used); err == nil {
					v.Type.Shape[i] = n
				}
			}
		}
	}
	return nil
}

func substDim(d ir.Dim, dims map[string]int, used map[string]bool) (ir.Dim, error) {
	if d.Known() || d.Sym == "" {
		return d, nil
	}
	size := func(name string, n int) (int64, error) {
		used[name] = true
		if n < 1 || int64(n) > 1<<31-1 {
			return 0, fmt.Errorf("dimension %s cannot be %d; want 1 to 2147483647", ir.Quote(name), n)
		}
		return int64(n), nil
	}
	if n, ok := dims[d.Sym]; ok {
		s, err := size(d.Sym, n)
		return ir.Dim{Size: s}, err
	}
	p := fromDim(d)
	r := known(p.c)
	for _, t := range p.terms {
		m := known(t.coef)
		for _, s := range strings.Split(t.mono, monoSep) {
			n, ok := dims[s]
			if !ok {
				m = m.mul(symbol(s))
				continue
			}
			v, err := size(s, n)
			if err != nil {
				return d, err
			}
			m = m.mul(known(v))
		}
		r = r.add(m)
	}
	if r.same(p) {
		return d, nil
	}
	if lo, ok := r.lower(); !ok || lo < 0 || r.isConst() && r.c > 1<<31-1 {
		return d, fmt.Errorf("dimension %s becomes %s", ir.Quote(d.Sym), r)
	}
	return r.dim(), nil
}
