// Package distill fine-tunes a quantised student graph against its float
// teacher: the training half of Q-ViT (NeurIPS 2022).
//
// The student is an ordinary ir.Graph with FakeQuant nodes whose scales have been
// calibrated. Params names the constants that train; Train changes them in place.
// The loss is a weighted sum of cross-entropy with the labels, cross-entropy with
// the teacher's arg-max, the KL divergence from the teacher's logits, DGD, the distance
// between the token similarity matrices of queries and keys, and the distance between
// the outputs of the blocks:
//
//	r, err := distill.Train(ctx, distill.Job{
//		Student: student, Teacher: teacher, Data: loader,
//		Taps: []distill.TapPair{{q, k, teacherQ, teacherK}, ...},
//		Features: []distill.FeaturePair{{block, teacherBlock}, ...},
//		Options: distill.Options{
//			Epochs: 1.25, LR: 1e-3,
//			DGD:        distill.DGD{Mode: distill.DGDPaper, Lambda: 1},
//			Features:   14,
//			Checkpoint: "deit.ckpt", CheckpointEvery: 500, Resume: true,
//		},
//		Progress: func(s distill.Step) { fmt.Printf("%d/%d loss %.4f\n", s.Step, s.Steps, s.Recent.Total) },
//	})
//
// prints lines such as
//
//	120/586 loss 0.4127
//
// A job without a teacher and with Loss{Hard: 1} trains a float graph on labels:
// that is how teachers are made. Labels may be smoothed and mixed, parameters
// frozen, branches skipped (DropPath), and Epoch sees the result so far.
//
// A batch is cut into shards that depend on the batch alone, and every sum is
// taken in a fixed order: the same job gives the same bytes with one core or
// sixty-four. A run that was interrupted or killed and is resumed ends with the
// bytes of the uninterrupted one.
package distill
