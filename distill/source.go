package distill

import "github.com/qvitc/qvitc/dataset"

// Source gives the batches of a data set; *dataset.Loader is one. Batch must be a
// function of its arguments alone, so that a resumed run sees what the
// uninterrupted one would have. It is called from one goroutine at a time.
type Source interface {
	Batches() int // of an epoch
	Batch(epoch, i int) (*dataset.Batch, error)
}

// filler is a Source that can use a batch's memory again.
type filler interface {
	Fill(b *dataset.Batch, epoch, i int) error
}

var _ interface {
	Source
	filler
} = (*dataset.Loader)(nil)
