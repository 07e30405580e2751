"""The parts of interop/matrix.sh that need Python.

usage: matrix.py run OUT VERSION       one JSON line for each file of OUT/files.txt, in the ONNX Runtime of this interpreter
       matrix.py unpack OUT            inputs and logits as plain float32 files, for the browser build
       matrix.py hazards OUT VERSION   the crafted files of package doctor in OUT/hazards, one JSON line each
       matrix.py table OUT RUNTIME...  the table of docs/matrix.md

Every file is compared with what qvitc answers for the packed file of the same
model and width: one student, one truth. Files of nbits, whose activations stay
float, are compared with what qvitc answers for them.
"""
import json
import pathlib
import re
import subprocess
import sys


def files(out):
    for line in (out / "files.txt").read_text().split("\n"):
        if line:
            yield line.split()


def truth(out, name, format):
    own = out / f"{name}.{format}.npz"
    return own if own.exists() else out / f"{name}.npz"


def reason(e):
    """What ONNX Runtime says, without its own file names."""
    text = " ".join(str(e).split())
    for cut in (r"\[ONNXRuntimeError\] : \d+ : \w+ : ", r"ERROR_MESSAGE: ", r"Load model from \S+ failed: ?", r"Status Message: ", r"\S*/onnxruntime/\S+:\d+ .*?\) (const )?",
                r"This is an invalid model\. "):
        text = re.sub("^.*?" + cut, "", text, count=1)
    text = re.sub(r'\("[^"]*", (\w+), [^)]*\)', r"(\1)", text)  # the node's own name
    return text[:200]


def run(out, version):
    import numpy as np
    import onnxruntime as ort
    ort.set_default_logger_severity(4)
    for name, format in files(out):
        line = {"runtime": version, "name": name, "format": format}
        path = out / f"{name}.{format}.onnx"
        if not path.exists():
            continue
        data = np.load(truth(out, name, format))
        inputs, ours = data["inputs"].astype(np.float32), data["logits"]
        options = ort.SessionOptions()
        options.log_severity_level = 4
        try:
            session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            feed = session.get_inputs()[0].name
            theirs = np.concatenate([session.run(None, {feed: inputs[i:i + 50]})[0] for i in range(0, len(inputs), 50)])
        except Exception as e:  # the version refuses the file: that is the result
            line["error"] = reason(e)
        else:
            diff = np.abs(theirs - ours).max(axis=1)
            line.update(images=len(ours), diff=float(diff.max()), close=int((diff < 1e-4).sum()), flips=int((theirs.argmax(1) != ours.argmax(1)).sum()))
        print(json.dumps(line), flush=True)


def unpack(out):
    import numpy as np
    for name, format in files(out):
        data = np.load(truth(out, name, format))
        data["inputs"].astype("<f4").tofile(out / f"{name}.inputs.f32")
        data["logits"].astype("<f4").tofile(out / f"{name}.{format}.logits.f32")
        shape = list(data["inputs"].shape)
        (out / f"{name}.shape.json").write_text(json.dumps({"inputs": shape, "classes": data["logits"].shape[1]}))


def hazards(out, version):
    import conformance
    for folder in sorted((out / "hazards").iterdir()):
        try:
            diff = conformance.check(folder)
        except Exception as e:
            said = str(e)
            status = "fails when run" if "Non-zero status code" in said else "refused"
        else:
            status = "right" if diff < 1e-3 else "wrong"
        print(json.dumps({"runtime": version, "hazard": folder.name, "status": status}), flush=True)


def hazard_table(out, runtimes):
    rows, seen = {}, []
    for r in runtimes:
        path = out / f"hazards-{r}.jsonl"
        if path.exists():
            seen.append(r)
            for line in path.read_text().splitlines():
                d = json.loads(line)
                rows.setdefault(d["hazard"], {})[r] = d["status"]
    if not rows:
        return
    print("\n## Forms that qvitc doctor warns of\n")
    print("The crafted files of doctor/testdata on the same versions: what each does with default options. `wrong` is by more than a thousandth of the")
    print("largest value; `sound-gemm` is the layout to use. Where no answer is known here (MatMulNBits), `right` says only that it runs.\n")
    print("| file | " + " | ".join(seen) + " |")
    print("|---|" + "---|" * len(seen))
    for name, row in rows.items():
        print(f"| {name} | " + " | ".join(row.get(r, "") for r in seen) + " |")


FORMATS = {
    "packed": "ai.qvitc operators with function bodies",
    "qdq": "standard Q/DQ, INT4",
    "qcdq8": "Q/Clip/DQ in INT8 containers",
    "nbits": "com.microsoft MatMulNBits, weights only: activations stay float, so it is compared with what qvitc answers for the same file",
    "qonnx": "IntQuant with a function body",
}


def diagnosis(out, path, version):
    """What qvitc doctor says about the file on this version; None when nothing."""
    target = "ort=" + ".".join(version.split(".")[:2])
    said = subprocess.run([out / "qvitc", "doctor", path, "--target", target, "--json", "--ort-python", "none", "--ort-node", "none"], capture_output=True, text=True)
    found = json.loads(said.stdout)["findings"] if said.stdout else []
    return "; ".join(dict.fromkeys(f"{f['hazard']}: {f['message']}" for f in found)) or None


def table(out, runtimes):
    results, wrote = {}, {}
    for r in runtimes:
        for line in (out / f"result-{r}.jsonl").read_text().splitlines():
            d = json.loads(line)
            d.setdefault("name", "")
            results[r, d["name"], d.get("format")] = d
            if r == "web":
                d["version"] = d["runtime"].split()[-1]
            if d.get("missing"):
                wrote[r] = "no wheel for this Python"
    print("# Targets on versions of ONNX Runtime\n")
    images = max(d.get("images", 0) for d in results.values())
    print("Written by `make matrix` (interop/matrix.sh). One student for each model and width; each of its targets runs on unmodified ONNX Runtime")
    print(f"with default options, on its CPU provider, over {images:,} test images. A cell holds the largest difference of a logit from what qvitc answers")
    print("for the packed file and, above 1e-4, the number of images that differ by more. The class is the same on every image unless the cell says")
    print("otherwise. `web` is onnxruntime-web (wasm) under Node.\n")
    print("Why a few images differ: norms, softmax and the patch sums run in float, in another order in every implementation. A value that lies within")
    print("that last bit of a rounding threshold gets the neighbouring code, and few bits make one code large.\n")
    notes = []

    def note(text):
        if text not in notes:
            notes.append(text)
        return f"[{notes.index(text) + 1}]"

    names = list(dict.fromkeys(n for n, _ in files(out)))
    for format in dict.fromkeys(f for _, f in files(out)):
        print(f"## {format}: {FORMATS.get(format, '')}\n")
        print("| model | bytes | " + " | ".join(runtimes) + " |")
        print("|---|---|" + "---|" * len(runtimes))
        for name in names:
            path = out / f"{name}.{format}.onnx"
            size = f"{path.stat().st_size:,}" if path.exists() else "-"
            cells = []
            for r in runtimes:
                d = results.get((r, name, format))
                if r in wrote:
                    cells.append(note(wrote[r]))
                elif d is None:
                    error = out / f"{name}.{format}.error"
                    text = error.read_text().strip().splitlines()[0] if error.exists() and error.read_text().strip() else "not written"
                    cells.append(note(f"qvitc export: {text.removeprefix('qvitc: ')}"))
                elif "error" in d:
                    cells.append("refused " + note(diagnosis(out, path, d.get("version", r)) or d["error"]))
                else:
                    cells.append(f"{d['diff']:.2g}" + ("" if d["diff"] < 1e-4 else f" ({d['images'] - d['close']} images)") + ("" if d["flips"] == 0 else f", **{d['flips']} classes differ**"))
            print(f"| {name} | {size} | " + " | ".join(cells) + " |")
        print()
    for i, text in enumerate(notes):
        print(f"{i + 1}. {text}")
    hazard_table(out, runtimes)


if __name__ == "__main__":
    what, out, rest = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3:]
    {"run": lambda: run(out, *rest), "unpack": lambda: unpack(out), "table": lambda: table(out, rest),
     "hazards": lambda: hazards(out, *rest)}[what]()
