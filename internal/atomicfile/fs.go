package atomicfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// FS is what this package asks of a file system. Names are paths as the os package takes them.
type FS interface {
	// Lstat describes the file at name itself, also where it is a symbolic link.
	Lstat(name string) (fs.FileInfo, error)
	// Resolve returns name with every symbolic link followed.
	Resolve(name string) (string, error)
	// ReadDir lists the folder at name.
	ReadDir(name string) ([]fs.DirEntry, error)
	// CreateNew makes a file that does not exist yet and opens it for writing; an existing one is an
	// error that matches fs.ErrExist.
	CreateNew(name string, mode fs.FileMode) (Handle, error)
	// Rename gives the file at from the name to, in place of what stood there.
	Rename(from, to string) error
	// Remove deletes the file at name.
	Remove(name string) error
	// SyncDir makes the entries of the folder at name durable.
	SyncDir(name string) error
}

// Handle is a file open for writing.
type Handle interface {
	io.Writer
	// Chmod sets the permission bits.
	Chmod(mode fs.FileMode) error
	// Sync makes the content durable.
	Sync() error
	// Close ends writing; its error counts.
	Close() error
}

// osFS is the file system of the machine.
type osFS struct{}

func (osFS) Lstat(name string) (fs.FileInfo, error)     { return os.Lstat(name) }
func (osFS) Resolve(name string) (string, error)        { return filepath.EvalSymlinks(name) }
func (osFS) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }
func (osFS) Rename(from, to string) error               { return os.Rename(from, to) }
func (osFS) Remove(name string) error                   { return os.Remove(name) }

func (osFS) CreateNew(name string, mode fs.FileMode) (Handle, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// SyncDir counts a file system that cannot sync folders (Windows, some network mounts) as done.
func (osFS) SyncDir(name string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}
