package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) checkCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "check MODEL.onnx",
		Short: "Say whether a model file is sound",
		Long: `check reads a model as every other command does, with all limits and checks, and
refuses weights that are NaN or infinite. It prints ok and ends with code 0, or
says in one line what is wrong, naming node and tensor, and ends with code 3.`,
		Example: "  qvitc check deit.onnx",
		Args:    oneModel,
		RunE: func(c *cobra.Command, args []string) error {
			m, err := readModel(args[0])
			if err != nil {
				return err
			}
			if err := m.finite(); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(map[string]any{"model": m.path, "ok": true, "notes": append([]string{}, m.notes...)})
			}
			for _, n := range m.notes {
				a.note("note: %s", n)
			}
			fmt.Fprintln(a.out, "ok")
			return nil
		},
	}
}
