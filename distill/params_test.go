package distill

import (
	"fmt"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/ir"
)

func parse(t testing.TB, text string) *ir.Graph {
	t.Helper()
	g, err := ir.Parse(text, ir.ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestParams(t *testing.T) {
	g := parse(t, `graph "g" {
  input %x: f32[batch,4]
  const %w: f32[4,3] = [1,2,3,4,5,6,7,8,9,10,11,12]
  const %ws: f32[3] = [1,1,1]
  const %xs: f32[] = [0.5]
  const %xz: f32[] = [3]
  const %b: f32[3] = [0,0,0]
  const %gamma: f32[3] = [1,1,1]
  const %beta: f32[3] = [0,0,0]
  const %cls: f32[1,3] = [1,2,3]
  const %one: f32[1,3] = [1,2,3]
  const %shape: i64[2] = [1,3]
  const %pos: f32[1,3] = [1,2,3]
  const %mask: f32[1,3] = [0,-100,0]
  const %rsqrt: f32[] = [0.125]
  const %eps: f32[1] = [1e-5]
  const %gain: f32[3] = [1,1,1]
  const %wt: f32[3,3] = [1,2,3,4,5,6,7,8,9]
  const %k: f32[2,3] = [1,2,3,4,5,6]
  const %kb: f32[2] = [1,2]
  const %unused: f32[2] = [1,2]
  %xq: f32[batch,4] = ai.qvitc::FakeQuant(%x, %xs, %xz) {bits=4, signed=0}
  %wq: f32[4,3] = ai.qvitc::FakeQuant(%w, %ws) {axis=1, bits=4, signed=1}
  %y: f32[batch,3] = MatMul(%xq, %wq)
  %y1: f32[batch,3] = Add(%b, %y)
  %n: f32[batch,3] = LayerNormalization(%y1, %gamma, %beta)
  %id: f32[1,3] = Identity(%cls)
  %e: f32[1,3] = Expand(%id, %shape)
  %c: f32[?,3] = Concat(%e, %n, %one) {axis=0}
  %p: f32[?,3] = Add(%c, %pos)
  %m: f32[?,3] = Add(%p, %mask)
  %s: f32[?,3] = Mul(%m, %rsqrt)
  %s1: f32[?,3] = Add(%s, %eps)
  %s2: f32[?,3] = Mul(%s1, %gain)
  %t: f32[3,3] = Transpose(%wt) {perm=[1, 0]i}
  %u: f32[?,3] = MatMul(%s2, %t)
  %u2: f32[?,3] = MatMul(%u, %t)
  %o: f32[?,2] = Gemm(%u2, %k, %kb) {transB=1}
  output %o
}
`)
	var got []string
	for _, p := range Params(g) {
		got = append(got, fmt.Sprintf("%s:%s:%v", p.Name, p.Kind, p.Quant != nil))
	}
	want := "xs:scale:true xz:zero_point:true ws:scale:true w:weight:true b:bias:false gamma:norm:false beta:norm:false cls:embed:false one:embed:false pos:embed:false gain:norm:false wt:weight:false k:weight:false kb:bias:false"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
}

func TestUntie(t *testing.T) {
	g := parse(t, `graph "g" {
  input %x: f32[batch,2]
  const %w: f32[2,2] = [1,2,3,4]
  const %v: f32[2,2] = [1,2,3,4]
  %y: f32[batch,2] = MatMul(%x, %w)
  %z: f32[batch,2] = MatMul(%y, %v)
  output %z
}
`)
	g.Value("v").SetConst(g.Value("w").Const)
	teacher := parse(t, g.String())
	teacher.Value("w").SetConst(g.Value("w").Const)
	p := Params(g)
	untie(p, g, teacher)
	p[0].Data[0], p[1].Data[0] = 10, 20
	if a, b, c := g.Value("w").Const.F32()[0], g.Value("v").Const.F32()[0], teacher.Value("w").Const.F32()[0]; a != 10 || b != 20 || c != 1 {
		t.Errorf("w %v, v %v, teacher's w %v", a, b, c)
	}
}
