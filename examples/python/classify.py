"""Classifies one image with a compressed model in ONNX Runtime.

usage: classify.py MODEL.onnx IMAGE.f32
"""
import sys

import numpy as np
import onnxruntime as ort

session = ort.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
image = np.fromfile(sys.argv[2], "<f4").reshape(1, 1, 28, 28)
logits = session.run(None, {session.get_inputs()[0].name: image})[0][0]
print(f"class {logits.argmax()}, logit {logits.max():.3f}")
