//go:build !amd64 || noasm

package kernel

// headArgs is empty: no set has heads of its own.
type headArgs struct{}
