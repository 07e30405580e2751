// Command gemm measures our float32 matrix product (package blas) at the shapes of
// DeiT training, in the three layouts of a training step, beside numpy's OpenBLAS
// where --python names an interpreter that has numpy:
//
//	go run ./bench/gemm --python python3 --threads 2
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	goruntime "runtime"
	"strings"

	"github.com/qvitc/qvitc/bench"
	"github.com/qvitc/qvitc/blas"
	"github.com/qvitc/qvitc/internal/kernel"
	gonum "gonum.org/v1/gonum/blas"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "gemm:", err)
		os.Exit(1)
	}
}

// layouts are the products of a training step: which operand is transposed.
var layouts = []struct {
	name   string
	ta, tb gonum.Transpose
}{{"forward", gonum.NoTrans, gonum.NoTrans}, {"dgrad", gonum.NoTrans, gonum.Trans}, {"wgrad", gonum.Trans, gonum.NoTrans}}

func run(args []string, w io.Writer) error {
	f := flag.NewFlagSet("gemm", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	shapes := f.String("shapes", "197x384x1152,197x384x384,197x384x1536,197x1536x384,1576x384x1536,197x192x768", "MxKxN, separated by commas")
	threads := f.Int("threads", 1, "cores of a product")
	rounds := f.Int("rounds", 10, "turns of a hundred products")
	python := f.String("python", "", "Python interpreter with numpy; none: ours alone")
	core := f.String("coretype", "", "OPENBLAS_CORETYPE for the other (default SkylakeX where we use AVX-512)")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *rounds < 1 || *threads < 1 || f.NArg() > 0 {
		return errors.New("want --rounds and --threads of at least 1 and no arguments")
	}
	if *core == "" && kernel.Name() == "avx512" {
		*core = "SkylakeX"
	}
	goruntime.GOMAXPROCS(*threads)
	fmt.Fprintf(w, "%s; kernels %s, %d threads; GFLOP/s best (median)\n", bench.Machine(), kernel.Name(), *threads)
	for i, s := range strings.Split(*shapes, ",") {
		var m, k, n int
		if _, err := fmt.Sscanf(s, "%dx%dx%d", &m, &k, &n); err != nil || min(m, k, n) < 1 || max(m, k, n) > 1<<15 {
			return fmt.Errorf("shape %q: want MxKxN", s)
		}
		for _, l := range layouts {
			if err := measure(w, m, k, n, l.name, l.ta, l.tb, *threads, *rounds, *python, *core, i == 0 && l.name == "forward"); err != nil {
				return err
			}
		}
	}
	return nil
}

// turn is the number of products in a turn: enough that the scheduler, which
// needs some milliseconds after a pause to spread threads over cores, matters to
// nobody.
const turn = 100

// measure times one product and prints a line; the first names the other.
func measure(w io.Writer, m, k, n int, layout string, ta, tb gonum.Transpose, threads, rounds int, python, core string, first bool) error {
	r := rand.New(rand.NewPCG(0, 0))
	draw := func(n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(r.NormFloat64())
		}
		return x
	}
	a, b, c := draw(m*k), draw(k*n), make([]float32, m*n)
	lda, ldb := k, n
	if ta == gonum.Trans {
		lda = m
	}
	if tb == gonum.Trans {
		ldb = k
	}
	subjects := []bench.Subject{bench.Func("ours", func() error {
		blas.Implementation{}.Sgemm(ta, tb, m, n, k, 1, a, lda, b, ldb, 0, c, n)
		return nil
	})}
	ctx := context.Background()
	if python != "" {
		peer, err := bench.StartBLAS(ctx, python, m, k, n, layout, threads, core)
		if err != nil {
			return err
		}
		defer peer.Close()
		if first {
			fmt.Fprintf(w, "beside %s\n", peer.Name())
		}
		subjects = append(subjects, peer)
	}
	times, err := bench.Interleave(ctx, rounds, turn, subjects...)
	if err != nil {
		return err
	}
	work := 2 * float64(m) * float64(k) * float64(n) / 1e9
	ours := bench.Summarise(times[0])
	fmt.Fprintf(w, "%-14s %-8s %7.1f (%.1f)", fmt.Sprintf("%dx%dx%d", m, k, n), layout, work/ours.Best.Seconds(), work/ours.P50.Seconds())
	if len(times) > 1 {
		o := bench.Summarise(times[1])
		fmt.Fprintf(w, "   other %7.1f (%.1f)   ratio best %.2f, median %.2f", work/o.Best.Seconds(), work/o.P50.Seconds(),
			float64(o.Best)/float64(ours.Best), float64(o.P50)/float64(ours.P50))
	}
	fmt.Fprintln(w)
	return nil
}
