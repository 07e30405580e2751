// Package bench measures: percentiles of interleaved runs, resident memory, the
// machine, and other programs beside our own as child processes.
//
//	ours := bench.Func("qvitc", func() error { return state.Forward() })
//	peer, err := bench.StartORT(ctx, bench.ORTOptions{Model: "deit.onnx", Threads: 1})
//	times, err := bench.Interleave(ctx, 10, 10, ours, peer)
//	fmt.Println(bench.Summarise(times[0]).P50, bench.Summarise(times[1]).P50)
//
// prints two durations that were taken in turns of ten runs, so that a busy
// neighbour or a changing clock of the processor meets both alike: on a shared
// machine only ratios of numbers from one such call say anything.
//
// The folder also holds the programs of the peers, which nothing else needs:
//
//	ort.py          ONNX Runtime as a child of qvitc bench --vs ort, or alone
//	ort.cjs         the same in Node
//	torch_qat.py    training steps in PyTorch, float and quantised
//	blas.py         matrix products of numpy's OpenBLAS
//	run.sh          the measurements of docs/performance.md
package bench
