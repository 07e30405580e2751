//go:build !amd64 || noasm

package kernel

func otherForms() []*set { return nil }
