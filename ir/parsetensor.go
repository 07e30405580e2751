package ir

import (
	"math"
	"math/rand/v2"
	"strconv"
)

// maxParsed bounds constants that the text form generates.
const maxParsed = 1 << 24

func (p *parser) tensor(t Type) *Tensor {
	shape, ok := t.Shape.Ints()
	if !ok || !t.Ranked {
		p.fail("a constant needs a known shape, not %v", t)
	}
	n, err := NumElems(shape)
	if err != nil || n > maxParsed {
		p.fail("constant of shape %v is too large", shape)
	}
	switch {
	case p.is("sha256"):
		p.next()
		p.expect(":")
		digest := p.word()
		if p.o.Consts != nil {
			if c := p.o.Consts(digest); c != nil && c.Type().String() == t.String() {
				return c
			}
		}
		p.fail("constant sha256:%s is not at hand", digest)
	case p.is("["):
		p.next()
		c := p.newTensor(t.Elem, shape)
		for i := range n {
			if i > 0 {
				p.expect(",")
			}
			p.element(c, i)
		}
		p.expect("]")
		return c
	}
	c := p.newTensor(t.Elem, shape)
	kind := p.word()
	if kind == "iota" {
		for i := range n {
			c.set(i, float64(i), int64(i))
		}
		return c
	}
	p.expect("(")
	switch kind {
	case "rand":
		r := rand.New(rand.NewPCG(uint64(p.int()), 0))
		for i := range n {
			f := 2*r.Float64() - 1
			c.set(i, f, int64(math.Floor(f*8)))
		}
	case "fill":
		f := p.float(64)
		for i := range n {
			c.set(i, f, int64(f))
		}
	default:
		p.fail("unknown constant form %s", Quote(kind))
	}
	p.expect(")")
	return c
}

func (p *parser) newTensor(e Elem, shape []int) *Tensor {
	c, err := NewTensor(e, shape...)
	if err != nil {
		p.fail("%v", err)
	}
	return c
}

func (p *parser) element(c *Tensor, i int) {
	switch {
	case c.Elem == String:
		Data[string](c)[i] = p.word()
	case c.Elem == Float64:
		c.set(i, p.float(64), 0)
	case c.Elem.IsFloat():
		c.set(i, p.float(32), 0)
	case c.Elem == Uint64:
		w := p.word()
		n, err := strconv.ParseUint(w, 10, 64)
		if err != nil {
			p.fail("want an integer, have %s", Quote(w))
		}
		Data[uint64](c)[i] = n
	default:
		c.set(i, 0, p.int())
	}
}

// set writes element i: f for float types, n for the others.
func (t *Tensor) set(i int, f float64, n int64) {
	switch d := t.data.(type) {
	case []float32:
		d[i] = float32(f)
	case []float64:
		d[i] = f
	case []int64:
		d[i] = n
	case []int32:
		d[i] = int32(n)
	case []int16:
		d[i] = int16(n)
	case []int8:
		d[i] = int8(n)
	case []uint32:
		d[i] = uint32(n)
	case []uint64:
		d[i] = uint64(n)
	case []bool:
		d[i] = n != 0
	case []uint16:
		switch t.Elem {
		case Float16:
			d[i] = FloatToHalf(float32(f))
		case BFloat16:
			d[i] = uint16(math.Float32bits(float32(f)) >> 16)
		default:
			d[i] = uint16(n)
		}
	case []uint8:
		b := t.Elem.Bits()
		if b == 8 {
			d[i] = uint8(n)
			return
		}
		per := 8 / b
		shift := b * (i % per)
		mask := uint8(1<<b-1) << shift
		d[i/per] = d[i/per]&^mask | uint8(n)<<shift&mask
	}
}
