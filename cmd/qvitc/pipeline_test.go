package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/qvitc/qvitc/dataset"
	"github.com/qvitc/qvitc/distill"
	"github.com/qvitc/qvitc/export"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/passes"
	"github.com/qvitc/qvitc/quantize"
)

// The whole pipeline through the packages, without the command: a Go program
// that compresses a model reads like docs/architecture.md.
func Example_pipeline() {
	ctx := context.Background()
	must := func(err error) {
		if err != nil {
			fmt.Println(err)
			runtime.Goexit()
		}
	}
	root := filepath.Join("..", "..", "testdata")
	g, err := onnxio.Load(filepath.Join(root, "onnx", "deit-fmnist.onnx"), onnxio.Options{})
	must(err)
	driver := &passes.Driver{Check: true}
	_, err = driver.Run(g, passes.Clean)
	must(err)

	set, err := dataset.Open(filepath.Join(root, "fashion-mnist"), dataset.OpenOptions{})
	must(err)
	defer set.Close()
	train, err := set.Split(dataset.Train)
	must(err)
	shape := dataset.Shape{C: 1, H: 28, W: 28}
	prep, err := dataset.Resolve("fmnist", set, shape)
	must(err)
	loader, err := dataset.NewLoader(train.Take(128, 0), prep, shape, dataset.LoaderOptions{Batch: 32, Seed: 1, Shuffle: true})
	must(err)

	student, _ := g.Clone()
	_, err = driver.Run(student, passes.Quantize(passes.DefaultPlan(4, 4)))
	must(err)
	first, err := loader.Batch(0, 0)
	must(err)
	_, err = quantize.Calibrate(ctx, student, quantize.SliceBatches(first.X, 28*28, 32), quantize.CalibrateOptions{})
	must(err)
	trained, err := distill.Train(ctx, distill.Job{Student: student, Teacher: g, Data: loader})
	must(err)

	packed, err := export.Packed(student)
	must(err)
	dir, err := os.MkdirTemp("", "example")
	must(err)
	defer os.RemoveAll(dir)
	written, err := export.Write(ctx, filepath.Join(dir, "deit.w4a4.onnx"), packed, export.Options{
		Student: student, Samples: []map[string]*ir.Tensor{{g.Inputs[0].Name: ir.Of(first.X, 32, 1, 28, 28)}},
	})
	must(err)
	fmt.Println(trained.Steps, "steps; a fifth of the size:", written.Bytes < 2_775_000/5)
	// Output:
	// 4 steps; a fifth of the size: true
}
