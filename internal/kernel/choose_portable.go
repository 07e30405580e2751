//go:build (!amd64 && !arm64) || noasm

package kernel

// sets lists the implementations that this machine can run, best first.
func sets() []*set { return []*set{&portable} }
