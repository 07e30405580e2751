//go:build amd64 && !noasm

package kernel

import "golang.org/x/sys/cpu"

// otherForms are sets with a product of weights that another processor would choose.
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
	with("sums", weightsSums)
	if cpu.X86.HasAVX512VBMI {
		with("lookup", weightsLookup)
	}
	return s
}
