"""Runs ONNX backend-test folders in ONNX Runtime and compares every output.

usage: conformance.py [--library FILE] DIR...

--library registers custom operators (make ortops) first.

Each folder below DIR holds model.onnx and test_data_set_*/input_N.pb and
output_N.pb. An output passes when it differs by at most 1e-6 of the largest
value it holds. Needs onnxruntime and numpy only.
"""
import pathlib
import sys

import numpy as np
import onnxruntime as ort

FLOAT, UINT8, INT8, INT64 = 1, 2, 3, 7
DTYPES = {FLOAT: np.float32, UINT8: np.uint8, INT8: np.int8, INT64: np.int64}


def varint(b, i):
    """Reads a protobuf varint at i."""
    v = shift = 0
    while True:
        v |= (b[i] & 127) << shift
        shift += 7
        i += 1
        if b[i - 1] < 128:
            return v, i


def tensor(path):
    """Reads a TensorProto that stores raw_data: dims 1, data_type 2, raw_data 9."""
    b = path.read_bytes()
    dims, kind, raw, i = [], FLOAT, b"", 0
    while i < len(b):
        tag, i = varint(b, i)
        if tag & 7 == 0:
            v, i = varint(b, i)
            if tag >> 3 == 1:
                dims.append(v)
            elif tag >> 3 == 2:
                kind = v
        else:
            n, i = varint(b, i)
            part = b[i:i + n]
            i += n
            if tag >> 3 == 9:
                raw = part
            elif tag >> 3 == 1:  # packed dims
                k = 0
                while k < len(part):
                    v, k = varint(part, k)
                    dims.append(v)
    return np.frombuffer(raw, DTYPES[kind]).reshape(dims)


def check(folder, library=None):
    """Gives the largest difference, as a part of the largest value."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    if library:
        options.register_custom_ops_library(library)
    session = ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    worst = 0.0
    for data in sorted(folder.glob("test_data_set_*")):
        feed = {v.name: tensor(data / f"input_{i}.pb") for i, v in enumerate(session.get_inputs())}
        for i, have in enumerate(session.run(None, feed)):
            if not (data / f"output_{i}.pb").exists():
                continue
            want = tensor(data / f"output_{i}.pb")
            worst = max(worst, float(np.abs(have - want).max() / np.abs(want).max()))
    return worst


def main(dirs):
    library = None
    if dirs[:1] == ["--library"]:
        library, dirs = dirs[1], dirs[2:]
    passed, failed, worst = 0, 0, 0.0
    for folder in sorted({m.parent for d in dirs for m in pathlib.Path(d).rglob("model.onnx")}):
        try:
            diff = check(folder, library)
        except Exception as e:  # what a version says when it refuses a file
            diff, why = np.inf, str(e).splitlines()[0]
        else:
            why = f"differs by {diff:.2g}"
        if diff <= 1e-6:
            passed, worst = passed + 1, max(worst, diff)
        else:
            failed += 1
            print(f"FAIL  {folder}: {why}")
    print(f"onnxruntime {ort.__version__}: {passed} passed, {failed} failed, largest difference {worst:.2g}")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) > 0)
