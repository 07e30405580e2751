package distill

import (
	"context"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/dataset"
	"github.com/qvitc/qvitc/ir"
)

// reference is a state that testdata/reference/reference.py wrote.
type reference map[string]dataset.Array

func readReference(t *testing.T, name string) reference {
	t.Helper()
	path := filepath.Join("testdata", "reference", name+".npz")
	if _, err := os.Stat(path); err != nil {
		t.Skipf("not in this checkout: %v", err)
	}
	arrays, err := dataset.ReadArrays(path)
	if err != nil {
		t.Fatal(err)
	}
	r := reference{}
	for _, a := range arrays {
		r[a.Name] = a
	}
	return r
}

// Batches and Batch make the reference a source of its ten batches.
func (r reference) Batches() int { return r["x"].Shape[0] }

func (r reference) Batch(_, i int) (*dataset.Batch, error) {
	x, labels := r["x"], r["label"]
	n := x.Shape[1]
	per := len(x.Floats) / x.Shape[0]
	b := &dataset.Batch{N: n, X: x.Floats[i*per : (i+1)*per]}
	for _, l := range labels.Ints[i*n : (i+1)*n] {
		b.Labels = append(b.Labels, int32(l))
	}
	return b, nil
}

// The blocks as graphs; "Q(out, in, scale, zero, attributes)" is a FakeQuant of
// the quantised form and nothing in the float one.
const (
	deitHead = `  input %x: f32[batch,5,8]
  const %heads5: i64[5] = [-1, 5, 3, 2, 4]
  const %joined: i64[3] = [-1, 5, 8]
  const %all: i64[2] = [-1, 40]
  const %d: f32[] = [0.5]
  const %first: i64[1] = [0]
`
	swinHead = `  input %x: f32[batch,16,6]
  const %heads5: i64[5] = [-1, 4, 3, 2, 3]
  const %joined: i64[3] = [-1, 4, 6]
  const %all: i64[2] = [-1, 96]
  const %d: f32[] = [0.57735026]
  const %first: i64[1] = [0]
  const %grid: i64[4] = [-1, 4, 4, 6]
  const %windows: i64[6] = [-1, 2, 2, 2, 2, 6]
  const %tokens: i64[3] = [-1, 16, 6]
  const %masked: i64[5] = [-1, 4, 2, 4, 4]
  const %scored: i64[4] = [-1, 2, 4, 4]
  const %c0: i64[1] = [0]
  const %c1: i64[1] = [1]
  const %c2: i64[1] = [2]
  const %c3: i64[1] = [3]
  const %c4: i64[1] = [4]
`
	deitBefore = `  %y = Identity(%n1)
`
	deitScores = `  %s2 = Identity(%s1)
`
	deitAfter = `  %r1 = Add(%x, %o)
`
	swinBefore = `  %g0 = Reshape(%n1, %grid)
  %ga = Slice(%g0, %c1, %c4, %c1)
  %gb = Slice(%g0, %c0, %c1, %c1)
  %gc = Concat(%ga, %gb) {axis=1}
  %gd = Slice(%gc, %c1, %c4, %c2)
  %ge = Slice(%gc, %c0, %c1, %c2)
  %gf = Concat(%gd, %ge) {axis=2}
  %gg = Reshape(%gf, %windows)
  %gh = Transpose(%gg) {perm=[0, 1, 3, 2, 4, 5]}
  %y = Reshape(%gh, %joined)
`
	swinScores = `  %sp0 = Add(%s1, %pos)
  %sp1 = Reshape(%sp0, %masked)
  %sp2 = Add(%sp1, %mask)
  %s2 = Reshape(%sp2, %scored)
`
	swinAfter = `  %o0 = Reshape(%o, %windows)
  %o1 = Transpose(%o0) {perm=[0, 1, 3, 2, 4, 5]}
  %o2 = Reshape(%o1, %grid)
  %oa = Slice(%o2, %c3, %c4, %c1)
  %ob = Slice(%o2, %c0, %c3, %c1)
  %oc = Concat(%oa, %ob) {axis=1}
  %od = Slice(%oc, %c3, %c4, %c2)
  %oe = Slice(%oc, %c0, %c3, %c2)
  %of = Concat(%od, %oe) {axis=2}
  %og = Reshape(%of, %tokens)
  %r1 = Add(%x, %og)
`
	blockText = `  %n1 = LayerNormalization(%x, %gn1, %bn1) {axis=-1, epsilon=1e-6f}
BEFORE  LINEAR(a, y, qkv)
  %a5 = Reshape(%a, %heads5)
  %at = Transpose(%a5) {perm=[2, 0, 3, 1, 4]}
  %q0, %k0, %v0 = Split(%at) {axis=0, num_outputs=3}
  %q1 = Squeeze(%q0, %first)
  %k1 = Squeeze(%k0, %first)
  %v1 = Squeeze(%v0, %first)
  %q2 = LayerNormalization(%q1, %gq, %bq) {axis=-1, epsilon=1e-5f}
  %k2 = LayerNormalization(%k1, %gk, %bk) {axis=-1, epsilon=1e-5f}
  Q(q3, q2, sq, , axis=1, signed=1)
  Q(k3, k2, sk, , axis=1, signed=1)
  Q(v3, v1, sv, , axis=1, signed=1)
  %kt = Transpose(%k3) {perm=[0, 1, 3, 2]}
  %s0 = MatMul(%q3, %kt)
  %s1 = Mul(%s0, %d)
SCORES  %p0 = Softmax(%s2) {axis=-1}
  Q(p1, p0, sp, , axis=1, signed=0)
  %z0 = MatMul(%p1, %v3)
  %z1 = Transpose(%z0) {perm=[0, 2, 1, 3]}
  %z2 = Reshape(%z1, %joined)
  LINEAR(o, z2, proj)
AFTER  %n2 = LayerNormalization(%r1, %gn2, %bn2) {axis=-1, epsilon=1e-6f}
  LINEAR(h0, n2, fc1)
  %h1 = Gelu(%h0)
  LINEAR(h2, h1, fc2)
  %r2 = Add(%r1, %h2)
  %n3 = LayerNormalization(%r2, %gn3, %bn3) {axis=-1, epsilon=1e-6f}
  %f = Reshape(%n3, %all)
  %l0 = MatMul(%f, %head)
  %logits = Add(%l0, %bhead)
  output %logits
}
`
)

// blockGraph writes the graph of a reference, bits 0 for float.
func blockGraph(t *testing.T, r reference, swin bool, bits int) *ir.Graph {
	t.Helper()
	var s strings.Builder
	head, before, scores, after := deitHead, deitBefore, deitScores, deitAfter
	if swin {
		head, before, scores, after = swinHead, swinBefore, swinScores, swinAfter
	}
	s.WriteString("graph \"block\" {\n" + head)
	for _, name := range slices.Sorted(maps.Keys(r)) {
		if n, ok := strings.CutPrefix(name, "p."); ok {
			a := r[name]
			fmt.Fprintf(&s, "  const %%%s: f32%s = rand(1)\n", n, strings.ReplaceAll(fmt.Sprint(a.Shape), " ", ","))
		}
	}
	if swin {
		s.WriteString("  const %mask: f32[1,4,1,4,4] = rand(1)\n")
	}
	quant := func(out, in, scale, zero, attrs string) {
		switch {
		case bits == 0:
			fmt.Fprintf(&s, "  %%%s = Identity(%%%s)\n", out, in)
		case zero != "":
			fmt.Fprintf(&s, "  %%%s = ai.qvitc::FakeQuant(%%%s, %%%s, %%%s) {%s, bits=%d}\n", out, in, scale, zero, attrs, bits)
		default:
			fmt.Fprintf(&s, "  %%%s = ai.qvitc::FakeQuant(%%%s, %%%s) {%s, bits=%d}\n", out, in, scale, attrs, bits)
		}
	}
	body := strings.NewReplacer("BEFORE", before, "SCORES", scores, "AFTER", after).Replace(blockText)
	for line := range strings.Lines(body) {
		args := func(prefix string) []string {
			inner, ok := strings.CutPrefix(strings.TrimSpace(line), prefix+"(")
			if !ok {
				return nil
			}
			return strings.SplitN(strings.TrimSuffix(inner, ")"), ", ", 5)
		}
		if a := args("Q"); a != nil {
			quant(a[0], a[1], a[2], "", a[4])
		} else if a := args("LINEAR"); a != nil {
			out, n, zero := a[0], a[2], ""
			if n == "fc2" {
				zero = "zxfc2"
			}
			quant(out+"_x", a[1], "sx"+n, zero, "signed=1")
			quant(out+"_w", "w"+n, "sw"+n, "", "axis=1, signed=1")
			fmt.Fprintf(&s, "  %%%s_m = MatMul(%%%s_x, %%%s_w)\n  %%%s = Add(%%%s_m, %%b%s)\n", out, out, out, out, out, n)
		} else {
			s.WriteString(line)
		}
	}
	g := parse(t, s.String())
	for name, a := range r {
		if n, ok := strings.CutPrefix(name, "p."); ok {
			copy(g.Value(n).Const.F32(), a.Floats)
		}
	}
	if swin {
		copy(g.Value("mask").Const.F32(), shiftMask())
	}
	return g
}

// shiftMask is -100 between tokens of a 2×2 window of a 4×4 grid that a shift by
// one brought together.
func shiftMask() []float32 {
	region := func(i int) int { return max(0, i-1) } // rows 0 and 1, row 2, row 3
	var out []float32
	for w := range 4 {
		at := func(k int) int { return 3*region(w/2*2+k/2) + region(w%2*2+k%2) }
		for a := range 4 {
			for b := range 4 {
				if at(a) == at(b) {
					out = append(out, 0)
				} else {
					out = append(out, -100)
				}
			}
		}
	}
	return out
}

// TestReferenceState compares blocks with what PyTorch computes in float64: the
// forward pass, every gradient, and ten steps of training.
func TestReferenceState(t *testing.T) {
	for _, c := range []struct {
		name string
		swin bool
		bits int
	}{{"deit-float", false, 0}, {"deit-w4a4", false, 4}, {"swin-float", true, 0}, {"swin-w3a3", true, 3}} {
		t.Run(c.name, func(t *testing.T) {
			r := readReference(t, c.name)
			g := blockGraph(t, r, c.swin, c.bits)
			j := Job{Student: g, Data: r, Options: Options{Optimiser: AdamW, LR: 1e-2, MinLR: 1e-2, Epsilon: 1e-4, WeightDecay: 0.05, Loss: &Loss{Hard: 1}, Threads: 2}}
			tr, err := newTrainer(&j)
			if err != nil {
				t.Fatal(err)
			}
			params := 0
			for name := range r {
				if strings.HasPrefix(name, "p.") {
					params++
				}
			}
			if len(tr.params) != params {
				t.Fatalf("%d parameters are trained, the reference has %d", len(tr.params), params)
			}
			first, _ := r.Batch(0, 0)
			e, err := Evaluate(context.Background(), g, r, EvalOptions{})
			if err != nil {
				t.Fatal(err)
			}
			r.near(t, "logits", e.Logits[:first.N*e.Classes], 1e-5)
			if _, err := tr.eng.run(first); err != nil {
				t.Fatal(err)
			}
			for i, p := range tr.params {
				r.near(t, "g."+p.Name, tr.eng.total[i], 1e-4)
			}
			var losses []float32
			j.Progress = func(s Step) { losses = append(losses, float32(s.Loss.Total)) }
			if _, err := Train(context.Background(), j); err != nil {
				t.Fatal(err)
			}
			r.near(t, "loss", losses, 1e-5)
			for _, p := range tr.params {
				r.near(t, "w."+p.Name, p.Data, 1e-4)
			}
		})
	}
}

// near compares an array with numbers, relative to its largest magnitude.
func (r reference) near(t *testing.T, name string, have []float32, tol float64) {
	t.Helper()
	want, ok := r[name]
	if !ok || len(want.Floats) != len(have) {
		t.Fatalf("%s: %d numbers, the reference has %d", name, len(have), len(want.Floats))
	}
	scale, worst := 1e-3, 0.0 // the gradient of what softmax ignores is 0
	for _, v := range want.Floats {
		scale = max(scale, math.Abs(float64(v)))
	}
	for i, v := range want.Floats {
		if d := math.Abs(float64(v) - float64(have[i])); !(d <= worst) {
			worst = d
		}
	}
	if !(worst <= tol*scale) {
		t.Errorf("%s: differs by %.2g, the largest is %.2g", name, worst, scale)
	}
}
