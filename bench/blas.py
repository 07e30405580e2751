#!/usr/bin/env python3
"""Times float32 matrix products of numpy's OpenBLAS on one or more threads.

  blas.py serve M K N LAYOUT THREADS [CORETYPE]
      child of bench/gemm: one JSON line about itself, then for every line N one list of N durations in nanoseconds
LAYOUT is forward (A·B), dgrad (A·Bᵀ) or wgrad (Aᵀ·B); the product always has M·K·N multiply-accumulates.
CORETYPE is what OPENBLAS_CORETYPE is set to: OpenBLAS does not know every processor and then takes slow kernels.
"""
import ctypes
import json
import os
import sys
import time


def config():
    """The text in which OpenBLAS names its version and the kernels it took."""
    with open("/proc/self/maps") as f:
        libraries = sorted({line.split()[-1] for line in f if "openblas" in line})
    for path in libraries:
        library = ctypes.CDLL(path)
        for name in ("scipy_openblas_get_config64_", "scipy_openblas_get_config", "openblas_get_config64_", "openblas_get_config"):
            if hasattr(library, name):
                get = getattr(library, name)
                get.restype = ctypes.c_char_p
                return " ".join(w for w in get().decode().split() if w not in ("USE64BITINT", "DYNAMIC_ARCH", "NO_AFFINITY"))
    return "unknown BLAS"


def main(args):
    if len(args) < 6 or args[0] != "serve":
        print(__doc__)
        return 2
    m, k, n = (int(v) for v in args[1:4])
    layout, threads = args[4], args[5]
    os.environ["OPENBLAS_NUM_THREADS"] = threads
    # Threads without work look for some for 2^22 ticks, a millisecond or two, instead of into the other's turn.
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "22")
    if len(args) > 6 and args[6]:
        os.environ["OPENBLAS_CORETYPE"] = args[6]
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        import numpy as np

        random = np.random.default_rng(0)
        draw = lambda *shape: random.standard_normal(shape, dtype=np.float32)
        a, b = (draw(k, m).T if layout == "wgrad" else draw(m, k)), (draw(n, k).T if layout == "dgrad" else draw(k, n))
        c = np.empty((m, n), np.float32)

        def once():
            start = time.perf_counter_ns()
            np.matmul(a, b, out=c)
            return time.perf_counter_ns() - start

        once()
        print(json.dumps({"name": f"numpy {np.__version__}, {config()}, {threads} threads"}), file=out, flush=True)
    except Exception as e:
        print(json.dumps({"error": " ".join(f"{type(e).__name__}: {e}".split())[:500]}), file=out, flush=True)
        return 1
    for line in sys.stdin:
        print(json.dumps([once() for _ in range(int(line))]), file=out, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
