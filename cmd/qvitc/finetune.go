package main

import (
	"slices"

	"github.com/spf13/cobra"
)

// finetuneFlags are the options of qvitc finetune.
type finetuneFlags struct {
	traineeFlags
	classes int
	freeze  []string
	apart   bool // --external-data
}

func (a *app) finetuneCmd() *cobra.Command {
	o := &finetuneFlags{traineeFlags: traineeFlags{train: finetuneTraining}}
	c := &cobra.Command{
		Use:   "finetune MODEL.onnx",
		Short: "Train a float vision transformer on labelled images",
		Long: `finetune trains a float model on labelled images, from the weights it has, be
they trained elsewhere or random (qvitc new), and writes a float ONNX file that
any runtime reads and qvitc compress takes. --classes gives it a fresh head.
With --teacher the model also learns from the answers of another one. The model
file is not changed.`,
		Example: "  qvitc finetune deit.onnx --data flowers/ --classes 5 -o flowers.onnx\n" +
			"  qvitc new deit --dim 192 --depth 6 --heads 3 --patch 4 --image 32 --classes 10 -o start.onnx\n" +
			"  qvitc finetune start.onnx --data cifar10/ --epochs 30 --augment medium -o cifar.onnx",
		Args: oneModel,
		RunE: func(c *cobra.Command, args []string) error {
			if err := applyRecipe(c.Flags(), o.recipe); err != nil {
				return err
			}
			if o.teacher != "" && !slices.ContainsFunc([]string{"hard", "soft", "teacher-hard", "dgd", "features"}, c.Flags().Changed) {
				o.train.hard, o.train.soft = 0.5, 0.5
			}
			return a.finetune(c.Context(), args[0], o)
		},
	}
	f := c.Flags()
	f.StringVarP(&o.out, "output", "o", "", "output file (default MODEL.tuned.onnx)")
	f.IntVar(&o.classes, "classes", 0, "give the model a fresh head for this many classes (0: keep the head it has)")
	f.StringVar(&o.teacher, "teacher", "", "a float model to learn from beside the labels, half and half unless --hard, --soft, --teacher-hard, --dgd or --features say otherwise")
	f.StringArrayVar(&o.freeze, "freeze", nil, "keep these parameters as they are: globs on their names, or backbone for all but the heads (repeatable)")
	f.BoolVar(&o.apart, "external-data", false, "put the weights into a second file (automatic above 2 GiB)")
	addRecipe(c, &o.recipe)
	o.data.add(c)
	o.data.addLimit(c)
	o.passes.add(c)
	o.train.add(c)
	return c
}
