package atomicfile_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/qvitc/qvitc/internal/atomicfile"
)

func Example() {
	dir, _ := os.MkdirTemp("", "example")
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "model.onnx")

	write := func(text string, err error) error {
		return atomicfile.WriteFile(path, func(w io.Writer) error {
			fmt.Fprint(w, text)
			return err
		})
	}
	fmt.Println(write("first", nil))
	fmt.Println(write("half of the sec", errors.New("weight 3 is NaN")))
	content, _ := os.ReadFile(path)
	fmt.Printf("%s\n", content)
	// Output:
	// <nil>
	// weight 3 is NaN
	// first
}
