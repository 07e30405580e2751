// Package dataset reads images for calibration, training and evaluation, and turns them into the batches a model
// takes.
//
// Three steps, each a value:
//
//	set, err := dataset.Open("testdata/fashion-mnist", dataset.OpenOptions{})
//	train, err := set.Split(dataset.Train)                       // eval images are never among them
//	prep, err := dataset.Resolve("auto", set, dataset.Shape{C: 1, H: 28, W: 28})
//	loader, err := dataset.NewLoader(train, prep, dataset.Shape{C: 1, H: 28, W: 28},
//		dataset.LoaderOptions{Batch: 64, Seed: 1, Shuffle: true, DropLast: true})
//	batch, err := loader.Batch(epoch, i)                         // X [64,1,28,28], Labels [64]
//
// prep prints as "mean=0.286 std=0.353 resize=28 crop=28 interp=bicubic" and that text parses back, so it can
// travel inside an exported model.
//
// A batch is a function of the seed, the epoch and its number alone: a run that resumes sees the same images
// in the same order with the same augmentation, on any machine and with any number of cores.
//
// Augment changes training images: crops, flips, RandAugment, erasing, mixup and cutmix. Pictures are decoded once and kept as bytes.
//
// DecodeImage turns photos upright, as their Exif data says. Open tells the format by content: IDX files, image files in class folders or flat, tar archives of such folders,
// NPY and NPZ arrays. Nothing is unpacked to disk. An image is measured before it is decoded; the few that are
// broken are skipped and named, more than one in a hundred are an error.
package dataset
