package ops

import (
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/qvitc/qvitc/ir"
)

// num is an integer as far as it is known before running: unknown, a constant,
// or a polynomial over symbolic dimensions such as 4*batch+1. Polynomials are
// kept in one normal form, so equal nums are provably equal. A symbol stands
// for any size of at least 1.
//
// Polynomials that grow past maxTerms terms or maxDegree become unknown, which
// keeps inference linear in the number of nodes.
type num struct {
	ok    bool
	c     int64
	terms []term // sorted by mono, no zero coefficients
}

type term struct {
	coef int64
	mono string // symbols in order, joined by monoSep; a power repeats its symbol
}

const (
	monoSep   = "\x00"
	maxTerms  = 6
	maxDegree = 6
)

var unknown = num{}

func known(c int64) num      { return num{ok: true, c: c} }
func symbol(name string) num { return num{ok: true, terms: []term{{1, name}}} }

// isConst reports whether the value is a known constant.
func (a num) isConst() bool { return a.ok && len(a.terms) == 0 }

// is reports whether a is the constant c.
func (a num) is(c int64) bool { return a.isConst() && a.c == c }

func (a num) same(b num) bool {
	return a.ok && b.ok && a.c == b.c && slices.Equal(a.terms, b.terms)
}

func addInt(a, b int64) (int64, bool) {
	s := a + b
	return s, (s > a) == (b > 0)
}

func mulInt(a, b int64) (int64, bool) {
	hi, lo := bits.Mul64(magnitude(a), magnitude(b))
	if hi != 0 || lo > math.MaxInt64 {
		return 0, false
	}
	return a * b, true
}

func magnitude(a int64) uint64 {
	if a < 0 {
		return -uint64(a)
	}
	return uint64(a)
}

func (a num) add(b num) num {
	if !a.ok || !b.ok {
		return unknown
	}
	c, ok := addInt(a.c, b.c)
	if !ok {
		return unknown
	}
	if len(a.terms)+len(b.terms) == 0 {
		return known(c)
	}
	return collect(c, append(slices.Clone(a.terms), b.terms...))
}

func (a num) neg() num { return a.mul(known(-1)) }

func (a num) sub(b num) num { return a.add(b.neg()) }

func (a num) mul(b num) num {
	if a.is(0) || b.is(0) {
		return known(0)
	}
	if !a.ok || !b.ok {
		return unknown
	}
	if a.is(1) {
		return b
	}
	if b.is(1) {
		return a
	}
	c, ok := mulInt(a.c, b.c)
	if !ok {
		return unknown
	}
	if len(a.terms)+len(b.terms) == 0 {
		return known(c)
	}
	var ts []term
	put := func(coef int64, x int64, mono string) {
		v, fits := mulInt(coef, x)
		ok = ok && fits
		ts = append(ts, term{v, mono})
	}
	for _, t := range a.terms {
		put(t.coef, b.c, t.mono)
		for _, u := range b.terms {
			put(t.coef, u.coef, joinMono(t.mono, u.mono))
		}
	}
	for _, u := range b.terms {
		put(u.coef, a.c, u.mono)
	}
	if !ok {
		return unknown
	}
	return collect(c, ts)
}

func joinMono(a, b string) string {
	p := append(strings.Split(a, monoSep), strings.Split(b, monoSep)...)
	slices.Sort(p)
	return strings.Join(p, monoSep)
}

func collect(c int64, ts []term) num {
	slices.SortFunc(ts, func(x, y term) int { return strings.Compare(x.mono, y.mono) })
	out := ts[:0]
	for _, t := range ts {
		if k := len(out) - 1; k >= 0 && out[k].mono == t.mono {
			s, ok := addInt(out[k].coef, t.coef)
			if !ok {
				return unknown
			}
			out[k].coef = s
			continue
		}
		out = append(out, t)
	}
	out = slices.DeleteFunc(out, func(t term) bool { return t.coef == 0 })
	if len(out) > maxTerms {
		return unknown
	}
	for _, t := range out {
		if strings.Count(t.mono, monoSep) >= maxDegree {
			return unknown
		}
	}
	if len(out) == 0 {
		out = nil
	}
	return num{ok: true, c: c, terms: out}
}

// divExact gives a/b when b divides every part of a.
func (a num) divExact(b num) (num, bool) {
	switch {
	case !a.ok || !b.ok || b.is(0):
		return unknown, false
	case a.same(b):
		return known(1), true
	case b.isConst():
		if a.c%b.c != 0 {
			return unknown, false
		}
		ts := slices.Clone(a.terms)
		for i := range ts {
			if ts[i].coef%b.c != 0 {
				return unknown, false
			}
			ts[i].coef /= b.c
		}
		return collect(a.c/b.c, ts), true
	case len(b.terms) == 1 && b.c == 0 && a.c == 0:
		d := b.terms[0]
		var ts []term
		c := int64(0)
		for _, t := range a.terms {
			m, ok := cutMono(t.mono, d.mono)
			if !ok || t.coef%d.coef != 0 {
				return unknown, false
			}
			if m == "" {
				c += t.coef / d.coef
			} else {
				ts = append(ts, term{t.coef / d.coef, m})
			}
		}
		return collect(c, ts), true
	}
	// a multiple of a whole sum, such as (4*b+4)/(b+1)
	if len(a.terms) == len(b.terms) && len(b.terms) > 0 && a.terms[0].coef%b.terms[0].coef == 0 {
		k := known(a.terms[0].coef / b.terms[0].coef)
		if b.mul(k).same(a) {
			return k, true
		}
	}
	return unknown, false
}

func cutMono(m, d string) (string, bool) {
	p := strings.Split(m, monoSep)
	for _, s := range strings.Split(d, monoSep) {
		i := slices.Index(p, s)
		if i < 0 {
			return "", false
		}
		p = slices.Delete(p, i, i+1)
	}
	return strings.Join(p, monoSep), true
}

// quo is integer division truncated towards zero, as ONNX Div.
func (a num) quo(b num) num {
	if a.isConst() && b.isConst() {
		if b.c == 0 || a.c == math.MinInt64 && b.c == -1 {
			return unknown
		}
		return known(a.c / b.c)
	}
	if q, ok := a.divExact(b); ok {
		return q
	}
	if q, _, ok := a.split(b); ok {
		return q
	}
	return unknown
}

// mod is the remainder of quo for operands that are not negative.
func (a num) mod(b num) num {
	if _, ok := a.divExact(b); ok {
		return known(0)
	}
	if _, r, ok := a.split(b); ok {
		return r
	}
	return unknown
}

// split writes a = q*b + r with a constant 0 <= r < b for a non-negative a
// whose symbolic part the positive constant b divides.
func (a num) split(b num) (q, r num, ok bool) {
	if lo, known := a.lower(); !known || lo < 0 || !b.isConst() || b.c <= 0 {
		return
	}
	c := ((a.c % b.c) + b.c) % b.c
	q, ok = a.sub(known(c)).divExact(b)
	return q, known(c), ok
}

// ceilDiv is ceil(a/b) for b > 0.
func (a num) ceilDiv(b num) num { return a.add(b).sub(known(1)).quo(b) }

// lower is the least value when every symbol is at least 1.
func (a num) lower() (int64, bool) {
	if !a.ok {
		return 0, false
	}
	s := a.c
	for _, t := range a.terms {
		if t.coef < 0 {
			return 0, false
		}
		var ok bool
		if s, ok = addInt(s, t.coef); !ok {
			return 0, false
		}
	}
	return s, true
}

// cmp compares where the order is certain: -1, 0 or 1 and true.
func (a num) cmp(b num) (int, bool) {
	if a.same(b) {
		return 0, true
	}
	if a.isConst() && b.isConst() {
		if a.c < b.c {
			return -1, true
		}
		return 1, true
	}
	if lo, ok := a.sub(b).lower(); ok && lo > 0 {
		return 1, true
	}
	if lo, ok := b.sub(a).lower(); ok && lo > 0 {
		return -1, true
	}
	return 0, false
}

func minNum(a, b num) num {
	if s, ok := a.cmp(b); ok {
		if s <= 0 {
			return a
		}
		return b
	}
	// certain even when equality is possible: a <= b
	if lo, ok := b.sub(a).lower(); ok && lo >= 0 {
		return a
	}
	if lo, ok := a.sub(b).lower(); ok && lo >= 0 {
		return b
	}
	return unknown
}

func maxNum(a, b num) num { return minNum(a.neg(), b.neg()).neg() }

// String writes the polynomial as a dimension name; a lone symbol is itself.
func (a num) String() string {
	if !a.ok {
		return "?"
	}
	if a.isConst() {
		return strconv.FormatInt(a.c, 10)
	}
	if len(a.terms) == 1 && a.c == 0 && a.terms[0].coef == 1 && !strings.Contains(a.terms[0].mono, monoSep) {
		return a.terms[0].mono
	}
	var b strings.Builder
	for i, t := range a.terms {
		switch {
		case t.coef < 0:
			b.WriteByte('-')
		case i > 0:
			b.WriteByte('+')
		}
		if m := magnitude(t.coef); m != 1 {
			b.WriteString(strconv.FormatUint(m, 10) + "*")
		}
		for j, s := range strings.Split(t.mono, monoSep) {
			if j > 0 {
				b.WriteByte('*')
			}
			if isIdent(s) {
				b.WriteString(s)
			} else {
				b.WriteString("(" + s + ")")
			}
		}
	}
	if a.c > 0 {
		b.WriteByte('+')
	}
	if a.c != 0 {
		b.WriteString(strconv.FormatInt(a.c, 10))
	}
	return b.String()
}

func (a num) dim() ir.Dim {
	switch {
	case !a.ok || a.isConst() && a.c < 0:
		return ir.UnknownDim
	case a.isConst():
		return ir.Dim{Size: a.c}
	}
	return ir.Sym(a.String())
}

func fromDim(d ir.Dim) num {
	switch {
	case d.Known():
		return known(d.Size)
	case d.Sym == "":
		return unknown
	}
	return parseNum(d.Sym)
}
