"""Times a float model, its packed form and, with a library, the packed form on
native operators, in ONNX Runtime, taking turns.

usage: speed.py FLOAT.onnx PACKED.onnx [LIBRARY] [ROUNDS]

One image, one thread. Prints wall time (best and median, with the ratio to the
float model) and the sum over the kernels of the best time of each, which a busy
machine disturbs least.
"""
import collections
import json
import os
import sys
import time

import numpy as np
import onnxruntime as ort


def session(path, library, profile=False):
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.enable_profiling = profile
    options.profile_file_prefix = os.path.join(os.environ.get("TMPDIR", "/tmp"), "qvitc-speed")
    if library:
        options.register_custom_ops_library(library)
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def kernels(path):
    """The sum over all kernels of the best time of each, in ms."""
    best = collections.defaultdict(lambda: float("inf"))
    with open(path) as f:
        for e in json.load(f):
            if e.get("cat") == "Node" and e["name"].endswith("kernel_time"):
                best[e["name"]] = min(best[e["name"]], e["dur"])
    os.remove(path)
    return sum(best.values()) / 1e3


def main(args):
    rounds = int(args.pop()) if args[-1].isdigit() else 30
    models = {"float": (args[0], None), "function bodies": (args[1], None)}
    if len(args) > 2:
        models["native operators"] = (args[1], args[2])
    sessions = {k: session(*v) for k, v in models.items()}
    times = {k: [] for k in sessions}
    spec = next(iter(sessions.values())).get_inputs()[0]
    image = np.random.default_rng(0).standard_normal([1, *spec.shape[1:]]).astype(np.float32)
    for _ in range(rounds + 1):
        for k, s in sessions.items():
            start = time.perf_counter()
            s.run(None, {s.get_inputs()[0].name: image})
            times[k].append(1e3 * (time.perf_counter() - start))
    print(f"onnxruntime {ort.__version__}, one thread, {rounds} rounds")
    first = None
    for k in sessions:
        profiled = session(*models[k], profile=True)  # apart: noting the time of each kernel takes time
        for _ in range(rounds):
            profiled.run(None, {profiled.get_inputs()[0].name: image})
        t = np.array(times[k][1:])
        now = t.min(), np.median(t), kernels(profiled.end_profiling())
        first = first or now
        print(f"{k:17}  best {now[0]:6.1f} ms ({first[0] / now[0]:.2f}x)  median {now[1]:6.1f} ms ({first[1] / now[1]:.2f}x)  kernels {now[2]:6.1f} ms ({first[2] / now[2]:.2f}x)")


if __name__ == "__main__":
    main(sys.argv[1:])
