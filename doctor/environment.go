package doctor

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/qvitc/qvitc/internal/kernel"
	"golang.org/x/sys/cpu"
)

// Environment is what the machine offers.
type Environment struct {
	Platform string   `json:"platform"` // "linux/amd64"
	Go       string   `json:"go"`
	Features []string `json:"cpu_features"` // those that kernels ask for
	Kernels  string   `json:"kernels"`      // the set in use
	Cores    int      `json:"cores"`
	Threads  int      `json:"threads"`                // that run at once
	Memory   int64    `json:"memory_bytes,omitempty"` // of the machine; 0 where it is not known
	Free     int64    `json:"memory_available_bytes,omitempty"`
	// Runtimes lists the ONNX Runtimes found; they serve checks, qvitc needs none.
	Runtimes []FoundRuntime `json:"onnxruntime"`
}

// FoundRuntime is an installed ONNX Runtime.
type FoundRuntime struct {
	Language string `json:"language"` // "python", "node"
	Version  string `json:"version"`
	Path     string `json:"path"`
}

// Look describes the machine. python and node name the interpreters that may
// have ONNX Runtime; "" leaves one out. It takes at most ten seconds for each.
func Look(ctx context.Context, python, node string) Environment {
	e := Environment{
		Platform: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(), Features: features(), Kernels: kernel.Name(),
		Cores: runtime.NumCPU(), Threads: runtime.GOMAXPROCS(0), Runtimes: []FoundRuntime{},
	}
	e.Memory, e.Free = memory()
	for _, r := range []struct{ language, command, flag, script string }{
		{"python", python, "-c", "import onnxruntime as o; print(o.__version__); print(o.__file__)"},
		{"node", node, "-e", "const o='onnxruntime-node'; console.log(require(o+'/package.json').version); console.log(require.resolve(o))"},
	} {
		if r.command == "" {
			continue
		}
		if version, path, ok := ask(ctx, r.command, r.flag, r.script); ok {
			e.Runtimes = append(e.Runtimes, FoundRuntime{r.language, version, path})
		}
	}
	return e
}

// ask runs a script that prints a version and a path.
func ask(ctx context.Context, command, flag, script string) (version, path string, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c := exec.CommandContext(ctx, command, flag, script)
	c.WaitDelay = time.Second
	out, err := c.Output()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err != nil || len(lines) < 2 {
		return "", "", false
	}
	return strings.TrimSpace(lines[0]), strings.TrimSpace(lines[1]), true
}

// features lists the processor features that decide which kernels run.
func features() []string {
	all := []struct {
		name string
		has  bool
	}{
		{"sse4.1", cpu.X86.HasSSE41}, {"avx2", cpu.X86.HasAVX2}, {"fma", cpu.X86.HasFMA}, {"avxvnni", cpu.X86.HasAVXVNNI},
		{"avx512f", cpu.X86.HasAVX512F}, {"avx512bw", cpu.X86.HasAVX512BW}, {"avx512vnni", cpu.X86.HasAVX512VNNI},
		{"neon", cpu.ARM64.HasASIMD}, {"dotprod", cpu.ARM64.HasASIMDDP},
	}
	out := []string{}
	for _, f := range all {
		if f.has {
			out = append(out, f.name)
		}
	}
	return out
}

// memory reads what the kernel says; zeros where it does not.
func memory() (total, free int64) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		n, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			continue
		}
		switch f[0] {
		case "MemTotal:":
			total = n << 10
		case "MemAvailable:":
			free = n << 10
		}
	}
	return total, free
}
