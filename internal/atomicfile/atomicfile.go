package atomicfile

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// tempMark separates the target's name from the random part in the name of a temporary file.
const tempMark = ".qvitc-tmp-"

// maxBase keeps the name of the temporary file within the 255 bytes that file systems allow.
const maxBase = 200

// Option changes how a file is written.
type Option func(*File)

// WithFS writes through fsys instead of the machine's file system.
func WithFS(fsys FS) Option { return func(f *File) { f.fs = fsys } }

// NoLink refuses a target that is a symbolic link, for names that the program made up itself: what such a link
// leads to is nobody's choice.
func NoLink() Option { return func(f *File) { f.noLink = true } }

// File is a file being written. It takes its name at Commit; until then the target stays as it is.
// It is not safe for use by several goroutines.
type File struct {
	fs     FS
	path   string // as the caller gave it, for messages
	target string // links followed
	temp   string
	noLink bool
	handle Handle // nil once closed
	buf    *bufio.Writer
	err    error // the first failure; every later step returns it
	done   bool  // committed or aborted
}

// WriteFile writes what the function write puts out to the file at path, whole or not at all.
// The error of write is returned as it is.
func WriteFile(path string, write func(io.Writer) error, opts ...Option) error {
	f, err := Create(path, opts...)
	if err != nil {
		return err
	}
	defer f.Abort()
	if err := write(f); err != nil {
		return err
	}
	return f.Commit()
}

// Create checks that path can be written and opens a temporary file beside it. A target that is a folder, a
// device or read-only and a missing folder are refused here, before any work is done. The new file gets the
// permissions of the one it replaces, else 0666 less the umask. A symbolic link stays and the file that it
// leads to is replaced. The caller must end with Commit or Abort.
func Create(path string, opts ...Option) (*File, error) {
	f := &File{fs: osFS{}, path: path}
	for _, o := range opts {
		o(f)
	}
	mode, exists, err := f.resolve()
	if err != nil {
		return nil, err
	}
	base := filepath.Base(f.target)
	if len(base) > maxBase {
		base = base[:maxBase]
	}
	for range 100 {
		var random [6]byte
		rand.Read(random[:])
		f.temp = filepath.Join(filepath.Dir(f.target), "."+base+tempMark+hex.EncodeToString(random[:]))
		f.handle, err = f.fs.CreateNew(f.temp, 0o666)
		if !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("cannot write %q: create a file in its folder: %w", path, cause(err))
	}
	f.buf = bufio.NewWriterSize(f.handle, 256<<10)
	if exists {
		if err := f.handle.Chmod(mode); err != nil {
			err = f.fail("set permissions", err)
			f.Abort()
			return nil, err
		}
	}
	return f, nil
}

// resolve sets f.target and returns the permissions of the file that stands there.
func (f *File) resolve() (mode fs.FileMode, exists bool, err error) {
	if f.path == "" {
		return 0, false, errors.New("cannot write a file: the name is empty")
	}
	f.target = f.path
	info, err := f.fs.Lstat(f.target)
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		if f.noLink {
			return 0, false, fmt.Errorf("cannot write %q: it is a symbolic link; remove it", f.path)
		}
		if f.target, err = f.fs.Resolve(f.path); err != nil {
			return 0, false, fmt.Errorf("cannot write %q: a symbolic link that leads nowhere", f.path)
		}
		info, err = f.fs.Lstat(f.target)
	}
	switch {
	case err == nil && info.IsDir():
		return 0, false, fmt.Errorf("cannot write %q: it is a folder; name a file", f.path)
	case err == nil && !info.Mode().IsRegular():
		return 0, false, fmt.Errorf("cannot write %q: it is a device, pipe or socket; name a file", f.path)
	case err == nil && info.Mode().Perm()&0o200 == 0:
		return 0, false, fmt.Errorf("cannot write %q: it is read-only", f.path)
	case err == nil:
		return info.Mode().Perm(), true, nil
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR):
		return 0, false, fmt.Errorf("cannot write %q: %w", f.path, cause(err))
	}
	if strings.HasSuffix(f.path, "/") || strings.HasSuffix(f.path, string(filepath.Separator)) {
		return 0, false, fmt.Errorf("cannot write %q: it names a folder; name a file", f.path)
	}
	dir := filepath.Dir(f.target)
	info, err = f.fs.Lstat(dir)
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		if dir, err = f.fs.Resolve(dir); err == nil {
			info, err = f.fs.Lstat(dir)
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, false, fmt.Errorf("cannot write %q: the folder %q does not exist", f.path, filepath.Dir(f.path))
	case err != nil:
		return 0, false, fmt.Errorf("cannot write %q: %w", f.path, cause(err))
	case !info.IsDir():
		return 0, false, fmt.Errorf("cannot write %q: %q is not a folder", f.path, filepath.Dir(f.path))
	}
	return 0, false, nil
}

// Write adds p to the file. Small writes are gathered, so an error may come with a later call.
func (f *File) Write(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	if f.handle == nil {
		return 0, fmt.Errorf("cannot write %q: the file is sealed", f.path)
	}
	n, err := f.buf.Write(p)
	if err != nil {
		return n, f.fail("write", err)
	}
	return n, nil
}

// TempName returns the path of the temporary file. It holds all that was written once Seal has returned nil.
func (f *File) TempName() string { return f.temp }

// Seal flushes, syncs and closes the temporary file. Nothing can be written after it. A second call does nothing.
func (f *File) Seal() error {
	if f.err != nil || f.handle == nil {
		return f.err
	}
	if err := f.buf.Flush(); err != nil {
		return f.fail("write", err)
	}
	if err := f.handle.Sync(); err != nil {
		return f.fail("sync", err)
	}
	err := f.handle.Close()
	f.handle = nil
	if err != nil {
		return f.fail("close", err)
	}
	return nil
}

// Commit seals the file, renames it to its target and syncs the folder. After an error the temporary file is gone;
// the target is what it was, but for a failed sync of the folder: then the new file stands whole under its name
// and only its surviving a power cut is in doubt, which the message says.
func (f *File) Commit() error {
	if f.done {
		if f.err != nil {
			return f.err
		}
		return fmt.Errorf("cannot write %q: already committed or aborted", f.path)
	}
	if err := f.Seal(); err != nil {
		f.Abort()
		return err
	}
	if err := f.fs.Rename(f.temp, f.target); err != nil {
		err = f.fail("rename", err)
		f.Abort()
		return err
	}
	f.done = true
	if err := f.fs.SyncDir(filepath.Dir(f.target)); err != nil {
		f.err = fmt.Errorf("wrote %q, but its folder could not be synced and a power cut may lose it: %w", f.path, cause(err))
		return f.err
	}
	return nil
}

// Abort removes the temporary file and leaves the target as it was. After Commit or Abort it does nothing.
func (f *File) Abort() {
	if f.done {
		return
	}
	f.done = true
	if f.handle != nil {
		f.handle.Close()
		f.handle = nil
	}
	f.fs.Remove(f.temp)
}

// fail remembers the first failure, in words that name the file and the step.
func (f *File) fail(step string, err error) error {
	f.err = fmt.Errorf("cannot write %q: %s: %w", f.path, step, cause(err))
	return f.err
}

// cause strips the path from an error of the os package: messages name the caller's path, not the temporary one.
func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	var le *os.LinkError
	if errors.As(err, &le) {
		return le.Err
	}
	return err
}
