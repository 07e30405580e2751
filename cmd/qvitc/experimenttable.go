package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"gonum.org/v1/gonum/stat"
)

// table is the Markdown table of mean and sample deviation over the finished
// seeds, best mean of each width in bold.
func (e *experiment) table(file string, cells []cell) string {
	var b strings.Builder
	first := cells[0].Result
	fmt.Fprintf(&b, "## %s\n\n", e.Title)
	fmt.Fprintf(&b, "`qvitc experiment %s`: %s, float top-1 %.2f %% on %d images, seeds %v", file, e.Model, 100*first.Top1Teacher, first.Images, e.Seeds)
	for _, k := range slices.Sorted(maps.Keys(e.Flags)) {
		fmt.Fprintf(&b, ", %s %s", k, e.Flags[k])
	}
	b.WriteString(".\nTop-1 in %, mean ± sample deviation over the seeds")
	if len(cells) < len(e.Variants)*len(e.Bits)*len(e.Seeds) {
		b.WriteString("; in brackets how many of them, where some are not finished")
	}
	b.WriteString(".\n\n| variant |")
	for _, w := range e.Bits {
		fmt.Fprintf(&b, " %s |", w)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(e.Bits)) + "\n")
	means := map[string]float64{}
	text := map[string]string{}
	for _, w := range e.Bits {
		for _, v := range e.Variants {
			x := accuracies(cells, v.Name, w)
			key := v.Name + " " + w
			if len(x) == 0 {
				text[key], means[key] = "–", -1
				continue
			}
			m, s := stat.MeanStdDev(x, nil)
			text[key] = fmt.Sprintf("%.2f", m)
			if len(x) > 1 {
				text[key] += fmt.Sprintf(" ± %.2f", s)
			}
			if len(x) < len(e.Seeds) {
				text[key] += fmt.Sprintf(" (%d)", len(x))
			}
			means[key], means[w] = m, max(means[w], m)
		}
	}
	for _, v := range e.Variants {
		fmt.Fprintf(&b, "| %s |", v.Name)
		for _, w := range e.Bits {
			key := v.Name + " " + w
			cell := text[key]
			if means[key] == means[w] {
				cell = "**" + cell + "**"
			}
			fmt.Fprintf(&b, " %s |", cell)
		}
		b.WriteString("\n")
	}
	var seconds, speed float64
	resumed := 0
	for _, c := range cells {
		if c.Result.Resumed > 0 {
			resumed++
		}
		seconds += c.Result.Seconds
		speed += c.Result.ImagesPerS / float64(len(cells))
	}
	fmt.Fprintf(&b, "\n%d runs in %.0f minutes", len(cells), seconds/60)
	if resumed > 0 {
		fmt.Fprintf(&b, " (%d of them were interrupted and count from their last checkpoint)", resumed)
	}
	if speed > 0 {
		fmt.Fprintf(&b, ", %.0f training images/s on average", speed)
	}
	b.WriteString(".\n")
	return b.String()
}

// accuracies are the top-1 of a variant at a width in %, one for each finished seed.
func accuracies(cells []cell, variant, bits string) (x []float64) {
	for _, c := range cells {
		if c.Variant == variant && c.Bits == bits {
			x = append(x, 100*c.Result.Top1Student)
		}
	}
	return x
}
