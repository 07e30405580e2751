package main

import (
	"runtime/pprof"

	"github.com/qvitc/qvitc/internal/atomicfile"
)

// startProfile begins the CPU profile that was asked for, if any. stop ends it;
// the file then appears, unless what was measured failed with err.
func (o *benchFlags) startProfile() (stop func(err error) error, err error) {
	if o.profile == "" {
		return func(err error) error { return err }, nil
	}
	f, err := atomicfile.Create(o.profile)
	if err != nil {
		return nil, fail(exitIO, err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		f.Abort()
		return nil, fail(exitIO, err)
	}
	return func(err error) error {
		pprof.StopCPUProfile()
		if err != nil {
			f.Abort()
			return err
		}
		return fail(exitIO, f.Commit())
	}, nil
}
