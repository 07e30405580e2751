package atomicfile

import (
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing/fstest"
)

// memFS is a file system of one folder, "d", that keeps apart what a program sees and what survives a power cut.
// It counts its changing operations and lets one of them, or all from one on, fail.
type memFS struct {
	files   map[string]*inode // what a program sees
	durable map[string]*inode // names as of the last SyncDir
	log     []string

	failAt   int   // the operation with this number (from 1) fails
	failErr  error // with this error
	stop     bool  // and so does every operation after it: the process is dead
	short    bool  // a failing write takes half of its bytes
	lostSync bool  // Sync does nothing: a planted fault
}

type inode struct {
	data   []byte
	synced int // bytes that are safe
	mode   fs.FileMode
}

func newMemFS(files map[string]string) *memFS {
	m := &memFS{files: map[string]*inode{}, durable: map[string]*inode{}}
	for name, data := range files {
		n := &inode{data: []byte(data), synced: len(data), mode: 0o640}
		m.files[name], m.durable[name] = n, n
	}
	return m
}

// op records one operation and says whether it fails.
func (m *memFS) op(what, name string) error {
	m.log = append(m.log, what)
	if k := len(m.log); m.failAt > 0 && (k == m.failAt || m.stop && k > m.failAt) {
		return &fs.PathError{Op: what, Path: name, Err: m.failErr}
	}
	return nil
}

func (m *memFS) Lstat(name string) (fs.FileInfo, error) {
	mapped := fstest.MapFS{"d": {Mode: fs.ModeDir | 0o755}}
	for n, node := range m.files {
		mapped[n] = &fstest.MapFile{Data: node.data, Mode: node.mode}
	}
	return mapped.Stat(filepath.ToSlash(name))
}

func (m *memFS) Resolve(name string) (string, error)   { return name, nil }
func (m *memFS) ReadDir(string) ([]fs.DirEntry, error) { return nil, fs.ErrInvalid }
func (m *memFS) temps() (names []string)               { return temps(m.files) }
func temps(files map[string]*inode) (names []string) {
	for n := range files {
		if strings.Contains(n, tempMark) {
			names = append(names, n)
		}
	}
	return names
}

func (m *memFS) CreateNew(name string, mode fs.FileMode) (Handle, error) {
	if err := m.op("create", name); err != nil {
		return nil, err
	}
	name = filepath.ToSlash(name)
	if m.files[name] != nil {
		return nil, fs.ErrExist
	}
	n := &inode{mode: mode}
	m.files[name] = n
	return &memHandle{m, n, name}, nil
}

func (m *memFS) Rename(from, to string) error {
	if err := m.op("rename", from); err != nil {
		return err
	}
	from, to = filepath.ToSlash(from), filepath.ToSlash(to)
	m.files[to] = m.files[from]
	delete(m.files, from)
	return nil
}

func (m *memFS) Remove(name string) error {
	if err := m.op("remove", name); err != nil {
		return err
	}
	delete(m.files, filepath.ToSlash(name))
	return nil
}

func (m *memFS) SyncDir(name string) error {
	if err := m.op("syncdir", name); err != nil {
		return err
	}
	m.durable = map[string]*inode{}
	for n, node := range m.files {
		m.durable[n] = node
	}
	return nil
}

type memHandle struct {
	m    *memFS
	n    *inode
	name string
}

func (h *memHandle) Write(p []byte) (int, error) {
	if err := h.m.op("write", h.name); err != nil {
		if h.m.short {
			h.n.data = append(h.n.data, p[:len(p)/2]...)
			return len(p) / 2, err
		}
		return 0, err
	}
	h.n.data = append(h.n.data, p...)
	return len(p), nil
}

func (h *memHandle) Chmod(mode fs.FileMode) error {
	if err := h.m.op("chmod", h.name); err != nil {
		return err
	}
	h.n.mode = mode
	return nil
}

func (h *memHandle) Sync() error {
	if err := h.m.op("sync", h.name); err != nil {
		return err
	}
	if !h.m.lostSync {
		h.n.synced = len(h.n.data)
	}
	return nil
}

func (h *memHandle) Close() error { return h.m.op("close", h.name) }

// powerCut returns the content that the name may show after the power comes back: the folder entry is the durable
// or the newest one, and each 512-byte block that was not synced is kept, zeroed, torn or cut off with all after it.
func (m *memFS) powerCut(name string, r *rand.Rand) (string, bool) {
	n := m.durable[name]
	if r.IntN(2) == 0 {
		n = m.files[name]
	}
	if n == nil {
		return "", false
	}
	data := slices.Clone(n.data)
	for at := n.synced; at < len(data); at += 512 {
		block := data[at:min(at+512, len(data))]
		switch r.IntN(4) {
		case 1:
			clear(block)
		case 2:
			clear(block[r.IntN(len(block)):])
		case 3:
			return string(data[:at]), true
		}
	}
	return string(data), true
}
