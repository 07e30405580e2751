package runtime

import (
	"sync"

	"github.com/qvitc/qvitc/internal/kernel"
	"github.com/qvitc/qvitc/ir"
)

// weightStore holds the packed weights of a graph in the form of the kernels, by
// the tensor of the graph that they were made from. Programs of one Session share
// it, whatever their shapes.
type weightStore struct {
	mu   sync.Mutex
	made map[weightKey]*kernel.Weights
}

type weightKey struct {
	t     *ir.Tensor
	abits int
}

// weights packs the weight t of n × k codes of w bits for activations of abits
// bits, or finds it.
func (s *weightStore) weights(t *ir.Tensor, w, abits, n, k int) (*kernel.Weights, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := weightKey{t, abits}
	if p := s.made[key]; p != nil {
		return p, nil
	}
	q, err := unpack(t, w, n, k)
	if err != nil {
		return nil, err
	}
	p := kernel.NewWeights(w, abits, n, k, q)
	if s.made == nil {
		s.made = map[weightKey]*kernel.Weights{}
	}
	s.made[key] = p
	return p, nil
}
