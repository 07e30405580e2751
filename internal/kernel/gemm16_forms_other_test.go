//go:build !amd64 || noasm

package kernel

func forms16() []*set { return sets() }
