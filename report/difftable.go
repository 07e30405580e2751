package report

import (
	"fmt"
	"io"
	"strings"
)

// WriteTable prints the comparison: one line a layer, the worst first, and what
// it comes to in the answers.
func (c *Comparison) WriteTable(w io.Writer) error {
	p := &printer{w: w}
	p.f("%-28s %-9s %-12s %8s %8s %10s %8s %8s %8s %10s\n", "layer", "kind", "bits", "SQNR dB", "cosine", "max error", "weight", "w codes", "in codes", "bytes")
	bytesA, bytesB := 0, 0
	for _, l := range c.Layers {
		bits := l.BitsA
		if l.BitsB != bits {
			bits += ">" + l.BitsB
		}
		size := ""
		if l.BytesA > 0 || l.BytesB > 0 {
			size = fmt.Sprint(l.BytesB)
			bytesA += l.BytesA
			bytesB += l.BytesB
		}
		weight := ""
		if l.Kind == KindLinear {
			weight = dB(l.WeightSQNR)
		}
		line := fmt.Sprintf("%-28s %-9s %-12s %8s %8.5f %10.3g %8s %8s %8s %10s", l.Name, l.Kind, bits, dB(l.SQNR), l.Cosine, l.MaxErr,
			weight, share(l.WeightCodes), share(l.InputCodes), size)
		p.f("%s\n", strings.TrimRight(line, " "))
	}
	for _, only := range []struct {
		where string
		names []string
	}{{"A", c.OnlyA}, {"B", c.OnlyB}} {
		if len(only.names) > 0 {
			p.f("only in %s: %s\n", only.where, strings.Join(only.names, ", "))
		}
	}
	p.f("weights    %d -> %d bytes\n", bytesA, bytesB)
	p.f("logits     largest difference %.3g, median of the images %.3g\n", c.MaxLogit, c.Median)
	if c.Top1A != nil {
		p.f("top-1      %.2f %% -> %.2f %% (%+.2f)\n", 100**c.Top1A, 100**c.Top1B, 100*(*c.Top1B-*c.Top1A))
	}
	p.f("agreement  %.2f %% of %d images get the same class\n", 100*c.Agreement, c.Images)
	return p.err
}

func dB(v *float64) string {
	if v == nil {
		return "equal"
	}
	return fmt.Sprintf("%.1f", *v)
}

func share(v *float64) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf("%.2f %%", 100**v)
}

// printer remembers its first error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) f(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}
