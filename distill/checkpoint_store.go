package distill

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/qvitc/qvitc/internal/atomicfile"
	"github.com/qvitc/qvitc/ir"
)

// store keeps the checkpoints of one run: BASE.step-00000120, the last two.
type store struct {
	base string
	fs   atomicfile.FS // nil: the machine's
	own  []int         // steps of the checkpoints of this run, oldest first
}

const keepCheckpoints = 2

const stepMark = ".step-"

func (s store) options() []atomicfile.Option {
	if s.fs == nil {
		return nil
	}
	return []atomicfile.Option{atomicfile.WithFS(s.fs)}
}

func (s store) name(step int) string { return fmt.Sprintf("%s%s%08d", s.base, stepMark, step) }

// save writes the checkpoint, then removes all files of this base but the last
// two of this run: others are of a run that was not gone on with, or damaged. A
// file that cannot be removed is left.
func (s *store) save(c *checkpoint) (string, error) {
	path := s.name(c.Step)
	if err := atomicfile.WriteFile(path, c.write, s.options()...); err != nil {
		return "", err
	}
	if !slices.Contains(s.own, c.Step) {
		s.own = append(s.own, c.Step)
	}
	s.own = s.own[max(0, len(s.own)-keepCheckpoints):]
	found, err := s.list()
	if err != nil {
		return path, nil
	}
	for _, f := range found {
		if !slices.Contains(s.own, f.step) {
			s.remove(f.path)
		}
	}
	return path, nil
}

func (s store) remove(path string) {
	if s.fs != nil {
		s.fs.Remove(path)
		return
	}
	os.Remove(path)
}

type savedStep struct {
	path string
	step int
}

// list gives the checkpoints on disk, newest first.
func (s store) list() ([]savedStep, error) {
	dir, base := filepath.Split(s.base)
	entries, err := s.readDir(dir)
	var out []savedStep
	for _, e := range entries {
		digits, ok := strings.CutPrefix(e.Name(), base+stepMark)
		if !ok || len(digits) < 8 || strings.Trim(digits, "0123456789") != "" {
			continue
		}
		step, err := strconv.Atoi(digits)
		if err != nil {
			continue
		}
		out = append(out, savedStep{filepath.Join(dir, e.Name()), step})
	}
	slices.SortFunc(out, func(a, b savedStep) int { return cmp.Compare(b.step, a.step) })
	return out, err
}

func (s store) readDir(dir string) (entries []fs.DirEntry, err error) {
	if dir == "" {
		dir = "."
	}
	if s.fs != nil {
		entries, err = s.fs.ReadDir(dir)
	} else {
		entries, err = os.ReadDir(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list the checkpoints %q: %w", s.base, unwrapPath(err))
	}
	return entries, nil
}

// ErrResume tells that there are checkpoints, but none of this run that is whole.
var ErrResume = errors.New("cannot resume")

// load gives the newest checkpoint that is whole and passes fits, and one line
// for each newer one that was skipped. c is nil when there are no checkpoints;
// where none of them fits the error says why the newest does not, and what to do.
func (s *store) load(fits func(*checkpoint) error) (c *checkpoint, path string, skipped []string, err error) {
	found, err := s.list()
	if err != nil || len(found) == 0 {
		return nil, "", nil, err
	}
	var newest error
	for _, f := range found {
		c, err := readFile(f.path)
		if err == nil {
			err = fits(c)
		}
		if err == nil {
			s.own = []int{f.step}
			return c, f.path, skipped, nil
		}
		err = fmt.Errorf("%w from %q: %w", ErrResume, f.path, err)
		skipped = append(skipped, err.Error())
		if newest == nil {
			newest = err
		}
	}
	return nil, "", nil, &ir.Error{Err: newest, Hint: "resume with the command, the data and the version of qvitc that began the run, or start again without --resume or under another --checkpoint"}
}

func readFile(path string) (*checkpoint, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, unwrapPath(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, unwrapPath(err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	return readCheckpoint(f, info.Size())
}

func unwrapPath(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// clean removes temporary files that runs of this base left behind when they
// were killed before the given time.
func (s store) clean(before time.Time) {
	dir, base := filepath.Split(s.base)
	entries, err := s.readDir(dir)
	if err != nil {
		return
	}
	done := map[string]bool{}
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), "."+base+stepMark)
		digits, _, _ := strings.Cut(rest, ".")
		if !ok || strings.Trim(digits, "0123456789") != "" || done[digits] {
			continue
		}
		done[digits] = true
		atomicfile.RemoveStale(s.base+stepMark+digits, before, s.options()...)
	}
}

// Checkpoints lists the checkpoint files of a base name, newest first.
func Checkpoints(base string) ([]string, error) {
	found, err := (store{base: base}).list()
	var out []string
	for _, f := range found {
		out = append(out, f.path)
	}
	return out, err
}

// RemoveCheckpoints deletes the checkpoint files of a base name, as a caller does
// when the result has been written.
func RemoveCheckpoints(base string) error {
	found, err := (store{base: base}).list()
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range found {
		errs = append(errs, os.Remove(f.path))
	}
	return errors.Join(errs...)
}
