//go:build !unix

package onnxio

import "os"

const noBlock = 0

func openPlain(path string) (*os.File, error) { return os.Open(path) }

func linkCount(os.FileInfo) uint64 { return 1 }
