package serve

import (
	"context"
	"fmt"
	"testing"

	"github.com/qvitc/qvitc/dataset"
	"github.com/qvitc/qvitc/zoo"
)

// A Swin shows the blocks whose windows are not shifted, each over the whole image.
func TestAttentionOfSwin(t *testing.T) {
	g, err := zoo.Swin{Dim: 12, Depths: []int{2, 2}, Heads: []int{3, 6}, Window: 4, Patch: 2, Image: 16, Channels: 3, Classes: 5}.Graph(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	a := newAttender(Model{Name: "swin", Graph: g, Shape: dataset.Shape{C: 3, H: 16, W: 16}})
	x := make([]float32, 3*16*16)
	for i := range x {
		x[i] = float32(i%23)/11 - 1
	}
	m, logits, err := a.run(context.Background(), x)
	if err != nil {
		t.Fatal(err)
	}
	if len(logits) != 5 {
		t.Errorf("%d logits", len(logits))
	}
	have := ""
	for _, b := range m.Blocks {
		have += fmt.Sprintf("%d:%s %d; ", b.Block, b.Kind, b.Side)
		if len(b.Map) != b.Side*b.Side {
			t.Errorf("block %d has a map of %d", b.Block, len(b.Map))
		}
	}
	if want := "0:received 8; 2:received 4; 3:received 4; "; have != want {
		t.Errorf("blocks %s, want %s", have, want)
	}
}

// Windows lie in rows over the image.
func TestReceived(t *testing.T) {
	p := make([]float32, 4*1*4*4) // 2 x 2 windows of 2 x 2 patches; all look at patch w of window w
	for w := range 4 {
		for row := range 4 {
			p[(w*4+row)*4+w] = 1
		}
	}
	m := mapOf(p, []int{4, 1, 4, 4}, 0)
	want := "[1 0 0 1 0 0 0 0 0 0 0 0 1 0 0 1]"
	if m == nil || fmt.Sprint(m.Map) != want {
		t.Errorf("%v, want %s", m, want)
	}
	if m := mapOf(p, []int{4, 1, 4, 4}, 1); m != nil {
		t.Error("a shifted block gives a map")
	}
	for _, shape := range [][]int{{4, 4}, {1, 4, 2, 4}, {3, 1, 4, 4}, {1, 1, 7, 7}} {
		if mapOf(p, shape, 0) != nil {
			t.Errorf("%v gives a map", shape)
		}
	}
}
