package qvitc_test

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"strings"
	"testing"

	"github.com/qvitc/qvitc"
)

// trousers is a picture of 28×28 pixels: a waistband and two legs.
func trousers() image.Image {
	img := image.NewGray(image.Rect(0, 0, 28, 28))
	for y := 1; y < 27; y++ {
		for x := 8; x < 20; x++ {
			if y < 7 || x < 13 || x > 14 {
				img.SetGray(x, y, color.Gray{Y: 200})
			}
		}
	}
	return img
}

// Classify a picture with a small model trained on Fashion-MNIST.
func Example() {
	m, err := qvitc.Load("testdata/onnx/deit-fmnist.onnx", qvitc.Options{Threads: 2, Preprocess: "mean=0.2856 std=0.3533 resize=28 crop=28"})
	if err != nil {
		fmt.Println(err)
		return
	}
	classes, err := m.Classify(context.Background(), trousers(), 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	names := []string{"T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"}
	fmt.Println(names[classes[0].Index])
	// Output: trouser
}

func TestLoadErrors(t *testing.T) {
	const path = "testdata/onnx/deit-fmnist.onnx"
	for _, c := range []struct {
		path, prep, want string
	}{
		{"testdata/onnx/none.onnx", "", "none.onnx"},
		{path, "mean=x", "mean=x"},
	} {
		_, err := qvitc.Load(c.path, qvitc.Options{Preprocess: c.prep})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s %s: %v", c.path, c.prep, err)
		}
	}
	m, err := qvitc.Load(path, qvitc.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Classify(context.Background(), trousers(), 1); err == nil || !strings.Contains(err.Error(), "Options.Preprocess") {
		t.Errorf("without preprocessing: %v", err)
	}
}

func TestClassify(t *testing.T) {
	m, err := qvitc.Load("testdata/onnx/deit-fmnist.onnx", qvitc.Options{Preprocess: "mean=0.2856 std=0.3533 resize=28 crop=28"})
	if err != nil {
		t.Fatal(err)
	}
	classes, err := m.Classify(context.Background(), trousers(), 100)
	if err != nil || len(classes) != 10 {
		t.Fatalf("%v %v", classes, err)
	}
	var sum float32
	for i, c := range classes {
		sum += c.Probability
		if i > 0 && c.Logit > classes[i-1].Logit {
			t.Errorf("class %d is not in order", i)
		}
	}
	if sum < 0.999 || sum > 1.001 {
		t.Errorf("probabilities add up to %v", sum)
	}
}
