package bench

import (
	"bytes"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
)

// Memory is what a process occupies, in bytes.
type Memory struct {
	Resident int64 // now
	Peak     int64 // at most since the start of the process; 0 where the system does not tell
}

// Resident measures this process after a garbage collection that gives free
// memory back to the system. Where the system does not tell (other than Linux),
// Resident is what the Go runtime holds.
func Resident() Memory {
	debug.FreeOSMemory()
	if m, ok := procMemory("/proc/self/status"); ok {
		return m
	}
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return Memory{Resident: int64(s.Sys - s.HeapReleased)}
}

// procMemory reads the lines VmRSS and VmHWM of a Linux status file.
func procMemory(path string) (m Memory, ok bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return m, false
	}
	for line := range bytes.Lines(b) {
		w := bytes.Fields(line)
		if len(w) != 3 || string(w[2]) != "kB" {
			continue
		}
		n, err := strconv.ParseInt(string(w[1]), 10, 64)
		if err != nil {
			continue
		}
		switch string(w[0]) {
		case "VmRSS:":
			m.Resident, ok = n<<10, true
		case "VmHWM:":
			m.Peak = n << 10
		}
	}
	return m, ok
}
