# Runs a model in ONNX Runtime. stdin: {"model", "dir", "inputs": [{"name", "dims", "file"}]};
# stdout: {"version", "outputs": [...]}. Files hold little-endian float32.
import json, sys
import numpy as np
import onnxruntime as ort

task = json.load(sys.stdin)
options = ort.SessionOptions()
options.log_severity_level = 4
session = ort.InferenceSession(task["model"], options, providers=["CPUExecutionProvider"])
feed = {t["name"]: np.fromfile(t["file"], "<f4").reshape(t["dims"]) for t in task["inputs"]}
outputs = []
for i, (meta, value) in enumerate(zip(session.get_outputs(), session.run(None, feed))):
    file = "%s/out%d" % (task["dir"], i)
    np.ascontiguousarray(value, "<f4").tofile(file)
    outputs.append({"name": meta.name, "dims": list(value.shape), "file": file})
json.dump({"version": ort.__version__, "outputs": outputs}, sys.stdout)
