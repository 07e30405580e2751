//go:build !ortops

package main

import (
	"fmt"
	"os"
)

// main is what a plain build gets; the library needs cgo and the C API's header.
func main() {
	fmt.Fprintln(os.Stderr, "ortops is a library for ONNX Runtime: build it with make ortops")
	os.Exit(2)
}
