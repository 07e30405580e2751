package passes

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/ir"
)

const tinyText = `graph "tiny" {
  input %x: f32[2,3]
  const %c: f32[] = [2]
  %a = Mul(%x, %c)
  %b = Identity(%a)
  %y = Neg(%b)
  output %y
}
`

func parse(t testing.TB, text string) *ir.Graph {
	t.Helper()
	g, err := ir.Parse(text, ir.ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestDriverShows(t *testing.T) {
	g := parse(t, tinyText)
	dir := t.TempDir()
	var out bytes.Buffer
	d := Driver{Check: true, DumpDir: dir, PrintAfter: "drop-identity", Out: &out, Timing: true}
	res, err := d.Run(g, Clean)
	if err != nil {
		t.Fatal(err)
	}
	if !res.Changed() || res.Stopped || len(res.Steps) != len(Clean) {
		t.Errorf("result %+v", res)
	}
	if s := res.Step("drop-identity"); s == nil || s.NodesBefore != 3 || s.NodesAfter != 2 || s.Report.Get("Identity") != 1 {
		t.Errorf("step %+v", s)
	}
	files, _ := filepath.Glob(dir + "/*")
	for i := range files {
		files[i] = filepath.Base(files[i])
	}
	if got := fmt.Sprint(files); got != "[00_input.ir 03_drop-identity.ir]" {
		t.Errorf("dumps %v", got)
	}
	for _, want := range []string{"// after drop-identity\ngraph \"tiny\"", "03 drop-identity", "3 ->     2 nodes  Identity 1"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("output lacks %q:\n%s", want, out.String())
		}
	}
}

func TestDriverStops(t *testing.T) {
	for _, stop := range []string{"3", "drop-identity"} {
		d := Driver{StopAfter: stop}
		res, err := d.Run(parse(t, tinyText), Clean)
		if err != nil || !res.Stopped || len(res.Steps) != 3 {
			t.Errorf("stop after %s: %+v, %v", stop, res, err)
		}
	}
	for _, d := range []Driver{{StopAfter: "drop-identities"}, {StopAfter: "0"}, {PrintAfter: "fold"}} {
		g := parse(t, tinyText)
		if _, err := d.Run(g, Clean); err == nil || g.String() != parse(t, tinyText).String() {
			t.Errorf("%+v: %v", d, err)
		}
	}
}

// faults are passes that go wrong in the three ways a pass can.
func faults() []Pass {
	return []Pass{
		{Name: "panics", Run: func(g *ir.Graph, r *Report) (bool, error) {
			var n *ir.Node
			return true, fmt.Errorf("not reached %v", n.Inputs)
		}},
		{Name: "fails", Run: func(g *ir.Graph, r *Report) (bool, error) {
			g.First().SetInput(0, g.AddConst("half", ir.Scalar(float32(0.5))))
			return true, errors.New("changed its mind half way")
		}},
		{Name: "breaks", Run: func(g *ir.Graph, r *Report) (bool, error) {
			g.MoveBefore(g.First(), nil)
			return true, nil
		}},
	}
}

// TestReproducer plants three faults: each leaves the graph as it was, and those
// that are the pass's own a file that fails again in the same way.
func TestReproducer(t *testing.T) {
	for _, fault := range faults() {
		g := parse(t, tinyText)
		before := g.String()
		d := Driver{Check: true, ReproDir: t.TempDir()}
		list := []Pass{DropIdentity, fault, DropDead}
		res, err := d.Run(g, list)
		var pe *PassError
		if !errors.As(err, &pe) || pe.Pass != fault.Name || !strings.Contains(err.Error(), fault.Name) {
			t.Fatalf("%s: %v", fault.Name, err)
		}
		if len(res.Steps) != 1 {
			t.Errorf("%s: %d steps", fault.Name, len(res.Steps))
		}
		if g.String() != before || g.Check() != nil {
			t.Errorf("%s: the graph is changed:\n%s", fault.Name, g)
		}
		if fault.Name == "fails" {
			if files, _ := os.ReadDir(d.ReproDir); pe.Internal || pe.Reproducer != "" || len(files) > 0 || strings.Contains(err.Error(), "reproducer") {
				t.Errorf("%s: a reproducer of what the pass finds wrong with its model: %v", fault.Name, err)
			}
			continue
		}
		rep, rerr := ReadReproducer(pe.Reproducer)
		if rerr != nil || !pe.Internal {
			t.Fatalf("%s: %v", fault.Name, rerr)
		}
		if got := strings.Join(rep.Passes, " "); got != fault.Name+" drop-dead" || rep.Graph.Len() != 2 || rep.Message == "" {
			t.Errorf("%s: passes %q, %d nodes, message %q", fault.Name, got, rep.Graph.Len(), rep.Message)
		}
		again := rep.Replay(append(faults(), Clean...))
		if again == nil || again.Error() != strings.Split(err.Error(), " (reproducer")[0] {
			t.Errorf("%s: replay gives %v, want %v", fault.Name, again, err)
		}
		if rep.Replay(Clean) == nil {
			t.Errorf("%s: replay without the pass", fault.Name)
		}
		mended := Pass{Name: fault.Name, Run: func(*ir.Graph, *Report) (bool, error) { return false, nil }}
		if err := rep.Replay(append([]Pass{mended}, Clean...)); err != nil {
			t.Errorf("%s: mended: %v", fault.Name, err)
		}
	}
}

func TestReproducerUnwritable(t *testing.T) {
	d := Driver{Check: true, ReproDir: filepath.Join(t.TempDir(), "missing")}
	_, err := d.Run(parse(t, tinyText), faults()[:1])
	if err == nil || strings.Contains(err.Error(), "reproducer") {
		t.Errorf("got %v", err)
	}
	if _, err := ReadReproducer("testdata/fold-constants/shape-chain.txtar"); err == nil {
		t.Error("a golden file is no reproducer")
	}
	file := filepath.Join(t.TempDir(), "r.txtar")
	if err := os.WriteFile(file, []byte("-- graph --\ngraph {\n-- passes --\nx\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadReproducer(file); err == nil {
		t.Error("a broken graph is accepted")
	}
}

func TestDriverChecksItsInput(t *testing.T) {
	g := parse(t, tinyText)
	g.MoveBefore(g.First(), nil)
	d := Driver{Check: true}
	if _, err := d.Run(g, Clean); err == nil || !strings.Contains(err.Error(), "before the first pass") {
		t.Errorf("got %v", err)
	}
	liar := Pass{Name: "liar", Run: func(g *ir.Graph, r *Report) (bool, error) {
		g.Add("Neg", "extra", nil, g.Inputs[0])
		return false, nil
	}}
	d.ReproDir = t.TempDir()
	if _, err := d.Run(parse(t, tinyText), []Pass{liar}); err == nil || !strings.Contains(err.Error(), "nothing changed") {
		t.Errorf("got %v", err)
	}
}

func TestOrder(t *testing.T) {
	all := append(append(append([]Pass{}, Clean...), Quantize(DefaultPlan(4, 4))...), Lower...)
	if err := CheckOrder(all); err != nil {
		t.Error(err)
	}
	for _, c := range Order {
		if indexPass(all, c.Before) < 0 || indexPass(all, c.After) < 0 || c.Why == "" {
			t.Errorf("constraint %+v names no pass or no reason", c)
		}
		turned := []Pass{all[indexPass(all, c.After)], all[indexPass(all, c.Before)]}
		if err := CheckOrder(turned); err == nil || !strings.Contains(err.Error(), c.Why) {
			t.Errorf("%s before %s is accepted: %v", c.After, c.Before, err)
		}
	}
	seen := map[string]bool{}
	for _, p := range all {
		if seen[p.Name] || p.Summary() == "" || strings.Contains(p.Summary(), "\n") {
			t.Errorf("pass %q: name twice, or no summary", p.Name)
		}
		seen[p.Name] = true
	}
}

func TestParseList(t *testing.T) {
	for spec, want := range map[string]int{
		"clean": len(Clean), "clean,-fuse-gelu": len(Clean) - 1, "clean, quantize ,lower": len(Clean) + 2 + len(Lower),
		"clean,lower,-lower": len(Clean), "drop-dead,drop-identity": 2,
	} {
		list, err := ParseList(spec, DefaultPlan(4, 4))
		if err != nil || len(list) != want {
			t.Errorf("%q: %d passes, %v", spec, len(list), err)
		}
	}
	for spec, want := range map[string]string{
		"claen": `no pass or group "claen"`, "": "no pass or group", "clean,-lower": "takes out nothing",
		"recognise,canonical-linear": "must run before",
	} {
		_, err := ParseList(spec, DefaultPlan(4, 4))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", spec, err, want)
		}
	}
}
