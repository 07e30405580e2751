#!/usr/bin/env python3
"""Times an ONNX model in ONNX Runtime.

  ort.py serve MODEL FORM BATCH THREADS   child of `qvitc bench --vs ort`: prints one JSON line about itself, then
                                          for every line N on stdin one JSON list of N durations in nanoseconds
  ort.py MODEL [FORM [BATCH [THREADS [RUNS]]]]
                                          alone: prints best, median, 95th percentile and memory

FORM is as-is, or int8: weights to signed 8 bits per channel, activations dynamically (needs the package onnx).
"""
import json
import os
import sys
import tempfile
import time


def resident():
    """Resident memory of this process in bytes; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def int8(model, folder):
    """Writes the dynamically quantised form of a float model and gives its path."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    out = os.path.join(folder, "int8.onnx")
    quantize_dynamic(model, out, op_types_to_quantize=["MatMul"], per_channel=True, weight_type=QuantType.QInt8)
    return out


class Peer:
    def __init__(self, model, form, batch, threads):
        import numpy as np
        import onnxruntime as ort

        ort.set_default_logger_severity(3)
        with tempfile.TemporaryDirectory() as folder:
            path = int8(model, folder) if form == "int8" else model
            o = ort.SessionOptions()
            o.intra_op_num_threads = threads
            o.inter_op_num_threads = 1
            o.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
            o.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
            bare = resident()
            start = time.perf_counter_ns()
            self.session = ort.InferenceSession(path, o, providers=["CPUExecutionProvider"])
            self.load = (time.perf_counter_ns() - start) / 1e6
        random = np.random.default_rng(0)
        self.feed = {}
        for v in self.session.get_inputs():
            shape = [d if isinstance(d, int) else (batch if i == 0 else 1) for i, d in enumerate(v.shape)]
            self.feed[v.name] = random.standard_normal(shape).astype(np.float32)
        self.first = self.time() / 1e6
        self.over_bare = (resident() - bare) / 1e6
        self.name = f"onnxruntime {ort.__version__} {form if form == 'int8' else ''}".strip()

    def time(self):
        start = time.perf_counter_ns()
        self.session.run(None, self.feed)
        return time.perf_counter_ns() - start


def serve(args):
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not get between the lines
    try:
        peer = Peer(args[0], args[1], int(args[2]), int(args[3]))
    except Exception as e:  # one line for the parent to show
        print(json.dumps({"error": " ".join(f"{type(e).__name__}: {e}".split())[:500]}), file=out, flush=True)
        return 1
    print(json.dumps({"name": peer.name, "load_ms": peer.load, "first_ms": peer.first, "overbare_mb": peer.over_bare}), file=out, flush=True)
    for line in sys.stdin:
        print(json.dumps([peer.time() for _ in range(int(line))]), file=out, flush=True)
    return 0


def main(args):
    if not args or args[0] in ("-h", "--help"):
        print(__doc__)
        return 2
    form, batch, threads, runs = (args[1:] + ["as-is", "1", "1", "50"][len(args) - 1 :])[:4]
    peer = Peer(args[0], form, int(batch), int(threads))
    times = sorted(peer.time() / 1e6 for _ in range(int(runs)))
    at = lambda p: times[max(0, -(-int(p * len(times)) // 100) - 1)]
    print(f"{peer.name}  {args[0]}  batch {batch}, {threads} threads: best {times[0]:.2f}, median {at(50):.2f}, p95 {at(95):.2f} ms; "
          f"load {peer.load:.0f} + first {peer.first:.0f} ms; +{peer.over_bare:.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(serve(sys.argv[2:]) if sys.argv[1:2] == ["serve"] else main(sys.argv[1:]))
