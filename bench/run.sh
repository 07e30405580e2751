#!/bin/sh
# The measurements of docs/performance.md: ours and the peers in turns, on this machine, now.
#
#   bench/run.sh [PART...]      PART is latency, train or gemm; default all
#
# ORT_PYTHON and TORCH_PYTHON name Python interpreters with onnxruntime (and onnx) and with torch (default python3);
# a peer that is not there is left out. ITERS (100) and STEPS (20) say how long. Models and results go to out/bench.
set -eu
cd "$(dirname "$0")/.."
export CGO_ENABLED=0
ort=${ORT_PYTHON:-python3} torch=${TORCH_PYTHON:-python3} iters=${ITERS:-100} steps=${STEPS:-20}
out=out/bench
mkdir -p $out
go build -o out/qvitc ./cmd/qvitc
q=out/qvitc
has() { "$1" -c "import $2" >/dev/null 2>&1; }

echo "# $(date -u +%Y-%m-%dT%H:%MZ)  $(git describe --always --dirty 2>/dev/null || true)  load $(cut -d' ' -f1-3 /proc/loadavg 2>/dev/null || true)"
lscpu 2>/dev/null | grep -E 'Model name|^CPU\(s\)|L2|L3' || true

# model NAME: the float model and its 4-bit form, made once
model() {
  [ -f $out/$1.onnx ] || $q new "$1" -o $out/$1.onnx
  [ -f $out/$1.w4a4.onnx ] || $q compress $out/$1.onnx -b w4a4 -o $out/$1.w4a4.onnx -q >/dev/null
}

# latency NAME FLOAT THREADS BATCH
latency() {
  vs=
  has "$ort" onnxruntime && vs="--vs ort --vs-model $2 --ort-python $ort"
  [ -n "$vs" ] && has "$ort" onnx && vs="$vs --vs-int8"
  [ -n "$vs" ] || echo "# no onnxruntime in $ort: ours alone"
  echo; echo "## $1 w4a4, batch $4, $3 thread(s)"
  $q bench $out/$1.w4a4.onnx --threads $3 --batch $4 --iters $iters $vs 2>&1
}

# train NAME BITS
train() {
  vs=
  has "$torch" torch && vs="--vs torch --torch-python $torch"
  [ -n "$vs" ] || echo "# no torch in $torch: ours alone"
  echo; echo "## training $1 at $2, batch 8, 2 threads"
  $q bench --train $out/$1.onnx -b $2 --batch 8 --threads 2 --iters $steps $vs 2>&1
}

for part in ${*:-latency train gemm}; do
  case $part in
  latency)
    for m in deit-small deit-tiny swin-tiny; do model $m; done
    latency deit-small $out/deit-small.onnx 1 1
    latency deit-small $out/deit-small.onnx 2 1
    latency deit-tiny $out/deit-tiny.onnx 1 1
    iters=$((iters / 5 + 1)) latency deit-small $out/deit-small.onnx 1 8
    iters=$((iters / 5 + 1)) latency deit-small $out/deit-small.onnx 2 8
    latency swin-tiny $out/swin-tiny.onnx 1 1
    real=../shared/models/vit-tiny-in1k/model.onnx
    if [ -f $real ]; then
      [ -f $out/vit-tiny-in1k.w4a4.onnx ] || $q compress $real -b w4a4 -o $out/vit-tiny-in1k.w4a4.onnx -q >/dev/null
      latency vit-tiny-in1k $real 1 1
    fi ;;
  train)
    [ -f $out/deit-tiny.onnx ] || $q new deit-tiny -o $out/deit-tiny.onnx
    train deit-tiny w4a4
    train deit-tiny float ;;
  gemm)
    for t in 1 2; do
      echo; echo "## float32 products of DeiT training, $t thread(s)"
      if has "$ort" numpy; then go run ./bench/gemm --threads $t --python "$ort"; else go run ./bench/gemm --threads $t; fi
    done ;;
  *) echo "bench/run.sh: no part is called $part" >&2; exit 2 ;;
  esac
done
