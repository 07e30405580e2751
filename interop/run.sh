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
for bits in ${WIDTHS:-w4a4 w3a3 w2a2 w4a8 w8a8}; do
  "$out/qvitc" compress testdata/onnx/deit-fmnist.onnx --data testdata/fashion-mnist -b "$bits" --epochs 0.1 --force \
    -o "$out/deit.$bits.onnx" -q
  "$out/qvitc" eval "$out/deit.$bits.onnx" --data testdata/fashion-mnist --limit 1000 --dump "$out/deit.$bits.npz" -q --json >"$out/deit.$bits.json"
  "$python" interop/ort_check.py "$out/deit.$bits.onnx" "$out/deit.$bits.npz"
done
