package distill

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func sampleCheckpoint(step int) *checkpoint {
	c := &checkpoint{checkpointHeader: checkpointHeader{
		Version: checkpointVersion, Model: "m", Config: "c", Step: step, Steps: 1000, Epoch: 0.25, Updates: step, Window: []float64{1.5, 0.1},
		Recent: Parts{Total: 0.3}, Params: []checkpointParam{{"w", []int{2, 3}}, {"s", []int{}}, {"big", []int{9, 1000}}}, Groups: []string{"param", "m", "v"},
	}}
	r := rand.New(rand.NewPCG(1, uint64(step)))
	for range c.Groups {
		var g [][]float32
		for _, n := range []int{6, 1, 9000} {
			t := make([]float32, n)
			for i := range t {
				t[i] = r.Float32()
			}
			g = append(g, t)
		}
		c.tensors = append(c.tensors, g)
	}
	return c
}

func encode(t testing.TB, c *checkpoint) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := c.write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestCheckpointRoundTrip(t *testing.T) {
	c := sampleCheckpoint(120)
	got, err := decode(encode(t, c))
	if err != nil {
		t.Fatal(err)
	}
	opts := cmp.Options{cmp.AllowUnexported(checkpoint{}), cmpopts.EquateEmpty()}
	if d := cmp.Diff(c, got, opts); d != "" {
		t.Error(d)
	}
}

func decode(b []byte) (*checkpoint, error) { return readCheckpoint(bytes.NewReader(b), int64(len(b))) }

// TestCheckpointDamage flips 2,000 random bits and cuts at 500 random lengths:
// every one must be found.
func TestCheckpointDamage(t *testing.T) {
	good := encode(t, sampleCheckpoint(7))
	r := rand.New(rand.NewPCG(2, 2))
	for i := range 2000 {
		b := bytes.Clone(good)
		at := r.IntN(len(b))
		if i%4 == 0 {
			at = r.IntN(400) // the header and what stands before it
		}
		b[at] ^= 1 << r.IntN(8)
		if _, err := decode(b); err == nil {
			t.Fatalf("bit flip in byte %d was not found", at)
		}
	}
	for range 500 {
		if _, err := decode(good[:r.IntN(len(good))]); err == nil {
			t.Fatal("a cut was not found")
		}
	}
	if _, err := decode(append(bytes.Clone(good), 0)); err == nil {
		t.Fatal("a byte too much was not found")
	}
}

func TestStoreKeepsTwoAndFallsBack(t *testing.T) {
	dir := t.TempDir()
	s := &store{base: filepath.Join(dir, "run.ckpt")}
	for _, step := range []int{10, 20, 30, 40} {
		if _, err := s.save(sampleCheckpoint(step)); err != nil {
			t.Fatal(err)
		}
	}
	os.WriteFile(filepath.Join(dir, ".run.ckpt.step-00000050.qvitc-tmp-0011"), nil, 0o600)
	names := func() string {
		entries, _ := os.ReadDir(dir)
		var out []string
		for _, e := range entries {
			out = append(out, e.Name())
		}
		return strings.Join(out, " ")
	}
	fits := func(c *checkpoint) error { return nil }
	(&store{base: s.base}).clean(mustStat(t, filepath.Join(dir, ".run.ckpt.step-00000050.qvitc-tmp-0011")).ModTime().Add(1))
	if got := names(); got != "run.ckpt.step-00000030 run.ckpt.step-00000040" {
		t.Fatalf("files: %s", got)
	}
	newest := filepath.Join(dir, "run.ckpt.step-00000040")
	b, _ := os.ReadFile(newest)
	b[len(b)/2] ^= 4
	os.WriteFile(newest, b, 0o600)
	s = &store{base: s.base}
	c, path, skipped, err := s.load(fits)
	if err != nil || c.Step != 30 || filepath.Base(path) != "run.ckpt.step-00000030" {
		t.Fatalf("fall back: %v %v %v", c, path, err)
	}
	if len(skipped) != 1 || !strings.Contains(skipped[0], "step-00000040") || !strings.Contains(skipped[0], "checksum") {
		t.Errorf("said %q", skipped)
	}
	if _, err := s.save(sampleCheckpoint(35)); err != nil {
		t.Fatal(err)
	}
	if got := names(); got != "run.ckpt.step-00000030 run.ckpt.step-00000035" {
		t.Errorf("files after going on: %s", got)
	}
	os.Truncate(filepath.Join(dir, "run.ckpt.step-00000030"), 100)
	os.Truncate(filepath.Join(dir, "run.ckpt.step-00000035"), 0)
	if _, _, skipped, err = (&store{base: s.base}).load(fits); err == nil || len(skipped) != 0 || !strings.Contains(err.Error(), "step-00000035") {
		t.Errorf("two bad files: %v %q", err, skipped)
	}
	if err := RemoveCheckpoints(s.base); err != nil || names() != "" {
		t.Errorf("left: %s %v", names(), err)
	}
	if c, _, _, err := (&store{base: s.base}).load(fits); c != nil || err != nil {
		t.Errorf("nothing there: %v %v", c, err)
	}
}

func mustStat(t *testing.T, path string) os.FileInfo {
	t.Helper()
	i, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func FuzzCheckpoint(f *testing.F) {
	c := sampleCheckpoint(3)
	c.Params = c.Params[:2]
	for g := range c.tensors {
		c.tensors[g] = c.tensors[g][:2]
	}
	good := encode(f, c)
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte(checkpointMagic + "\xff\xff\xff\xff"))
	f.Add([]byte(checkpointMagic + "\x02\x00\x00\x00{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decode(b)
		if err != nil {
			return
		}
		again, err := decode(encode(t, c))
		if err != nil || again.Step != c.Step || len(again.tensors) != len(c.tensors) {
			t.Fatalf("a checkpoint that reads does not write back: %v", err)
		}
	})
}
