#!/usr/bin/env bash
# Builds the custom-operator library for ONNX Runtime into out/ortops. Needs Go and a C
# compiler. The header of the C API (MIT licence) comes from a Go module, checked by
# its checksum; nothing else of that module is used.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${OUT:-out/ortops}
header=github.com/yalue/onnxruntime_go@v1.13.0
case $(go env GOOS) in
windows) name=qvitc_ortops.dll ;;
darwin) name=libqvitc_ortops.dylib ;;
*) name=libqvitc_ortops.so ;;
esac
mkdir -p "$out/include"
if [ ! -f "$out/include/onnxruntime_c_api.h" ]; then
  dir=$(cd "$out" && GOFLAGS=-mod=mod go mod download -json $header | sed -n 's/^\t"Dir": "\(.*\)",*$/\1/p')
  install -m 644 "$dir/onnxruntime_c_api.h" "$dir/LICENSE" "$out/include/"
fi
include=$(cd "$out/include" && pwd)
CGO_ENABLED=1 CGO_CFLAGS="-O2 -I$include" go build -trimpath -tags ortops -buildmode=c-shared -o "$out/$name" ./ortops
echo "$out/$name"
