//go:build (amd64 || arm64) && !noasm

package spin

// Pause tells the processor that this is a loop that waits.
func Pause()
