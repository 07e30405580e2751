package passes_test

import (
	"strings"
	"testing"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/passes"
)

// exporterGraph is one block of a small ViT between a patch embedding and a
// head; ATTENTION, NORM1 and so on stand for the spellings of an exporter.
const exporterGraph = `graph "vit" {
  input %img: f32[batch,1,4,6]
  const %pw: f32[8,1,2,3] = rand(20)
  const %pb: f32[8] = rand(21)
  const %grid: i64[3] = [-1, 8, 4]
  const %pos: f32[1,4,8] = rand(22)
  const %g: f32[8] = rand(23)
  const %i0: i64[] = [0]
  const %w1: f32[8,12] = rand(5)
  const %w2: f32[12,8] = rand(6)
  const %b1: f32[12] = rand(7)
  const %wh: f32[8,3] = rand(8)
  const %wo: f32[8,8] = rand(3)
  const %bo: f32[8] = rand(4)
  %p0 = Conv(%img, %pw, %pb) {strides=[2, 3]i}
  %p1 = Reshape(%p0, %grid)
  %p2 = Transpose(%p1) {perm=[0, 2, 1]i}
  %x = Add(%p2, %pos)
  %n1 = LayerNormalization(%x, %g, %g)
ATTENTION
  %x1 = Add(%x, %z)
  %n2 = LayerNormalization(%x1, %g, %g)
MLP
  %x2 = Add(%x1, %h9)
  %n3 = LayerNormalization(%x2, %g, %g)
  %cls = Gather(%n3, %i0) {axis=1}
  %l = MatMul(%cls, %wh)
  output %l
}`

const plainMLP = `
  %h0 = MatMul(%n2, %w1)
  %h1 = Add(%h0, %b1)
  %h2 = Gelu(%h1)
  %h9 = MatMul(%h2, %w2)`

// attentions are further spellings, beyond those of the shared models.
var attentions = map[string]string{
	"dynamo": `
  const %wqkv: f32[8,24] = rand(1)
  const %to5: i64[5] = [-1, 4, 3, 2, 4]
  const %a0: i64[1] = [0]
  const %a1: i64[1] = [1]
  const %a2: i64[1] = [2]
  const %m1: i64[1] = [-1]
  const %m2: i64[1] = [-2]
  const %min: i64[1] = [-9223372036854775808]
  const %max: i64[1] = [9223372036854775807]
  const %c: f32[1] = [0.5]
  const %flat: i64[3] = [-1, 4, 8]
  %y = MatMul(%n1, %wqkv)
  %r = Reshape(%y, %to5)
  %t = Transpose(%r) {perm=[2, 0, 3, 1, 4]i}
  %s0 = Slice(%t, %a0, %a1, %a0)
  %s1 = Slice(%t, %a1, %a2, %a0)
  %s2 = Slice(%t, %a2, %max, %a0)
  %q = Squeeze(%s0, %a0)
  %k = Squeeze(%s1, %a0)
  %v = Squeeze(%s2, %a0)
  %ks = Shape(%k)
  %klast = Slice(%ks, %m1, %max)
  %ktok = Slice(%ks, %m2, %m1)
  %klead = Slice(%ks, %min, %m2)
  %three = Concat(%m1, %ktok, %klast) {axis=0}
  %k3 = Reshape(%k, %three)
  %kt3 = Transpose(%k3) {perm=[0, 2, 1]i}
  %four = Concat(%klead, %klast, %ktok) {axis=0}
  %kt = Reshape(%kt3, %four)
  %root = Sqrt(%c)
  %qs = Mul(%q, %root)
  %kts = Mul(%kt, %root)
  %s = MatMul(%qs, %kts)
  %p = Softmax(%s) {axis=-1}
  %o = MatMul(%p, %v)
  %ot = Transpose(%o) {perm=[0, 2, 1, 3]i}
  %of = Reshape(%ot, %flat)
  %z0 = MatMul(%of, %wo)
  %z = Add(%z0, %bo)`,
	"einops": `
  const %wqkv: f32[8,24] = rand(1)
  const %to5: i64[5] = [0, 0, 3, 2, 4]
  const %one3: i64[3] = [1, 1, 1]
  const %a0: i64[1] = [0]
  const %c: f32[] = [0.35355338]
  const %flat: i64[3] = [0, 0, -1]
  %y = MatMul(%n1, %wqkv)
  %r = Reshape(%y, %to5)
  %t = Transpose(%r) {perm=[2, 0, 3, 1, 4]i}
  %s0, %s1, %s2 = Split(%t, %one3) {axis=0}
  %q = Squeeze(%s0, %a0)
  %k = Squeeze(%s1, %a0)
  %v = Squeeze(%s2, %a0)
  %s = Einsum(%q, %k) {equation="bhid,bhjd->bhij"}
  %sc = Mul(%s, %c)
  %p = Softmax(%sc) {axis=3}
  %o = Einsum(%p, %v) {equation="bhij,bhjd->bhid"}
  %ot = Transpose(%o) {perm=[0, 2, 1, 3]i}
  %of = Reshape(%ot, %flat)
  %z0 = MatMul(%of, %wo)
  %z = Add(%bo, %z0)`,
	"keras": `
  const %wq: f32[8,2,4] = rand(1)
  const %wk: f32[8,2,4] = rand(11)
  const %wv: f32[8,2,4] = rand(12)
  const %bq: f32[2,4] = rand(13)
  const %wo3: f32[2,4,8] = rand(14)
  const %c: f32[] = [0.5]
  %q0 = Einsum(%n1, %wq) {equation="abc,cde->abde"}
  %q1 = Add(%q0, %bq)
  %q = Mul(%q1, %c)
  %k = Einsum(%n1, %wk) {equation="abc,cde->abde"}
  %v = Einsum(%n1, %wv) {equation="abc,cde->abde"}
  %s = Einsum(%k, %q) {equation="aecd,abcd->acbe"}
  %p = Softmax(%s) {axis=-1}
  %o = Einsum(%p, %v) {equation="acbe,aecd->abcd"}
  %z0 = Einsum(%o, %wo3) {equation="abcd,cde->abe"}
  %z = Add(%z0, %bo)`,
	"keys-first-gemm": `
  const %wqkv: f32[8,24] = rand(1)
  const %bqkv: f32[24] = rand(2)
  const %rows: i64[2] = [-1, 8]
  const %to5: i64[5] = [-1, 4, 3, 2, 4]
  const %i1: i64[] = [1]
  const %i2: i64[] = [2]
  const %c: f32[] = [2]
  const %flat: i64[3] = [-1, 4, 8]
  %nr = Reshape(%n1, %rows)
  %y = Gemm(%nr, %wqkv, %bqkv)
  %r = Reshape(%y, %to5)
  %t = Transpose(%r) {perm=[2, 0, 3, 1, 4]i}
  %q = Gather(%t, %i0) {axis=0}
  %k = Gather(%t, %i1) {axis=0}
  %v = Gather(%t, %i2) {axis=0}
  %qt = Transpose(%q) {perm=[0, 1, 3, 2]i}
  %s = MatMul(%k, %qt)
  %sc = Div(%s, %c)
  %pt = Softmax(%sc) {axis=2}
  %p = Transpose(%pt) {perm=[0, 1, 3, 2]i}
  %o = MatMul(%p, %v)
  %ot = Transpose(%o) {perm=[0, 2, 1, 3]i}
  %of = Reshape(%ot, %flat)
  %z0 = MatMul(%of, %wo)
  %z = Add(%z0, %bo)`,
	"qk-norm-layer-scale-gated-window": `
  const %wqkv: f32[8,24] = rand(1)
  const %to5: i64[5] = [-1, 4, 3, 2, 4]
  const %three: i64[3] = [1, 1, 1]
  const %a2: i64[1] = [2]
  const %gh: f32[4] = rand(30)
  const %bias: f32[1,2,4,4] = rand(31)
  const %mask: f32[1,1,1,4,4] = rand(32)
  const %five: i64[5] = [-1, 1, 2, 4, 4]
  const %four: i64[4] = [-1, 2, 4, 4]
  const %gamma: f32[8] = rand(33)
  const %logit: f32[2,1,1] = rand(34)
  const %flat: i64[3] = [-1, 4, 8]
  %y = MatMul(%n1, %wqkv)
  %r = Reshape(%y, %to5)
  %s0, %s1, %s2 = Split(%r, %three) {axis=2}
  %q0 = Squeeze(%s0, %a2)
  %k0 = Squeeze(%s1, %a2)
  %v0 = Squeeze(%s2, %a2)
  %qn = LayerNormalization(%q0, %gh)
  %kn = LayerNormalization(%k0, %gh)
  %q = Transpose(%qn) {perm=[0, 2, 1, 3]i}
  %kt = Transpose(%kn) {perm=[0, 2, 3, 1]i}
  %v = Transpose(%v0) {perm=[0, 2, 1, 3]i}
  %s = MatMul(%q, %kt)
  %sl = Mul(%s, %logit)
  %sb = Add(%sl, %bias)
  %s5 = Reshape(%sb, %five)
  %sm = Add(%s5, %mask)
  %s4 = Reshape(%sm, %four)
  %p = Softmax(%s4) {axis=-1}
  %o = MatMul(%p, %v)
  %ot = Transpose(%o) {perm=[0, 2, 1, 3]i}
  %of = Reshape(%ot, %flat)
  %z0 = MatMul(%of, %wo)
  %z1 = Add(%z0, %bo)
  %z = Mul(%z1, %gamma)`,
	"rotary": `
  const %wq: f32[8,8] = rand(1)
  const %wk: f32[8,8] = rand(2)
  const %wv: f32[8,8] = rand(9)
  const %heads: i64[4] = [0, 4, 2, 4]
  const %sin: f32[4,4] = rand(40)
  const %cos: f32[4,4] = rand(41)
  const %z0i: i64[1] = [0]
  const %half: i64[1] = [2]
  const %end: i64[1] = [9223372036854775807]
  const %last: i64[1] = [-1]
  const %c: f32[] = [0.5]
  const %flat: i64[3] = [-1, 4, 8]
  %q0 = MatMul(%n1, %wq)
  %q1 = Reshape(%q0, %heads)
  %q2 = Transpose(%q1) {perm=[0, 2, 1, 3]i}
  %qa = Slice(%q2, %z0i, %half, %last)
  %qb = Slice(%q2, %half, %end, %last)
  %qneg = Neg(%qb)
  %qrot = Concat(%qneg, %qa) {axis=-1}
  %qc = Mul(%q2, %cos)
  %qs = Mul(%qrot, %sin)
  %q = Add(%qc, %qs)
  %k0 = MatMul(%n1, %wk)
  %k1 = Reshape(%k0, %heads)
  %k2 = Transpose(%k1) {perm=[0, 2, 1, 3]i}
  %ka = Slice(%k2, %z0i, %half, %last)
  %kb = Slice(%k2, %half, %end, %last)
  %kneg = Neg(%kb)
  %krot = Concat(%kneg, %ka) {axis=-1}
  %kc = Mul(%k2, %cos)
  %ks = Mul(%krot, %sin)
  %k = Add(%kc, %ks)
  %v0 = MatMul(%n1, %wv)
  %v1 = Reshape(%v0, %heads)
  %v = Transpose(%v1) {perm=[0, 2, 1, 3]i}
  %kt = Transpose(%k) {perm=[0, 1, 3, 2]i}
  %s = MatMul(%q, %kt)
  %sc = Mul(%c, %s)
  %p = Softmax(%sc) {axis=-1}
  %o = MatMul(%p, %v)
  %ot = Transpose(%o) {perm=[0, 2, 1, 3]i}
  %of = Reshape(%ot, %flat)
  %zz = MatMul(%of, %wo)
  %z = Add(%zz, %bo)`,
}

var mlps = map[string]string{
	"plain": plainMLP,
	"tanh-gelu": `
  const %three: f32[] = [3]
  const %k1: f32[] = [0.044715]
  const %k2: f32[] = [0.7978846]
  const %k3: f32[] = [1]
  const %k4: f32[] = [0.5]
  %h0 = MatMul(%n2, %w1)
  %h1 = Add(%b1, %h0)
  %e1 = Pow(%h1, %three)
  %e2 = Mul(%k1, %e1)
  %e3 = Add(%h1, %e2)
  %e4 = Mul(%k2, %e3)
  %e5 = Tanh(%e4)
  %e6 = Add(%k3, %e5)
  %e7 = Mul(%k4, %h1)
  %h2 = Mul(%e7, %e6)
  %h9 = MatMul(%h2, %w2)`,
	"quick-gelu": `
  const %k1: f32[] = [1.702]
  %h0 = MatMul(%n2, %w1)
  %h1 = Add(%h0, %b1)
  %e1 = Mul(%h1, %k1)
  %e2 = Sigmoid(%e1)
  %h2 = Mul(%h1, %e2)
  %h9 = MatMul(%h2, %w2)`,
	"einsum-relu": `
  %h0 = Einsum(%n2, %w1) {equation="abc,cd->abd"}
  %h1 = Add(%h0, %b1)
  %h2 = Relu(%h1)
  %h9 = Einsum(%h2, %w2) {equation="abc,cd->abd"}`,
}

// TestExporters recognises every combination of attention and MLP, keeps the
// function, and carries it through quantising and lowering.
func TestExporters(t *testing.T) {
	for an, attn := range attentions {
		for mn, mlp := range mlps {
			t.Run(an+"/"+mn, func(t *testing.T) {
				text := exporterText(attn, mlp)
				g, err := ir.Parse(text, ir.ParseOptions{})
				if err != nil {
					t.Fatal(err)
				}
				before, _ := g.Clone()
				rec := clean(t, g).Step("recognise").Report
				if len(rec.Notes) > 0 {
					t.Errorf("%s\n%s", rec, g)
				}
				qkv := rec.Get("qkv") + rec.Get("q") + rec.Get("k") + rec.Get("v")
				for _, key := range []string{"patch_embed", "scores", "probs", "context", "proj", "fc1", "fc2", "head", "blocks"} {
					if rec.Get(key) != 1 {
						t.Errorf("%s: %d", key, rec.Get(key))
					}
				}
				if qkv != 1 && qkv != 3 {
					t.Errorf("%d projections", qkv)
				}
				taps := passes.Taps(g)
				if len(taps) != 1 || taps[0].Heads != 2 || taps[0].Dim != 4 || taps[0].K.Type.Shape[1:].String() != "[2,4,4]" {
					t.Fatalf("taps %+v", taps)
				}
				if b := passes.Blocks(g); len(b) != 1 || b[0].Type.Shape[1:].String() != "[5,8]" && b[0].Type.Shape[1:].String() != "[4,8]" {
					t.Errorf("block outputs %v", b)
				}
				x := image(before, 3)
				if d := difference(t, before, g, x); d > 1e-5 {
					t.Errorf("Clean changes the function by %g", d)
				}
				d := passes.Driver{Check: true, ReproDir: t.TempDir()}
				plan := passes.DefaultPlan(4, 4)
				plan.IRM = passes.IRMRescale
				if _, err := d.Run(g, passes.Quantize(plan)); err != nil {
					t.Fatal(err)
				}
				setScales(g)
				student, _ := g.Clone()
				res, err := d.Run(g, passes.Lower)
				if err != nil {
					t.Fatal(err)
				}
				if res.Step("lower-packed").Report.Get("QMatMulA4B4") != 2 {
					t.Error(res.Step("lower-packed").Report)
				}
				if d := difference(t, student, g, x); d > 1e-4 {
					t.Errorf("Lower changes the function by %g", d)
				}
			})
		}
	}
}

// exporterText puts the parts into the frame, constants first.
func exporterText(attn, mlp string) string {
	var consts []string
	body := func(s string) string {
		var keep []string
		for _, l := range strings.Split(s, "\n") {
			if strings.HasPrefix(l, "  const ") {
				consts = append(consts, l)
			} else {
				keep = append(keep, l)
			}
		}
		return strings.Join(keep, "\n")
	}
	text := strings.Replace(exporterGraph, "ATTENTION", body(attn), 1)
	mlp = strings.NewReplacer("%three", "%three_f", "%k1", "%c1", "%k2", "%c2", "%k3", "%c3", "%k4", "%c4").Replace(mlp)
	text = strings.Replace(text, "MLP", body(mlp), 1)
	return strings.Replace(text, "  const %pw", strings.Join(consts, "\n")+"\n  const %pw", 1)
}
