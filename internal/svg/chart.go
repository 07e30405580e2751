package svg

import (
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"strings"
)

// Chart is one pair of axes.
type Chart struct {
	Title, X, Y string
	Labels      []string // names of x = 0, 1, ...; nil: x is a number
	Points      bool     // one point for each label, one label under the other; Series 0 has the values
	Line        *float64 // a level to compare with, dashed
	Series      []Series
}

// Series is one line of a chart.
type Series struct {
	Name   string
	X, Y   []float64
	Err    []float64 // half length of the error bars; nil: none
	Steps  bool      // a histogram: Y[i] from X[i] to X[i+1]
	Dashed bool
}

const (
	width, height                    = 560, 340
	left, right, top, bottom         = 62, 16, 34, 48
	plotW, plotH             float64 = width - left - right, height - top - bottom
	rowHeight                        = 22
	rowLeft                          = 190
)

// palette keeps its colours apart for most kinds of colour blindness.
var palette = [...]string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555", "#7a4fa3"}

// Write draws the charts in a grid of the given number of columns.
func Write(w io.Writer, columns int, charts ...Chart) error {
	columns = max(1, min(columns, len(charts)))
	var b strings.Builder
	y, tall := 0.0, 0.0
	for i := range charts {
		c := canvas{&b}
		if i%columns == 0 {
			y, tall = y+tall, 0
		}
		x := float64(i % columns * width)
		c.f(`<g transform="translate(%s,%s)">`+"\n", num(x), num(y))
		h := charts[i].draw(c)
		c.f("</g>\n")
		tall = max(tall, h)
	}
	_, err := fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%s" font-family="sans-serif" font-size="12">`+"\n"+
		`<rect width="100%%" height="100%%" fill="white"/>`+"\n%s</svg>\n", columns*width, num(y+tall), b.String())
	return err
}

type canvas struct{ b *strings.Builder }

func (c canvas) f(format string, args ...any) { fmt.Fprintf(c.b, format, args...) }

func (c canvas) line(x1, y1, x2, y2 float64, style string) {
	c.f(`<line x1="%s" y1="%s" x2="%s" y2="%s" %s/>`+"\n", num(x1), num(y1), num(x2), num(y2), style)
}

func (c canvas) text(x, y float64, anchor, extra, s string) {
	var e strings.Builder
	_ = xml.EscapeText(&e, []byte(s))
	c.f(`<text x="%s" y="%s" text-anchor="%s"%s>%s</text>`+"\n", num(x), num(y), anchor, extra, e.String())
}

// num prints a coordinate with at most two decimals.
func num(v float64) string {
	s := strings.TrimRight(strings.TrimRight(fmt.Sprintf("%.2f", v), "0"), ".")
	if s == "-0" || s == "" {
		return "0"
	}
	return s
}

const thin = `stroke="#999" stroke-width="1"`

func (ch *Chart) draw(c canvas) (tall float64) {
	c.text(width/2, 20, "middle", ` font-size="14" font-weight="bold"`, ch.Title)
	if ch.Points {
		return ch.drawPoints(c)
	}
	x, y := ch.scales()
	c.f(`<rect x="%d" y="%d" width="%s" height="%s" fill="none" %s/>`+"\n", left, top, num(plotW), num(plotH), thin)
	for _, t := range y.ticks() {
		p := top + plotH*(1-y.at(t))
		c.line(left, p, left+plotW, p, `stroke="#eee"`)
		c.text(left-6, p+4, "end", "", y.label(t))
	}
	if ch.Labels != nil {
		for i, s := range ch.Labels {
			c.text(left+plotW*x.at(float64(i)), top+plotH+16, "middle", "", s)
		}
	} else {
		for _, t := range x.ticks() {
			p := left + plotW*x.at(t)
			c.line(p, top+plotH, p, top+plotH+4, thin)
			c.text(p, top+plotH+16, "middle", "", x.label(t))
		}
	}
	c.text(left+plotW/2, height-10, "middle", "", ch.X)
	c.text(14, top+plotH/2, "middle", fmt.Sprintf(` transform="rotate(-90 14 %s)"`, num(top+plotH/2)), ch.Y)
	if ch.Line != nil {
		p := top + plotH*(1-y.at(*ch.Line))
		c.line(left, p, left+plotW, p, `stroke="#333" stroke-dasharray="2 3"`)
	}
	for i := range ch.Series {
		ch.Series[i].draw(c, x, y, palette[i%len(palette)])
	}
	ch.legend(c)
	return height
}

func (s *Series) draw(c canvas, x, y scale, colour string) {
	var path strings.Builder
	put := func(i int, at float64) {
		op := "L"
		if path.Len() == 0 {
			op = "M"
		}
		fmt.Fprintf(&path, "%s%s %s", op, num(left+plotW*x.at(at)), num(top+plotH*(1-y.at(s.Y[i]))))
	}
	for i := range s.Y {
		if math.IsNaN(s.Y[i]) || math.IsInf(s.Y[i], 0) {
			continue
		}
		put(i, s.X[i])
		if s.Steps && i+1 < len(s.X) {
			put(i, s.X[i+1])
		}
		if s.Steps || len(s.Y) > 40 {
			continue
		}
		px, py := left+plotW*x.at(s.X[i]), top+plotH*(1-y.at(s.Y[i]))
		c.f(`<circle cx="%s" cy="%s" r="3" fill="%s"/>`+"\n", num(px), num(py), colour)
		if i < len(s.Err) && s.Err[i] > 0 {
			c.line(px, top+plotH*(1-y.at(s.Y[i]-s.Err[i])), px, top+plotH*(1-y.at(s.Y[i]+s.Err[i])), `stroke="`+colour+`"`)
		}
	}
	dash := ""
	if s.Dashed {
		dash = ` stroke-dasharray="5 4"`
	}
	c.f(`<path d="%s" fill="none" stroke="%s" stroke-width="1.8"%s/>`+"\n", path.String(), colour, dash)
}

func (ch *Chart) legend(c canvas) {
	if len(ch.Series) < 2 {
		return
	}
	longest := 0
	for _, s := range ch.Series {
		longest = max(longest, len(s.Name))
	}
	c.f(`<rect x="%d" y="%d" width="%d" height="%d" fill="white" fill-opacity="0.75"/>`+"\n", left+4, top+2, 38+7*longest, 15*len(ch.Series)+4)
	for i, s := range ch.Series {
		y := float64(top + 14 + 15*i)
		dash := ""
		if s.Dashed {
			dash = ` stroke-dasharray="5 4"`
		}
		c.line(left+8, y-4, left+30, y-4, `stroke="`+palette[i%len(palette)]+`" stroke-width="2"`+dash)
		c.text(left+35, y, "start", "", s.Name)
	}
}

// drawPoints draws one point under the other, so that names of any length fit.
// Points, not bars: the axis does not start at 0.
func (ch *Chart) drawPoints(c canvas) (tall float64) {
	s := ch.Series[0]
	lo, hi := extent(s.Y, s.Err)
	if ch.Line != nil {
		lo, hi = min(lo, *ch.Line), max(hi, *ch.Line)
	}
	v := newScale(lo-0.15*(hi-lo), hi)
	const w = width - rowLeft - 60
	for i, name := range ch.Labels {
		y := float64(top + 4 + i*rowHeight)
		c.text(rowLeft-6, y+14, "end", "", name)
		if i >= len(s.Y) || math.IsNaN(s.Y[i]) {
			continue
		}
		end := rowLeft + w*v.at(s.Y[i])
		c.line(rowLeft, y+10, end, y+10, `stroke="#ddd"`)
		c.f(`<circle cx="%s" cy="%s" r="5" fill="%s"/>`+"\n", num(end), num(y+10), palette[0])
		if i < len(s.Err) && s.Err[i] > 0 {
			c.line(rowLeft+w*v.at(s.Y[i]-s.Err[i]), y+10, rowLeft+w*v.at(s.Y[i]+s.Err[i]), y+10, `stroke="#333"`)
		}
		c.text(end+9, y+14, "start", "", fmt.Sprintf("%.2f", s.Y[i]))
	}
	base := float64(top + 8 + len(ch.Labels)*rowHeight)
	c.line(rowLeft, base, rowLeft+w, base, thin)
	for _, t := range v.ticks() {
		c.text(rowLeft+w*v.at(t), base+15, "middle", "", v.label(t))
	}
	if ch.Line != nil {
		p := rowLeft + w*v.at(*ch.Line)
		c.line(p, top, p, base, `stroke="#333" stroke-dasharray="2 3"`)
	}
	c.text(rowLeft+w/2, base+32, "middle", "", ch.Y)
	return base + 44
}
