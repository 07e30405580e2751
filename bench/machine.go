package bench

import (
	"fmt"
	"os"
	"runtime"
	"strings"
)

// Machine names the processor, how many of its cores this process may use, the
// system and the Go version, on one line.
func Machine() string {
	cpu := "unknown processor"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		cpu = model(string(b), cpu)
	}
	return fmt.Sprintf("%s, %d cores, %s/%s, %s", cpu, runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
}

// model finds the processor's name in a cpuinfo file.
func model(info, otherwise string) string {
	for line := range strings.Lines(info) {
		key, value, ok := strings.Cut(line, ":")
		if ok && strings.TrimSpace(key) == "model name" && strings.TrimSpace(value) != "" {
			return strings.TrimSpace(value)
		}
	}
	return otherwise
}
