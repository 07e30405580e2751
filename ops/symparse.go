package ops

import (
	"strconv"
	"strings"
)

// parseNum reads a dimension name. Names that are sums of products of
// identifiers and integers, as num.String and the newer exporters write them
// ("4*batch+1"), become polynomials; any other name is one opaque symbol.
func parseNum(s string) num {
	if isIdent(s) {
		return symbol(s)
	}
	if len(s) <= 200 && !strings.Contains(s, monoSep) {
		p := numParser{s: s}
		if v := p.sum(); v.ok && !v.isConst() && p.at == len(s) {
			return v
		}
	}
	return symbol(strings.ReplaceAll(s, monoSep, "\\0"))
}

func isIdent(s string) bool {
	for i := range len(s) {
		if !identByte(s[i], i == 0) {
			return false
		}
	}
	return s != ""
}

func identByte(b byte, first bool) bool {
	return b == '_' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= 0x80 ||
		!first && (b >= '0' && b <= '9' || b == '.' || b == ':')
}

// numParser is a recursive-descent parser; depth is bounded by the length of
// the text (at most 200).
type numParser struct {
	s  string
	at int
}

func (p *numParser) peek() byte {
	for p.at < len(p.s) && p.s[p.at] == ' ' {
		p.at++
	}
	if p.at < len(p.s) {
		return p.s[p.at]
	}
	return 0
}

func (p *numParser) sum() num {
	neg := p.peek() == '-'
	if neg {
		p.at++
	}
	v := p.product()
	if neg {
		v = v.neg()
	}
	for {
		switch p.peek() {
		case '+':
			p.at++
			v = v.add(p.product())
		case '-':
			p.at++
			v = v.sub(p.product())
		default:
			return v
		}
	}
}

func (p *numParser) product() num {
	v := p.atom()
	for p.peek() == '*' {
		p.at++
		v = v.mul(p.atom())
	}
	return v
}

func (p *numParser) atom() num {
	b := p.peek()
	start := p.at
	switch {
	case b == '(':
		depth := 0
		for ; p.at < len(p.s); p.at++ {
			switch p.s[p.at] {
			case '(':
				depth++
			case ')':
				depth--
			}
			if depth == 0 {
				p.at++
				return parseNum(p.s[start+1 : p.at-1])
			}
		}
		return unknown
	case b >= '0' && b <= '9':
		for p.at < len(p.s) && p.s[p.at] >= '0' && p.s[p.at] <= '9' {
			p.at++
		}
		c, err := strconv.ParseInt(p.s[start:p.at], 10, 64)
		if err != nil {
			return unknown
		}
		return known(c)
	case identByte(b, true) && b != 0:
		for p.at < len(p.s) && identByte(p.s[p.at], false) {
			p.at++
		}
		return symbol(p.s[start:p.at])
	}
	return unknown
}
