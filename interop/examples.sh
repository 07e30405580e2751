#!/usr/bin/env bash
# Runs every program of examples/ on one model and compares what they print. Needs Go, and
# runs Python and Node where they are there; fetches their packages into out/examples.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p "${OUT:-out/examples}"
out=$(cd "${OUT:-out/examples}" && pwd)
model=$out/deit.w4a4.onnx
image=$PWD/examples/boot.f32
export CGO_ENABLED=0
[ -f "$model" ] || go run ./cmd/qvitc compress testdata/onnx/deit-fmnist.onnx --data testdata/fashion-mnist -b w4a4 --epochs 0.25 -q -o "$model" >/dev/null

want=$(go run ./examples/go "$model" "$image")
echo "go       $want"
failed=0
# compare NAME COMMAND...
compare() {
  local name=$1 have
  shift
  have=$("$@" 2>&1) || true
  printf '%-8s %s\n' "$name" "$have"
  [ "$have" = "$want" ] || failed=1
}
compare onnx-go go run ./examples/onnxgo "$model" "$image"
if command -v python3 >/dev/null; then
  "$out/venv/bin/python" -c 'import onnxruntime' 2>/dev/null || { python3 -m venv "$out/venv" && "$out/venv/bin/pip" install -q numpy onnxruntime; }
  compare python "$out/venv/bin/python" examples/python/classify.py "$model" "$image"
else
  echo "python   skipped: python3 is not there"
fi
if command -v npm >/dev/null; then
  [ -d "$out/node_modules/onnxruntime-web" ] || (cd "$out" && npm install --silent --no-save --no-audit --no-fund --ignore-scripts onnxruntime-node onnxruntime-web >/dev/null)
  cp examples/browser/classify.mjs "$out/browser.mjs"
  cat >"$out/web.mjs" <<'JS'
import fs from 'node:fs'
import * as ort from 'onnxruntime-web'
import { classify } from './browser.mjs'
ort.env.wasm.numThreads = 1
const bytes = fs.readFileSync(process.argv[3])
console.log(await classify(ort, new Uint8Array(fs.readFileSync(process.argv[2])), new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length))))
JS
  compare node bash -c 'cd "$1" && node "$2" "$3" "$4"' - "$out" "$PWD/examples/node/classify.mjs" "$model" "$image"
  compare web node "$out/web.mjs" "$model" "$image"
else
  echo "node     skipped: npm is not there"
fi
[ $failed = 0 ] || { echo "not all print the same"; exit 1; }
