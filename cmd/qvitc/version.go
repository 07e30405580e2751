package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/qvitc/qvitc/internal/kernel"
	"github.com/spf13/cobra"
)

// version is set by the release build; otherwise the build's own record is shown.
var version = ""

func toolVersion() string {
	if version != "" {
		return version
	}
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" && b.Main.Version != "(devel)" {
		return b.Main.Version
	}
	return "devel"
}

func (a *app) versionCmd() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version and the kernel set in use", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if a.json {
				return a.printJSON(map[string]string{"version": toolVersion(), "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH, "kernels": kernel.Name()})
			}
			_, err := fmt.Fprintf(a.out, "qvitc %s (%s, %s/%s, kernels: %s)\n", toolVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH, kernel.Name())
			return err
		},
	}
}
