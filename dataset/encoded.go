package dataset

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"runtime"
	"sync"

	"github.com/qvitc/qvitc/internal/guard"
)

// encoded is a source of image files, on disk or in an archive.
type encoded struct {
	names  []string // one an image, for messages
	limits limits
	bytes  int64               // of all files together
	hashes [][sha256.Size]byte // of the bytes that check read: the whole file, or its head where the files are too many
	whole  bool                // check read whole files

	// read returns the first n bytes of the k-th file, all where n is 0; a file of more than
	// limits.imageBytes is an error.
	read func(k int, n int64) ([]byte, error)
}

// hashBudget bounds how many bytes of image files are read whole, to hash them and to find pictures that occur twice.
const hashBudget = 512 << 20

// headBytes is how much of a file is read at first where only its header is wanted.
const headBytes = 64 << 10

func (e *encoded) name(k int) string { return e.names[k] }

func (e *encoded) digest(k int) uint64 {
	if !e.whole {
		return 0
	}
	return binary.LittleEndian.Uint64(e.hashes[k][:]) | 1
}

func (e *encoded) hash(k int) [sha256.Size]byte { return e.hashes[k] }

func (e *encoded) load(k int) (pixels, error) {
	data, err := e.read(k, 0)
	if err != nil {
		return pixels{}, err
	}
	img, _, err := e.limits.decode(data)
	return pixels{img: img}, err
}

// check reads the header of every image. It returns the largest side seen and one error an image, nil where the
// header is sound.
func (e *encoded) check(ctx context.Context) (side int, errs []error, err error) {
	errs = make([]error, len(e.names))
	sides := make([]int, len(e.names))
	head := int64(headBytes)
	if e.whole = e.bytes <= hashBudget; e.whole {
		head = 0
	}
	e.hashes = make([][sha256.Size]byte, len(e.names))
	err = parallel(ctx, len(e.names), func(k int) error {
		data, err := e.read(k, head)
		if err != nil {
			errs[k] = err
			return nil
		}
		e.hashes[k] = sha256.Sum256(data)
		cfg, _, err := e.limits.config(data)
		if err != nil && head > 0 && int64(len(data)) == head {
			if data, err = e.read(k, 0); err == nil {
				cfg, _, err = e.limits.config(data)
			}
		}
		errs[k], sides[k] = err, max(cfg.Width, cfg.Height)
		return nil
	})
	for k, s := range sides {
		if errs[k] == nil {
			side = max(side, s)
		}
	}
	return side, errs, err
}

// parallel calls f for 0 to n-1 on all cores and waits. It returns the error of the lowest k that failed, or that of
// the context once it is done.
func parallel(ctx context.Context, n int, f func(k int) error) error {
	var (
		mu    sync.Mutex
		next  int
		first = n
		err   error
		wg    sync.WaitGroup
	)
	take := func() int {
		mu.Lock()
		defer mu.Unlock()
		if next >= first || ctx.Err() != nil {
			return n
		}
		next++
		return next - 1
	}
	for range min(runtime.GOMAXPROCS(0), n) {
		wg.Go(func() {
			for k := take(); k < n; k = take() {
				if e := guard.Call(func() error { return f(k) }); e != nil {
					mu.Lock()
					if k < first {
						first, err = k, e
					}
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if err == nil {
		err = ctx.Err()
	}
	return err
}
