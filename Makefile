# Longer suites than `go test ./...`; see CONTRIBUTING.md.
.PHONY: test ci interop fuzz kill models mutants exports matrix bench ortops serve-load browser

test:
	go test ./...

ci:
	bash .ci/run

interop:
	bash interop/run.sh

# docs/matrix.md: every target on several versions of ONNX Runtime and its browser build
matrix:
	bash interop/matrix.sh

# custom operators for ONNX Runtime: out/ortops/libqvitc_ortops.so (needs a C compiler)
ortops:
	bash interop/ortops.sh

# examples/ in Go, Python, Node and the browser build print the same
examples:
	bash interop/examples.sh

fuzz:
	go test -fuzz FuzzParse -fuzztime 60s ./ir
	go test -fuzz FuzzReadModel -fuzztime 60s ./onnxio
	go test -fuzz FuzzTensor -fuzztime 60s ./onnxio
	go test -fuzz FuzzImage -fuzztime 60s ./dataset
	go test -fuzz FuzzCheckpoint -fuzztime 60s ./distill

# a million structured mutants of five models through the reader
mutants:
	go test -count=1 -run StructuredMutants ./onnxio -mutants 1000000

# kill -9, SIGINT and SIGTERM at random moments of a compression, then --resume
kill:
	QVITC_KILLS=20 go test -count=1 -v -run 'Kill|Interrupt|GoesOn' ./cmd/qvitc

# the table of docs/models.md, from a folder of models
MODELS ?= ../shared/models
models:
	go build -o out/qvitc ./cmd/qvitc
	@echo '| model | looks like | recognised | left in float |'; echo '|---|---|---|---|'
	@for m in $(MODELS)/*/model.onnx; do \
	  out/qvitc inspect -q $$m | awk -v name=$$(basename $$(dirname $$m)) -F '  +' \
	    '/^looks like/{l=$$2} /^recognised/{r=$$2} /^note/{n++} END{print "| " name " | " l " | " r " | " (n ? n : "nothing") " |"}'; \
	done

# models of other libraries, exported by PyTorch; needs torch, timm, transformers
PYTHON ?= python3
exports:
	$(PYTHON) interop/exports.py out/exports
	go run ./cmd/qvitc verify out/exports

# ours and the peers in turns: docs/performance.md
bench:
	bench/run.sh

# 10,000 requests over 50 connections, every answer checked
serve-load:
	QVITC_SERVE_REQUESTS=10000 go test -count=1 -v -run TestLoad ./serve

# the page of qvitc serve in a headless Chromium
browser:
	serve/browser/run.sh
