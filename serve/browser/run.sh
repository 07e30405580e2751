#!/bin/sh
# The page of qvitc serve in a headless Chromium. Needs Node, and Chromium from the system (or CHROMIUM=PROGRAM).
#   serve/browser/run.sh [MODEL FLOAT IMAGE...]      default: the shipped DeiT, calibrated to 4 bits here
set -eu
cd "$(dirname "$0")/../.."
export CGO_ENABLED=0
for c in ${CHROMIUM:-} chromium-headless-shell chromium chromium-browser google-chrome; do
  if command -v "$c" >/dev/null 2>&1; then CHROMIUM=$(command -v "$c"); break; fi
done
[ -n "${CHROMIUM:-}" ] || { echo "no Chromium here: install chromium-headless-shell or set CHROMIUM" >&2; exit 2; }
export CHROMIUM
out=out/browser
mkdir -p $out
[ -d $out/node_modules/playwright-core ] || npm install --silent --no-audit --no-fund --prefix $out playwright-core >/dev/null
cp serve/browser/page.mjs $out/
go build -o out/qvitc ./cmd/qvitc
if [ $# -ge 2 ]; then
  model=$1 float=$2; shift 2
else
  float=testdata/onnx/deit-fmnist.onnx model=$out/deit-fmnist.w4a4.onnx
  [ -f $model ] || out/qvitc compress $float --data testdata/fashion-mnist --method ptq -o $model -q >/dev/null
  printf '%s\n' T-shirt Trouser Pullover Dress Coat Sandal Shirt Sneaker Bag 'Ankle boot' >$out/labels.txt
fi
labels=${LABELS:-$out/labels.txt}
[ -f "$labels" ] || : >"$labels"
out/qvitc serve $model --teacher $float --addr 127.0.0.1:0 --labels "$labels" >$out/serve.txt 2>$out/serve.err &
pid=$!
trap 'kill $pid 2>/dev/null || true' EXIT
i=0
until grep -q http $out/serve.txt; do
  i=$((i + 1))
  [ $i -lt 100 ] || { cat $out/serve.err >&2; exit 1; }
  sleep 0.1
done
node $out/page.mjs "$(sed -n 's/.* on //p' $out/serve.txt)" ${SHOT:-$out/page.png} "$@"
