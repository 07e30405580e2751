package bench

import (
	"context"
	_ "embed" // the script
	"encoding/json"
)

//go:embed torch_qat.py
var torchScript string

// TorchOptions are the sizes of the DeiT that PyTorch is to train.
type TorchOptions struct {
	Python   string `json:"-"` // interpreter with the package torch; "python3"
	Dim      int    `json:"dim"`
	Depth    int    `json:"depth"`
	Heads    int    `json:"heads"`
	Patch    int    `json:"patch"`
	Image    int    `json:"image"`
	Channels int    `json:"channels"`
	Classes  int    `json:"classes"`
	Weights  int    `json:"weights"` // bits; 0: float training
	Acts     int    `json:"acts"`
	Batch    int    `json:"batch"`
	Threads  int    `json:"threads"`
}

// StartTorch starts training steps of PyTorch in eager mode as a child: forward,
// cross-entropy, backward, gradient clip and Adam on one random batch.
func StartTorch(ctx context.Context, o TorchOptions) (*Child, error) {
	if o.Python == "" {
		o.Python = "python3"
	}
	b, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	return Start(ctx, o.Python, "-c", torchScript, "serve", string(b))
}
