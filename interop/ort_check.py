"""Runs an exported model in unmodified ONNX Runtime and compares it with qvitc.

usage: ort_check.py MODEL.onnx DUMP.npz [LIBRARY]

DUMP.npz comes from `qvitc eval MODEL --dump DUMP.npz` and holds `inputs`
[n,C,H,W] and our `logits` [n,classes]. The check passes when the top-1 classes
are equal for every image, images whose two best logits differ by less than the
largest logit difference (ties) excepted. Prints the largest difference.
"""
import sys

import numpy as np
import onnxruntime as ort


def main(model, dump, library=None):
    data = np.load(dump)
    inputs, ours = data["inputs"].astype(np.float32), data["logits"]
    options = ort.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 3
    if library:  # custom operators: make ortops
        options.register_custom_ops_library(library)
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    theirs = np.concatenate([session.run(None, {name: inputs[i:i + 50]})[0] for i in range(0, len(inputs), 50)])
    diff = np.abs(theirs - ours).max(axis=1)
    flips = ours.argmax(1) != theirs.argmax(1)
    best = np.sort(ours, axis=1)
    ties = flips & (best[:, -1] - best[:, -2] <= 2 * diff)
    wrong = int((flips & ~ties).sum())
    close = int((diff < 1e-4).sum())
    print(f"{model}: onnxruntime {ort.__version__}, {len(ours)} images, top-1 differs on {int(flips.sum())} "
          f"({int(ties.sum())} ties), largest logit difference {diff.max():.3g} (logits up to {np.abs(ours).max():.3g}), "
          f"median {np.median(diff):.3g}, {close} images within 1e-4")
    return len(ours) - wrong, wrong


if __name__ == "__main__":
    passed, failed = main(*sys.argv[1:4])
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)
