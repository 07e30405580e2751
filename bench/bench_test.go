package bench_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/qvitc/qvitc/bench"
)

// TestMain plays the child where the test asks for one.
func TestMain(m *testing.M) {
	switch os.Getenv("BENCH_CHILD") {
	case "":
		os.Exit(m.Run())
	case "good":
		fmt.Println(`{"name": "sleeper 1.0", "load_ms": 3, "first_ms": 4, "overbare_mb": 5}`)
		s := bufio.NewScanner(os.Stdin)
		for s.Scan() {
			var n int
			fmt.Sscan(s.Text(), &n)
			fmt.Printf("[%s]\n", strings.TrimSuffix(strings.Repeat("7000000,", n), ","))
		}
	case "refuses":
		fmt.Println(`{"error": "no such package"}`)
	case "dies":
		fmt.Fprintln(os.Stderr, "Traceback\nthe last line says why")
		os.Exit(1)
	case "dies later":
		fmt.Println(`{"name": "x"}`)
		fmt.Fprintln(os.Stderr, "out of memory")
		os.Stdin.Read(make([]byte, 1))
	case "talks":
		fmt.Println(`{"name": "x"}`)
		os.Stdin.Read(make([]byte, 1))
		fmt.Println("hello")
		fmt.Println("hello")
	case "hangs":
		time.Sleep(time.Minute)
	}
}

func child(t *testing.T, kind string) (*bench.Child, error) {
	t.Helper()
	t.Setenv("BENCH_CHILD", kind)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if kind == "hangs" {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
	}
	c, err := bench.Start(ctx, self)
	if err == nil {
		t.Cleanup(c.Close)
	}
	return c, err
}

func TestChild(t *testing.T) {
	c, err := child(t, "good")
	if err != nil {
		t.Fatal(err)
	}
	if c.Name() != "sleeper 1.0" || c.Hello.LoadMs != 3 || c.Hello.FirstMs != 4 || c.Hello.OverBareMB != 5 {
		t.Errorf("hello %+v", c.Hello)
	}
	times, err := bench.Interleave(t.Context(), 2, 3, c, bench.Func("us", func() error { return nil }))
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(times[0]) != "[7ms 7ms 7ms 7ms 7ms 7ms]" || len(times[1]) != 6 {
		t.Errorf("times %v", times)
	}
}

func TestChildrenThatFail(t *testing.T) {
	for kind, want := range map[string]string{"refuses": "no such package", "dies": "the last line says why", "hangs": "deadline"} {
		if _, err := child(t, kind); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", kind, err, want)
		}
	}
	for kind, want := range map[string]string{"dies later": "out of memory", "talks": `"hello"`} {
		c, err := child(t, kind)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Time(t.Context(), 2); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", kind, err, want)
		}
	}
	if _, err := bench.Start(t.Context(), "/does/not/exist"); err == nil {
		t.Error("a program that is not there starts")
	}
}

func TestSummarise(t *testing.T) {
	var times []time.Duration
	for i := range 100 {
		times = append(times, time.Duration((i*37)%100+1))
	}
	s := bench.Summarise(times)
	if s.Best != 1 || s.P50 != 50 || s.P95 != 95 || s.P99 != 99 || s.Mean != 50 || s.Runs != 100 {
		t.Errorf("%+v", s)
	}
	if s := bench.Summarise(times[:1]); s.P50 != 1 || s.P99 != 1 {
		t.Errorf("of one run: %+v", s)
	}
	if s := bench.Summarise(nil); s != (bench.Summary{}) {
		t.Errorf("of none: %+v", s)
	}
}

func TestInterleaveStopsAtErrors(t *testing.T) {
	broken := errors.New("broken")
	_, err := bench.Interleave(t.Context(), 1, 1, bench.Func("it", func() error { return broken }))
	if !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), "it: ") {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := bench.Interleave(ctx, 1, 1, bench.Func("it", func() error { return nil })); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestResidentSeesMemory(t *testing.T) {
	before := bench.Resident()
	b := make([]byte, 64<<20)
	for i := range b {
		b[i] = byte(i)
	}
	after := bench.Resident()
	if d := after.Resident - before.Resident; d < 60<<20 || d > 80<<20 {
		t.Errorf("64 MiB more show as %d bytes", d)
	}
	if b[len(b)-1] != 255 {
		t.Error("the memory is gone")
	}
}

func ExampleInterleave() {
	ours := bench.Func("ours", func() error { time.Sleep(time.Millisecond); return nil })
	theirs := bench.Func("theirs", func() error { time.Sleep(9 * time.Millisecond); return nil })
	times, err := bench.Interleave(context.Background(), 2, 3, ours, theirs)
	if err != nil {
		panic(err)
	}
	a, b := bench.Summarise(times[0]), bench.Summarise(times[1])
	fmt.Println(a.Runs, b.Runs, b.P50 > 2*a.P50)
	// Output: 6 6 true
}
