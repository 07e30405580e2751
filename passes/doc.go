// Package passes rewrites graphs: it brings what exporters write into one form,
// names the parts of the transformer, inserts quantisers, and lowers the result
// to operators that a file can hold.
//
// A pass is a value with a name and a function; a pipeline is a slice of them;
// the Driver runs it and does all that passes do not: checks, times, dumps,
// recovers, and writes a reproducer when one panics or breaks the graph.
//
//	d := passes.Driver{Check: true}
//	_, err := d.Run(g, passes.Clean)                  // one form, roles named
//	student, _ := g.Clone()
//	plan := passes.DefaultPlan(4, 4)
//	_, err = d.Run(student, passes.Quantize(plan))    // FakeQuant, IRM
//	// ... calibrate, train ...
//	_, err = d.Run(student, passes.Lower)             // packed operators
//
// What three lines of an exporter become:
//
//	%m = MatMul(%x, %w)            %y = ai.qvitc::QLinearW4A4(%x, %packed, %ws, %xs, %xz, %b) @fc1(0)
//	%a = Add(%b, %m)         ->    %g = Div, Erf, Add, Mul, Mul
//	%d = Div(%a, %sqrt2) ...
//
// Recognition goes by structure: names of nodes and tensors serve people and
// the globs of a Plan, never a decision.
package passes
