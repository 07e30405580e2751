//go:build pin

package qvitc

import (
	_ "github.com/google/go-cmp/cmp"
	_ "github.com/owulveryck/onnx-go"
	_ "github.com/rogpeppe/go-internal/testscript"
	_ "github.com/sbinet/npyio"
	_ "github.com/schollz/progressbar/v3"
	_ "github.com/spf13/cobra"
	_ "go.yaml.in/yaml/v3"
	_ "golang.org/x/image/draw"
	_ "golang.org/x/sync/errgroup"
	_ "golang.org/x/sys/cpu"
	_ "golang.org/x/tools/txtar"
	_ "gonum.org/v1/gonum/stat/distuv"
	_ "google.golang.org/protobuf/proto"
	_ "gorgonia.org/tensor"
	_ "pgregory.net/rapid"
)
