package ir

import (
	"fmt"
	"strconv"
	"strings"
)

type parseError struct {
	line int
	msg  string
}

type parser struct {
	src    string
	pos    int
	line   int
	tok    string // current token; "" at the end
	quoted bool   // tok was a quoted string
	o      ParseOptions
	g      *Graph
	depth  int // graphs within graphs, the innermost counted
}

func (p *parser) fail(format string, args ...any) {
	panic(parseError{p.line, fmt.Sprintf(format, args...)})
}

func (p *parser) next() {
	p.quoted = false
	for p.pos < len(p.src) {
		c := p.src[p.pos]
		switch {
		case c == '\n':
			p.line++
			p.pos++
		case c == ' ' || c == '\t' || c == '\r':
			p.pos++
		case strings.HasPrefix(p.src[p.pos:], "//"):
			end := strings.IndexByte(p.src[p.pos:], '\n')
			if end < 0 {
				end = len(p.src) - p.pos
			}
			p.pos += end
		case c == '"':
			s, err := strconv.QuotedPrefix(p.src[p.pos:])
			if err != nil {
				p.fail("a string does not end")
			}
			p.tok, _ = strconv.Unquote(s)
			p.quoted = true
			p.pos += len(s)
			return
		case isIdent(rune(c)):
			end := p.pos
			for end < len(p.src) && (isIdent(rune(p.src[end])) || p.src[end] == '+' && (p.src[end-1] == 'e' || p.src[end-1] == 'E')) {
				if strings.HasPrefix(p.src[end:], "//") {
					break
				}
				end++
			}
			p.tok = p.src[p.pos:end]
			p.pos = end
			return
		case strings.HasPrefix(p.src[p.pos:], "::"):
			p.tok = "::"
			p.pos += 2
			return
		default:
			p.tok = p.src[p.pos : p.pos+1]
			p.pos++
			return
		}
	}
	p.tok = ""
}

func (p *parser) is(s string) bool { return p.tok == s && !p.quoted }

func (p *parser) accept(s string) bool {
	if p.is(s) {
		p.next()
		return true
	}
	return false
}

func (p *parser) expect(s string) {
	if !p.accept(s) {
		p.fail("want %s, have %s", Quote(s), Quote(p.tok))
	}
}

func (p *parser) word() string {
	if p.tok == "" && !p.quoted {
		p.fail("unexpected end of text")
	}
	if !p.quoted && !isIdent(rune(p.tok[0])) {
		p.fail("want a name, have %s", Quote(p.tok))
	}
	s := p.tok
	p.next()
	return s
}
