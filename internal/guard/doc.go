// Package guard turns panics into errors. A goroutine that panics ends the whole
// program, whoever waits for it; a worker that does its work through Call hands
// the fault to its caller like any other error. A panic is a broken invariant of
// the program itself, so the message says where it happened:
//
//	err := guard.Call(func() error { return work(i) })
//	// internal error at runtime/matmul.go:212: index out of range [5] with length 3
package guard
