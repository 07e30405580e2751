//go:build amd64 && !noasm

package kernel

import "golang.org/x/sys/cpu"

// otherForms are sets with products that another processor would choose.
func otherForms() (s []*set) {
	if !cpu.X86.HasAVX512VNNI {
		return nil
	}
	with := func(name string, f func(bits, abits, k int) form) {
		x := avx512
		x.name, x.fixed = "avx512-"+name, f
		s = append(s, &x)
	}
	with("vnni", nil)
	s[0].gemm16, s[0].gemm16Cols = gemm16AVX512, gemm16ColsAVX512
	with("sums", weightsSums)
	s[1].gemm16, s[1].gemm16Cols = gemm16Sums, gemm16ColsSums
	if cpu.X86.HasAVX512VBMI {
		with("lookup", weightsLookup)
	}
	return s
}
