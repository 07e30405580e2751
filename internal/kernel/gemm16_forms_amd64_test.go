//go:build amd64 && !noasm

package kernel

import "golang.org/x/sys/cpu"

// forms16 lists the sets, and that of the widest vectors once with products of 16-bit
// integers by pairs of sums and once without, whatever this processor prefers.
func forms16() []*set {
	all := sets()
	if s := all[0]; s.name == "avx512" && cpu.X86.HasAVX512VNNI {
		plain, sums := *s, *s
		plain.name, plain.gemm16, plain.gemm16Cols = "avx512 products", gemm16Products, gemm16ColsProducts
		sums.name, sums.gemm16, sums.gemm16Cols = "avx512 sums", gemm16Sums, gemm16ColsSums
		all = append(all, &plain, &sums)
	}
	return all
}
