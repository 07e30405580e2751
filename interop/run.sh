#!/usr/bin/env bash
# Exports the shipped model at every width and runs each file in ONNX Runtime.
# Needs Go and Python 3; installs onnxruntime into a virtual environment.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${OUT:-out/interop}
mkdir -p "$out"
python=$out/venv/bin/python
if ! "$python" -c 'import onnxruntime, numpy' 2>/dev/null; then
  python3 -m venv "$out/venv"
  "$out/venv/bin/pip" install -q numpy onnxruntime${ORT_VERSION:+==$ORT_VERSION}
fi
CGO_ENABLED=0 go build -o "$out/qvitc" ./cmd/qvitc
# check NAME BITS FLAGS...: compress testdata/onnx/NAME.onnx and compare
check() {
  local name=$1 bits=$2
  shift 2
  "$out/qvitc" compress "testdata/onnx/$name.onnx" --data testdata/fashion-mnist -b "$bits" "$@" --force \
    -o "$out/$name.$bits.onnx" -q
  "$out/qvitc" eval "$out/$name.$bits.onnx" --data testdata/fashion-mnist --limit 1000 --dump "$out/$name.$bits.npz" -q --json >"$out/$name.$bits.json"
  "$python" interop/ort_check.py "$out/$name.$bits.onnx" "$out/$name.$bits.npz"
}
# forms NAME BITS: the file of check in every other form; export itself runs it in
# ONNX Runtime before it takes its name
forms() {
  local f
  for form in "qdq" "qdq --opset 25" "qcdq8" "nbits" "qonnx" "qonnx --opset 21"; do
    f=$out/$1.$2.${form// --opset /}
    "$out/qvitc" export "$out/$1.$2.onnx" --format $form --data testdata/fashion-mnist --ort "$python" -o "$f.onnx" -q
    "$out/qvitc" eval "$f.onnx" --data testdata/fashion-mnist --limit 200 --dump "$f.npz" -q --json >"$f.json"
    "$python" interop/ort_check.py "$f.onnx" "$f.npz"
  done
}
for bits in ${WIDTHS:-w4a4 w3a3 w2a2 w4a8 w8a8}; do
  check deit-fmnist "$bits" --epochs 0.1
  forms deit-fmnist "$bits"
done
check deit-fmnist w4a4 --epochs 0.1 --irm layernorm
check deit-fmnist w4a4 --epochs 0.1 --irm static
for bits in ${WIDTHS:-w4a4 w2a2}; do
  check swin-fmnist "$bits" --epochs 0.1
  forms swin-fmnist "$bits"
done
# tuned NAME: train the float model with a fresh head, compare
tuned() {
  local f=$out/$1.tuned
  "$out/qvitc" finetune "testdata/onnx/$1.onnx" --data testdata/fashion-mnist --classes 10 --epochs 0.1 -o "$f.onnx" -q
  "$out/qvitc" eval "$f.onnx" --data testdata/fashion-mnist --limit 1000 --dump "$f.npz" -q --json >"$f.json"
  "$python" interop/ort_check.py "$f.onnx" "$f.npz"
}
tuned deit-fmnist
tuned swin-fmnist
"$python" interop/conformance.py testdata/conformance
if command -v "${CC:-cc}" >/dev/null; then
  library=$(bash interop/ortops.sh)
  "$python" interop/conformance.py --library "$library" testdata/conformance
  # the whole graph as one operator, with the library and without
  "$out/qvitc" export "$out/deit-fmnist.w4a4.onnx" --whole --ort off -q -o "$out/deit-fmnist.whole.onnx" >/dev/null
  "$out/qvitc" eval "$out/deit-fmnist.whole.onnx" --data testdata/fashion-mnist --limit 1000 --dump "$out/whole.npz" -q --json >/dev/null
  "$python" interop/ort_check.py "$out/deit-fmnist.whole.onnx" "$out/whole.npz" "$library"
  "$python" interop/ort_check.py "$out/deit-fmnist.whole.onnx" "$out/whole.npz"
fi
