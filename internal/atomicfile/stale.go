package atomicfile

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// RemoveStale deletes temporary files that killed runs left beside path: those of the same target that are older
// than before. It returns the names it removed.
func RemoveStale(path string, before time.Time, opts ...Option) ([]string, error) {
	f := &File{fs: osFS{}, path: path, target: path}
	for _, o := range opts {
		o(f)
	}
	if real, err := f.fs.Resolve(path); err == nil {
		f.target = real
	}
	dir, base := filepath.Split(f.target)
	if dir == "" {
		dir = "."
	}
	if len(base) > maxBase {
		base = base[:maxBase]
	}
	entries, err := f.fs.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot list the folder of %q: %w", path, cause(err))
	}
	var removed []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "."+base+tempMark) || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if err != nil || !info.ModTime().Before(before) {
			continue
		}
		name := filepath.Join(dir, e.Name())
		if err := f.fs.Remove(name); err != nil {
			return removed, fmt.Errorf("cannot remove the stale file %q: %w", name, cause(err))
		}
		removed = append(removed, name)
	}
	return removed, nil
}
