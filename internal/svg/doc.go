// Package svg draws small charts as SVG text: lines with error bars, steps for
// histograms, and points beside their names. It needs nothing, and the same chart
// is the same bytes.
//
//	c := svg.Chart{Title: "top-1", Y: "%", Labels: []string{"w4", "w3", "w2"}, Series: []svg.Series{
//		{Name: "baseline", X: []float64{0, 1, 2}, Y: []float64{90.1, 89.9, 87.4}},
//	}}
//	err := svg.Write(w, 1, c)
//
// Charts given together stand in a grid of so many columns.
package svg
