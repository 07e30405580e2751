//go:build (!amd64 && !arm64) || noasm

package spin

import "sync/atomic"

// Pause tells the processor that this is a loop that waits.
func Pause() {
	for range 20 {
		nothing.Load()
	}
}

var nothing atomic.Int32
