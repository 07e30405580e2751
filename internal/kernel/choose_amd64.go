//go:build amd64 && !noasm

package kernel

import "golang.org/x/sys/cpu"

//go:generate go run -C asmgen . -isa avx512 -part gemm -out ../gemm_avx512_amd64.s -stubs ../gemm_avx512_amd64.go -pkg kernel
//go:generate go run -C asmgen . -isa avx2 -part gemm -out ../gemm_avx2_amd64.s -stubs ../gemm_avx2_amd64.go -pkg kernel

var avx2, avx512 = simdSets()

func simdSets() (a, b set) {
	a = portable
	a.name = "avx2"
	a.gemm = gemmAVX2
	b = a
	b.name = "avx512"
	b.gemm = gemmAVX512
	return a, b
}

// sets lists the implementations that this machine can run, best first.
func sets() []*set {
	s := []*set{&portable}
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA && cpu.X86.HasBMI2 {
		s = append([]*set{&avx2}, s...)
		if cpu.X86.HasAVX512F && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL {
			s = append([]*set{&avx512}, s...)
		}
	}
	return s
}

