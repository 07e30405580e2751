package dataset_test

import (
	"fmt"

	"github.com/qvitc/qvitc/dataset"
)

func Example() {
	set, err := dataset.Open("../testdata/fashion-mnist", dataset.OpenOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer set.Close()
	train, _ := set.Split(dataset.Train)
	eval, _ := set.Split(dataset.Eval)
	fmt.Println(train.Len(), "images to train on,", eval.Len(), "to evaluate on")

	shape := dataset.Shape{C: 1, H: 28, W: 28}
	prep, _ := dataset.Resolve("fmnist", set, shape)
	fmt.Println(prep)

	loader, _ := dataset.NewLoader(train, prep, shape, dataset.LoaderOptions{Batch: 64, Seed: 1, Shuffle: true, DropLast: true})
	batch, _ := loader.Batch(0, 0)
	fmt.Println(loader.Batches(), "batches of", batch.N, "with", len(batch.X), "values")
	// Output:
	// 18000 images to train on, 2500 to evaluate on
	// mean=0.286 std=0.353 resize=28 crop=28 interp=bicubic
	// 281 batches of 64 with 50176 values
}
