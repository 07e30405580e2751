package distill

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// killEnv makes the test binary run one training to its end and print the hash.
const killEnv = "QVITC_DISTILL_KILL_TEST"

func TestMain(m *testing.M) {
	base := os.Getenv(killEnv)
	if base == "" {
		os.Exit(m.Run())
	}
	t := &testing.T{}
	j := tinyJob(t, killOptions(base))
	r, err := Train(context.Background(), j)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(hash(j.Student), r.From)
	os.Exit(0)
}

func killOptions(base string) Options {
	return Options{Epochs: 6, LR: 5e-3, EMA: 0.9, DGD: DGD{Mode: DGDPaper, Lambda: 1}, Checkpoint: base, CheckpointEvery: 2, Resume: true}
}

// TestKill kills runs of 60 steps at random times and resumes them until one
// ends: its hash must be that of the uninterrupted run.
func TestKill(t *testing.T) {
	whole := tinyJob(t, killOptions(""))
	start := time.Now()
	train(t, whole)
	took := time.Since(start) + 50*time.Millisecond
	want := hash(whole.Student)
	tries := 12
	if testing.Short() {
		tries = 2
	}
	kills, resumed := 0, 0
	for seed := range uint64(tries) {
		r := rand.New(rand.NewPCG(seed, 5))
		base := filepath.Join(t.TempDir(), "run.ckpt")
		for round := 0; ; round++ {
			var out strings.Builder
			c := exec.Command(os.Args[0])
			c.Env = append(os.Environ(), killEnv+"="+base)
			c.Stdout = &out
			if err := c.Start(); err != nil {
				t.Skipf("cannot start a process: %v", err)
			}
			done := make(chan error, 1)
			go func() { done <- c.Wait() }()
			var err error
			killed := false
			if round < 4 {
				select {
				case err = <-done:
				case <-time.After(time.Duration(r.Int64N(int64(took)))):
					killed = true
					c.Process.Kill()
					<-done
				}
			} else {
				err = <-done
			}
			if killed {
				kills++
				continue
			}
			if err != nil {
				t.Fatalf("seed %d, round %d: %v: %s", seed, round, err, out.String())
			}
			var got string
			var from int
			fmt.Sscan(out.String(), &got, &from)
			if got != want {
				t.Fatalf("seed %d: after %d kills the hash is %s, want %s", seed, round, got, want)
			}
			if from > 0 && from < 60 {
				resumed++
			}
			break
		}
	}
	t.Logf("%d kills in %d runs, %d of which ended from a checkpoint", kills, tries, resumed)
}
