package guard

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
)

// Call calls fn and gives its error, or one for its panic.
func Call(fn func() error) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case *fault: // handed on by a panic
			err = r
		default:
			err = &fault{fmt.Sprintf("internal error%s: %v", place(), r)}
		}
	}()
	return fn()
}

type fault struct{ msg string }

func (f *fault) Error() string { return f.msg }

// place is the line that panicked, with its folder.
func place() string {
	var pc [32]uintptr
	frames := runtime.CallersFrames(pc[:runtime.Callers(3, pc[:])])
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, "runtime.") {
			return fmt.Sprintf(" at %s/%s:%d", filepath.Base(filepath.Dir(f.File)), filepath.Base(f.File), f.Line)
		}
		if !more {
			return ""
		}
	}
}
