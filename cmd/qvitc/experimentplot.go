package main

import (
	"fmt"
	"io"
	"math"

	"github.com/qvitc/qvitc/internal/atomicfile"
	"github.com/qvitc/qvitc/internal/svg"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// plot writes the SVG files that the cells have numbers for, and names them.
func (e *experiment) plot(base string, cells []cell) (files []string, err error) {
	write := func(suffix string, columns int, charts []svg.Chart) {
		if err != nil || len(charts) == 0 {
			return
		}
		name := base + suffix
		err = atomicfile.WriteFile(name, func(w io.Writer) error { return svg.Write(w, columns, charts...) })
		files = append(files, name)
	}
	write(".svg", 1, []svg.Chart{e.accuracyChart(cells)})
	write(".curve.svg", 2, e.curveCharts(cells))
	for _, c := range cells {
		if c.Inside == nil || len(c.Inside.Blocks) == 0 {
			continue
		}
		write(".entropy.svg", 2, c.Inside.entropyCharts()) // the float model is the same in every cell
		write(".values.svg", 2, c.Inside.valueCharts())
		write(".distance.svg", 2, e.distanceCharts(cells))
		break
	}
	return files, err
}

// accuracyChart shows top-1 by width, a line for each variant; with one width,
// a point for each variant. The float model is the dashed line.
func (e *experiment) accuracyChart(cells []cell) svg.Chart {
	float := 100 * cells[0].Result.Top1Teacher
	mean := func(variant, bits string) (m, s float64, any bool) {
		x := accuracies(cells, variant, bits)
		m, s = stat.MeanStdDev(x, nil)
		if len(x) < 2 {
			s = 0
		}
		return m, s, len(x) > 0
	}
	c := svg.Chart{Title: e.Title, Y: "top-1, %", Labels: e.Bits, Line: &float}
	if len(e.Bits) == 1 {
		c.Points, c.Labels = true, nil
		var s svg.Series
		for _, v := range e.Variants {
			if m, d, ok := mean(v.Name, e.Bits[0]); ok {
				c.Labels, s.Y, s.Err = append(c.Labels, v.Name), append(s.Y, m), append(s.Err, d)
			}
		}
		c.Series = []svg.Series{s}
		return c
	}
	for i, v := range e.Variants {
		s := svg.Series{Name: v.Name}
		shift := 0.05 * (float64(i) - float64(len(e.Variants)-1)/2) // so that error bars do not cover each other
		for k, bits := range e.Bits {
			if m, d, ok := mean(v.Name, bits); ok {
				s.X, s.Y, s.Err = append(s.X, float64(k)+shift), append(s.Y, m), append(s.Err, d)
			}
		}
		if len(s.X) > 0 {
			c.Series = append(c.Series, s)
		}
	}
	return c
}

// curveCharts shows the losses of the first seed, one row for each width: all
// of the loss, and DGD where a variant has it.
func (e *experiment) curveCharts(cells []cell) []svg.Chart {
	var charts []svg.Chart
	for _, bits := range e.Bits {
		total := svg.Chart{Title: bits + ": loss, running mean", X: "step"}
		dgd := svg.Chart{Title: bits + ": DGD loss, running mean", X: "step"}
		for _, c := range cells {
			if c.Bits != bits || c.Seed != e.Seeds[0] || len(c.Curve) == 0 {
				continue
			}
			t, d := svg.Series{Name: c.Variant}, svg.Series{Name: c.Variant}
			any := false
			for _, p := range c.Curve {
				t.X, t.Y = append(t.X, float64(p.Step)), append(t.Y, p.Total)
				d.X, d.Y = append(d.X, float64(p.Step)), append(d.Y, p.DGD)
				any = any || p.DGD != 0
			}
			total.Series = append(total.Series, t)
			if any {
				dgd.Series = append(dgd.Series, d)
			}
		}
		for _, c := range []svg.Chart{total, dgd} {
			if len(c.Series) > 0 {
				charts = append(charts, c)
			}
		}
	}
	return charts
}

// entropyCharts shows the entropy of the codes of q and k by block, before and
// after IRM, and what a Gaussian of the same moments would give.
func (in *inside) entropyCharts() []svg.Chart {
	var charts []svg.Chart
	var labels []string
	for _, b := range in.Blocks {
		labels = append(labels, fmt.Sprint(b.Block))
	}
	for t, name := range []string{"q", "k"} {
		c := svg.Chart{Title: fmt.Sprintf("entropy of %d-bit codes of %s", in.Bits, name), X: "block", Y: "bits", Labels: labels}
		for irm, label := range []string{name, name + " after IRM"} {
			s, g := svg.Series{Name: label}, svg.Series{Name: label + ", Gaussian", Dashed: true}
			for _, b := range in.Blocks {
				s.X, s.Y = append(s.X, float64(len(s.X))), append(s.Y, b.Entropy[2*t+irm])
				g.X, g.Y = append(g.X, float64(len(g.X))), append(g.Y, b.Gaussian[2*t+irm])
			}
			c.Series = append(c.Series, s, g)
		}
		charts = append(charts, c)
	}
	return charts
}

// valueCharts shows the values of q and k of head 0 in the first, the middle and
// the last block against the Gaussian of their moments.
func (in *inside) valueCharts() []svg.Chart {
	var charts []svg.Chart
	seen := map[int]bool{}
	for _, i := range []int{0, len(in.Blocks) / 2, len(in.Blocks) - 1} {
		if seen[i] {
			continue
		}
		seen[i] = true
		for _, v := range in.Blocks[i].Values {
			values, normal := svg.Series{Name: "values", Steps: true}, svg.Series{Name: "Gaussian"}
			d, n := v.Density, distuv.Normal{Mu: v.Mean, Sigma: v.Std}
			for k, share := range d.Share {
				lo := d.Lo + float64(k)*d.Width
				values.X, values.Y = append(values.X, lo), append(values.Y, share/d.Width)
				normal.X, normal.Y = append(normal.X, lo+d.Width/2), append(normal.Y, n.Prob(lo+d.Width/2))
			}
			values.X = append(values.X, d.Lo+float64(len(d.Share))*d.Width)
			charts = append(charts, svg.Chart{Title: fmt.Sprintf("block %d, %s of head 0; grid step %.3g", in.Blocks[i].Block, v.Tensor, v.Alpha),
				X: "value", Y: "density", Series: []svg.Series{values, normal}})
		}
	}
	return charts
}

// distanceCharts shows how far attention looks, block by block: the mean over
// the heads of the float model and of each variant of the first seed, one chart
// for each width, and the heads of the float model beside them.
func (e *experiment) distanceCharts(cells []cell) []svg.Chart {
	var charts []svg.Chart
	var float *inside
	for _, bits := range e.Bits {
		c := svg.Chart{Title: bits + ": mean attention distance", X: "block", Y: "patches"}
		for _, x := range cells {
			if x.Bits != bits || x.Seed != e.Seeds[0] || x.Inside == nil {
				continue
			}
			if len(c.Series) == 0 {
				float = x.Inside
				s := svg.Series{Name: "float", Dashed: true}
				for i, b := range float.Blocks {
					c.Labels = append(c.Labels, fmt.Sprint(b.Block))
					s.X, s.Y = append(s.X, float64(i)), append(s.Y, meanOf(b.Distance))
				}
				c.Series = append(c.Series, s)
			}
			s := svg.Series{Name: x.Variant}
			for i, b := range x.Inside.Student {
				s.X, s.Y = append(s.X, float64(i)), append(s.Y, meanOf(b.Distance))
			}
			c.Series = append(c.Series, s)
		}
		if len(c.Series) > 0 && len(c.Series[0].Y) > 0 && !math.IsNaN(c.Series[0].Y[0]) {
			charts = append(charts, c)
		}
	}
	if len(charts) == 0 {
		return nil
	}
	heads := svg.Chart{Title: "float: attention distance of each head", X: "block", Y: "patches", Labels: charts[0].Labels}
	for h := range float.Blocks[0].Distance {
		s := svg.Series{Name: fmt.Sprint("head ", h)}
		for i, b := range float.Blocks {
			if h < len(b.Distance) {
				s.X, s.Y = append(s.X, float64(i)), append(s.Y, b.Distance[h])
			}
		}
		heads.Series = append(heads.Series, s)
	}
	return append(charts, heads)
}

func meanOf(x []float64) float64 { return stat.Mean(x, nil) }
