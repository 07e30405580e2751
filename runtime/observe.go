package runtime

import (
	"math"

	"github.com/qvitc/qvitc/ir"
)

// Codes are what the quantiser of one operand of a product gave in the last Forward:
// unsigned, counted from the lowest code, row after row as the operand lies in the
// graph (in front of the Transpose that a product reads through).
type Codes struct {
	Product string // label of the product's node
	Operand int    // 0 or 1
	Cols    int    // codes in a row
	Data    []uint8
}

// codeSite is where one operand's codes are found after Forward.
type codeSite struct {
	product string
	operand int
	id      int
	rows    int // 0: all that there are
	cols    int
	ld      int        // codes from row to row
	raise   uint8      // what makes stored codes unsigned
	quant   *fakeQuant // the value is not codes but floats on this quantiser's grid
}

// codeKeeper is a step that reads codes. It makes room for those that would not
// outlive it.
type codeKeeper interface{ keepCodes(c *compiler) []codeSite }

// keepCodes plans what Config.KeepCodes asks for. The codes outlive the steps, which
// are otherwise the same.
func (c *compiler) keepCodes() {
	for _, s := range c.p.steps {
		k, ok := s.(codeKeeper)
		if !ok {
			continue
		}
		for _, site := range k.keepCodes(c) {
			if site.ld == 0 {
				site.ld = max(site.cols, c.p.values[site.id].ld)
			}
			if site.rows == 0 {
				site.rows = c.p.values[site.id].n / max(1, site.ld)
			}
			c.p.sites = append(c.p.sites, site)
			c.pinned = append(c.pinned, site.id)
		}
	}
}

// Codes gives the codes of all quantised operands in the order in which they are
// read, of a program compiled with Config.KeepCodes.
func (s *State) Codes() []Codes {
	var out []Codes
	for i := range s.p.sites {
		at := &s.p.sites[i]
		k := Codes{Product: at.product, Operand: at.operand, Cols: at.cols}
		if at.quant != nil {
			k.Data = at.quant.codesOf(s)
			out = append(out, k)
			continue
		}
		u := s.u(at.id)
		for r := range at.rows {
			k.Data = append(k.Data, u[r*at.ld:][:at.cols]...)
		}
		for j := range k.Data {
			k.Data[j] += at.raise
		}
		out = append(out, k)
	}
	return out
}

// codesOf reads the codes back from the floats that they stand for.
func (s *fakeQuant) codesOf(st *State) []uint8 {
	y, scale := st.v[s.y], st.v[s.scale]
	out := make([]uint8, len(y))
	for i, x := range y {
		g := s.groupOf(i)
		out[i] = uint8(math.RoundToEven(float64(x/scale[g])) + float64(s.unsignedZero(st, g)))
	}
	return out
}

// keepCodes names the products that read floats, such as a convolution in training.
func (s *fakeQuant) keepCodes(c *compiler) (sites []codeSite) {
	if s.node.Inputs[0] == nil || s.node.Inputs[0].Const != nil || s.qp-s.qn > math.MaxUint8 || c.p.values[s.y].kind == ghost {
		return nil
	}
	for _, u := range s.node.Out().Uses() {
		if c.live[u.Node] && (u.Node.Is("Conv") || u.Node.Is("MatMul")) && c.integerProduct(u.Node) == nil {
			sites = append(sites, codeSite{product: u.Node.Label(), operand: u.Index, id: s.y, cols: lastDim(c, u.Node.Inputs[u.Index]), quant: s})
		}
	}
	return sites
}

func lastDim(c *compiler, v *ir.Value) int {
	s := c.shape(v)
	return max(1, s[len(s)-1])
}

func (s *integerMatmul) keepCodes(*compiler) []codeSite {
	sites := []codeSite{{product: s.name, operand: 0, id: s.a.u8, cols: s.a.cols, ld: s.a.ld}}
	if !s.linear {
		cols := s.n
		if s.turned {
			cols = s.k
		}
		sites = append(sites, codeSite{product: s.name, operand: 1, id: s.b.s8, cols: cols, raise: uint8(s.b.half())})
	}
	return sites
}

func (s *packedLinear) keepCodes(*compiler) []codeSite {
	return []codeSite{{product: s.name, operand: 0, id: s.x, cols: s.k}}
}

func (s *packedConv) keepCodes(*compiler) []codeSite {
	return []codeSite{{product: s.name, operand: 0, id: s.image, rows: s.at.batch * s.at.ci * s.at.h, cols: s.at.wd, ld: s.at.wd}}
}

func (s *attend) keepCodes(c *compiler) []codeSite {
	s.kept = c.codeRows(s.mats*s.rows, s.keys)
	s.out = append(s.out, s.kept)
	return []codeSite{
		{product: s.scores, operand: 0, id: s.q, cols: s.depth},
		{product: s.scores, operand: 1, id: s.k, cols: s.depth},
		{product: s.name, operand: 0, id: s.kept, cols: s.keys},
		{product: s.name, operand: 1, id: s.v, cols: s.width},
	}
}

// keep copies the codes of the probabilities of n rows from row u on.
func (s *attend) keep(st *State, h *hand, u, n int) {
	copy(st.u(s.kept)[u*s.ldp():][:n*s.ldp()], h.u8)
}

func (s *qlinear) keepCodes(c *compiler) []codeSite {
	s.kept = c.code(&s.base, s.m*s.k)
	return []codeSite{{product: s.name, operand: 0, id: s.kept, cols: s.k}}
}

func (s *qmatmul) keepCodes(c *compiler) []codeSite {
	s.keptA, s.keptB = c.code(&s.base, c.p.values[s.a].n), c.code(&s.base, c.p.values[s.b].n)
	cols := s.n
	if s.turned {
		cols = s.k
	}
	return []codeSite{
		{product: s.name, operand: 0, id: s.keptA, cols: s.k},
		{product: s.name, operand: 1, id: s.keptB, cols: cols, raise: uint8(s.half)},
	}
}

func (s *qmatmul) keep(st *State, p *qproduct, a []uint8, b []int8) {
	copy(st.u(s.keptA)[p.a:], a)
	copy(st.s(s.keptB)[p.b:], b)
}
