//go:build unix

package onnxio

import (
	"os"
	"syscall"
)

// noBlock keeps the opening of a pipe without a writer from hanging.
const noBlock = syscall.O_NONBLOCK

func openPlain(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|noBlock, 0)
}

// linkCount is the number of names that a file has.
func linkCount(st os.FileInfo) uint64 {
	if s, ok := st.Sys().(*syscall.Stat_t); ok {
		return uint64(s.Nlink)
	}
	return 1
}
