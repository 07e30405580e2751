#!/usr/bin/env bash
# Runs every export target at every width on several versions of ONNX Runtime and
# on its browser build, and writes docs/matrix.md. Needs Go, Python 3 and Node with npm;
# fetches the runtimes into out/matrix.
#
#   VERSIONS="1.16.3 1.20.1 1.23.2 1.27.0 1.32.0"  WEB=1.30.0  IMAGES=1000  FORMATS, WIDTHS, MODELS narrow it down
set -euo pipefail
cd "$(dirname "$0")/.."
out=${OUT:-out/matrix}
images=${IMAGES:-1000}
versions=${VERSIONS:-1.16.3 1.20.1 1.23.2 1.27.0 1.32.0}
web=${WEB:-1.30.0}
formats=${FORMATS:-packed qdq qcdq8 nbits qonnx}
widths=${WIDTHS:-w4a4 w3a3 w2a2}
models=${MODELS:-deit-fmnist swin-fmnist}
python=${PYTHON:-python3}
mkdir -p "$out"
out=$(cd "$out" && pwd)
CGO_ENABLED=0 go build -o "$out/qvitc" ./cmd/qvitc
qvitc=$out/qvitc

# one student for each model and width; every target is made from it
: >"$out/files.txt"
for model in $models; do
  for bits in $widths; do
    name=$model.$bits
    if [ ! -f "$out/$name.packed.onnx" ] || [ "${FRESH:-}" ]; then
      "$qvitc" compress "testdata/onnx/$model.onnx" --data testdata/fashion-mnist -b "$bits" --epochs "${EPOCHS:-0.1}" -q -o "$out/$name.packed.onnx" >/dev/null
    fi
    "$qvitc" export "$out/$name.packed.onnx" --format packed --ort off -q -o "$out/$name.now.onnx" >/dev/null # as this version writes it
    mv "$out/$name.now.onnx" "$out/$name.packed.onnx"
    "$qvitc" eval "$out/$name.packed.onnx" --data testdata/fashion-mnist --limit "$images" --dump "$out/$name.npz" -q --json >"$out/$name.json"
    for format in $formats; do
      file=$out/$name.$format.onnx
      rm -f "$out/$name.$format.error"
      if [ "$format" != packed ] && ! "$qvitc" export "$out/$name.packed.onnx" --format "$format" -o "$file" -q >/dev/null 2>"$out/$name.$format.error"; then
        rm -f "$file"
      fi
      if [ "$format" = nbits ] && [ -f "$file" ]; then # another model by design: its own answers
        "$qvitc" eval "$file" --data testdata/fashion-mnist --limit "$images" --dump "$out/$name.nbits.npz" -q --json >/dev/null
      fi
      echo "$name $format" >>"$out/files.txt"
    done
  done
done

rm -rf "$out/hazards"
mkdir "$out/hazards"
CGO_ENABLED=0 go test -count=1 ./doctor -run Crafted$ -write "$out/hazards" >/dev/null

for v in $versions; do
  venv=$out/venv-$v
  if ! "$venv/bin/python" -c 'import onnxruntime' 2>/dev/null; then
    "$python" -m venv "$venv"
    "$venv/bin/pip" install -q 'numpy<2' "onnxruntime==$v" || { echo "{\"runtime\": \"$v\", \"missing\": true}" >"$out/result-$v.jsonl"; continue; }
  fi
  "$venv/bin/python" interop/matrix.py run "$out" "$v" >"$out/result-$v.jsonl"
  "$venv/bin/python" interop/matrix.py hazards "$out" "$v" >"$out/hazards-$v.jsonl" 2>/dev/null
done
if [ -n "$web" ]; then
  [ -d "$out/node_modules/onnxruntime-web" ] || (cd "$out" && npm install --silent --no-save --no-audit --no-fund "onnxruntime-web@$web" >/dev/null)
  first=$(echo "$versions" | awk '{print $NF}')
  "$out/venv-$first/bin/python" interop/matrix.py unpack "$out"
  cp interop/matrix.mjs "$out/matrix.mjs"
  (cd "$out" && node matrix.mjs . "web $web") >"$out/result-web.jsonl"
fi
"$python" interop/matrix.py table "$out" $versions ${web:+web} >"$out/matrix.md"
cp "$out/matrix.md" docs/matrix.md
cat docs/matrix.md
