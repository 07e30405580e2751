package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// Hello is the first line a child prints: what it is and what loading cost.
type Hello struct {
	Name       string  `json:"name"` // program, version and form of the model
	Error      string  `json:"error"`
	LoadMs     float64 `json:"load_ms"`     // session creation
	FirstMs    float64 `json:"first_ms"`    // first result after it
	OverBareMB float64 `json:"overbare_mb"` // resident memory beyond the process before loading, 1e6 bytes
}

// Child is another program that loads a model once and then runs it on request.
// It speaks JSON lines: a Hello at the start; after each "N\n" on its standard
// input one list of N durations in nanoseconds.
type Child struct {
	Hello Hello

	cmd    *exec.Cmd
	in     io.WriteCloser
	lines  chan []byte // what the child prints; closed at its end
	stderr *tail
}

// maxLine bounds a line of a child, bytes.
const maxLine = 1 << 20

// Start runs a child and waits for its Hello. The child ends with ctx or Close.
func Start(ctx context.Context, name string, args ...string) (*Child, error) {
	c := &Child{cmd: exec.CommandContext(ctx, name, args...), lines: make(chan []byte), stderr: &tail{}}
	c.cmd.Stderr = c.stderr
	c.cmd.WaitDelay = 5 * time.Second
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", name, err)
	}
	go c.read(out)
	b, err := c.line(ctx)
	if err == nil {
		err = json.Unmarshal(b, &c.Hello)
	}
	if err == nil && c.Hello.Error != "" {
		err = errors.New(c.Hello.Error)
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return c, nil
}

func (c *Child) read(out io.Reader) {
	defer close(c.lines)
	s := bufio.NewScanner(out)
	s.Buffer(nil, maxLine)
	for s.Scan() {
		c.lines <- bytes.Clone(s.Bytes())
	}
}

// line waits for one line of the child.
func (c *Child) line(ctx context.Context) ([]byte, error) {
	select {
	case b, ok := <-c.lines:
		if !ok {
			return nil, fmt.Errorf("ended too early: %s", c.stderr)
		}
		return b, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Name is the child's name for itself.
func (c *Child) Name() string { return c.Hello.Name }

// Time asks the child for n runs.
func (c *Child) Time(ctx context.Context, n int) ([]time.Duration, error) {
	if _, err := fmt.Fprintf(c.in, "%d\n", n); err != nil {
		return nil, fmt.Errorf("cannot be reached: %s", c.stderr)
	}
	b, err := c.line(ctx)
	if err != nil {
		return nil, err
	}
	var times []time.Duration
	if err := json.Unmarshal(b, &times); err != nil || len(times) != n {
		return nil, fmt.Errorf("answers %.100q, want %d durations", b, n)
	}
	return times, nil
}

// Close ends the child and waits for it.
func (c *Child) Close() {
	c.in.Close()
	done := make(chan struct{})
	go func() {
		for range c.lines { // so that read ends
		}
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		_ = c.cmd.Process.Kill()
		<-done
	}
	_ = c.cmd.Wait()
}

// tail keeps the last line that is written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if len(t.b) > 4096 {
		t.b = t.b[len(t.b)-4096:]
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := strings.TrimSpace(string(t.b))
	if i := strings.LastIndexByte(s, '\n'); i >= 0 {
		s = s[i+1:]
	}
	if s == "" {
		return "it said nothing"
	}
	return s
}
