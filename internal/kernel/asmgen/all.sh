#!/bin/sh
# Writes every part of the assembly for every instruction set; run by go generate.
set -e
for isa in avx512 avx2; do
	for part in gemm map rows quant codes int8 tile epilogue rowquant operand gemm16 logits heads windows near; do
		case $part.$isa in heads.avx2 | windows.avx2 | near.avx2) continue ;; esac # avx512 only
		go run -C asmgen . -isa $isa -part $part -pkg kernel \
			-out ../${part}_${isa}_amd64.s -stubs ../${part}_${isa}_amd64.go
	done
done
go run -C asmgen ./neon -out ../kernels_neon_arm64.s -stubs ../kernels_neon_arm64.go
