package distill

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/dataset"
	"github.com/qvitc/qvitc/ir"
)

// A one-block attention classifier: 4 tokens of 6 channels, 2 heads, 3 classes.
// The student quantises weights, q, k, v and the attention map, and normalises q
// and k (IRM).
const tinyText = `graph "tiny" {
  input %x: f32[batch,4,6]
  const %wq: f32[6,6] = rand(1)
  const %wk: f32[6,6] = rand(2)
  const %wv: f32[6,6] = rand(3)
  const %head: f32[6,3] = rand(4)
  const %hb: f32[3] = rand(5)
  const %pos: f32[1,4,6] = rand(6)
  const %split: i64[4] = [0, 4, 2, 3]
  const %merge: i64[3] = [0, 4, 6]
  const %one: i64[1] = [1]
  const %d: f32[] = [0.57735]
STUDENTCONST  %xp: f32[batch,4,6] = Add(%x, %pos)
  WEIGHTS
  %q0: f32[batch,4,6] = MatMul(%XP, %WQ)
  %q1: f32[batch,4,2,3] = Reshape(%q0, %split)
  %q: f32[batch,2,4,3] = Transpose(%q1) {perm=[0, 2, 1, 3]i}
  %k0: f32[batch,4,6] = MatMul(%XP, %WK)
  %k1: f32[batch,4,2,3] = Reshape(%k0, %split)
  %k: f32[batch,2,4,3] = Transpose(%k1) {perm=[0, 2, 1, 3]i}
  %v0: f32[batch,4,6] = MatMul(%XP, %WV)
  %v1: f32[batch,4,2,3] = Reshape(%v0, %split)
  %v: f32[batch,2,4,3] = Transpose(%v1) {perm=[0, 2, 1, 3]i}
  QK
  %kt: f32[batch,2,3,4] = Transpose(%KQ) {perm=[0, 1, 3, 2]i}
  %a: f32[batch,2,4,4] = MatMul(%QQ, %kt)
  %ad: f32[batch,2,4,4] = Mul(%a, %d)
  %p: f32[batch,2,4,4] = Softmax(%ad) {axis=-1}
  PQUANT
  %o: f32[batch,2,4,3] = MatMul(%PQ, %VQ)
  %o1: f32[batch,4,2,3] = Transpose(%o) {perm=[0, 2, 1, 3]i}
  %o2: f32[batch,4,6] = Reshape(%o1, %merge)
  %mean: f32[batch,6] = ReduceMean(%o2, %one) {keepdims=0}
  %logits: f32[batch,3] = Gemm(%mean, %head, %hb)
  output %logits
}
`

func tinyTeacher(t testing.TB) *ir.Graph {
	return parse(t, strings.NewReplacer("STUDENTCONST", "", "  WEIGHTS\n", "", "  QK\n", "", "  PQUANT\n", "",
		"%XP", "%xp", "%WQ", "%wq", "%WK", "%wk", "%WV", "%wv", "%KQ", "%k", "%QQ", "%q", "%PQ", "%p", "%VQ", "%v").Replace(tinyText))
}

func tinyStudent(t testing.TB) *ir.Graph {
	const consts = `  const %gq: f32[3] = [1, 1, 1]
  const %bq: f32[3] = [0, 0, 0]
  const %gk: f32[3] = [1, 1, 1]
  const %bk: f32[3] = [0, 0, 0]
  const %sw: f32[6] = [0.3, 0.3, 0.3, 0.3, 0.3, 0.3]
  const %sw2: f32[6] = [0.3, 0.3, 0.3, 0.3, 0.3, 0.3]
  const %sw3: f32[6] = [0.3, 0.3, 0.3, 0.3, 0.3, 0.3]
  const %sq: f32[2] = [0.5, 0.5]
  const %sk: f32[2] = [0.5, 0.5]
  const %sv: f32[2] = [0.6, 0.6]
  const %sp: f32[2] = [0.15, 0.15]
  const %sx: f32[] = [0.4]
  const %zx: f32[] = [4]
`
	const weights = `%xq: f32[batch,4,6] = ai.qvitc::FakeQuant(%xp, %sx, %zx) {bits=3, signed=0}
  %wqq: f32[6,6] = ai.qvitc::FakeQuant(%wq, %sw) {axis=1, bits=3, signed=1}
  %wkq: f32[6,6] = ai.qvitc::FakeQuant(%wk, %sw2) {axis=1, bits=3, signed=1}
  %wvq: f32[6,6] = ai.qvitc::FakeQuant(%wv, %sw3) {axis=1, bits=3, signed=1}`
	const qk = `%qn: f32[batch,2,4,3] = LayerNormalization(%q, %gq, %bq) {axis=-1, epsilon=1e-5f}
  %kn: f32[batch,2,4,3] = LayerNormalization(%k, %gk, %bk) {axis=-1, epsilon=1e-5f}
  %qq: f32[batch,2,4,3] = ai.qvitc::FakeQuant(%qn, %sq) {axis=1, bits=3, signed=1}
  %kq: f32[batch,2,4,3] = ai.qvitc::FakeQuant(%kn, %sk) {axis=1, bits=3, signed=1}
  %vq: f32[batch,2,4,3] = ai.qvitc::FakeQuant(%v, %sv) {axis=1, bits=3, signed=1}`
	const pq = `%pq: f32[batch,2,4,4] = ai.qvitc::FakeQuant(%p, %sp) {axis=1, bits=3, signed=0}`
	return parse(t, strings.NewReplacer("STUDENTCONST", consts, "WEIGHTS", weights, "QK\n", qk+"\n", "PQUANT", pq,
		"%XP", "%xq", "%WQ", "%wqq", "%WK", "%wkq", "%WV", "%wvq", "%KQ", "%kq", "%QQ", "%qq", "%PQ", "%pq", "%VQ", "%vq").Replace(tinyText))
}

// tinyData gives random tokens; a third of the images has no label.
type tinyData struct {
	batch, batches int
	labels         func(i int) int32
}

func (d tinyData) Batches() int { return d.batches }

func (d tinyData) Batch(epoch, i int) (*dataset.Batch, error) {
	r := rand.New(rand.NewPCG(uint64(epoch), uint64(i)))
	b := &dataset.Batch{N: d.batch, X: make([]float32, d.batch*24), Labels: make([]int32, d.batch)}
	for k := range b.X {
		b.X[k] = float32(r.NormFloat64())
	}
	for k := range b.Labels {
		b.Labels[k] = int32(r.IntN(4)) - 1
		if d.labels != nil {
			b.Labels[k] = d.labels(k)
		}
	}
	return b, nil
}

func tinyJob(t testing.TB, o Options) Job {
	s, te := tinyStudent(t), tinyTeacher(t)
	return Job{Student: s, Teacher: te, Data: tinyData{batch: 40, batches: 10}, Options: o,
		Taps:     []TapPair{{s.Value("qn"), s.Value("kn"), te.Value("q"), te.Value("k")}},
		Features: []FeaturePair{{s.Value("o2"), te.Value("o2")}}}
}

// hash is a digest of all constants of a graph.
func hash(g *ir.Graph) string {
	var out []string
	for _, v := range g.Consts() {
		out = append(out, fmt.Sprint(v.Name, v.Const.Digest()))
	}
	slices.Sort(out)
	return digest(strings.Join(out, " "))
}
