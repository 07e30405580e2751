package ops

import (
	"math"
	"slices"

	"github.com/qvitc/qvitc/ir"
)

// Scaled dot-product attention (newest form: softcap before the mask) and rotary embedding.
var attentionOps = []*Op{
	{
		Name: "Attention", Since: 25,
		In: []Param{in("Q", "T1", floats), in("K", "T1", floats), in("V", "T2", floats), opt("attn_mask", "", numeric|boolean),
			opt("past_key", "T1", floats), opt("past_value", "T2", floats), opt("nonpad_kv_seqlen", "", i64)},
		Out: []Param{in("Y", "T1", floats), opt("present_key", "T1", floats), opt("present_value", "T2", floats), opt("qk_matmul_output", "T1", floats)},
		Attrs: []Attr{attrInt("is_causal", 0), attrOpt("kv_num_heads", Int), attrOpt("q_num_heads", Int), attrInt("qk_matmul_output_mode", 0),
			attrOpt("scale", Float), attrF("softcap", 0), attrOpt("softmax_precision", Int),
			attrInt("left_window_size", -1), attrInt("right_window_size", -1)},
		infer: inferAttention, eval: evalAttention,
		macs: attentionMACs,
	},
	{
		Name: "RotaryEmbedding", Since: 23,
		In:    []Param{in("X", "T", floats), in("cos_cache", "T", floats), in("sin_cache", "T", floats), opt("position_ids", "", i64)},
		Out:   []Param{in("Y", "T", floats)},
		Attrs: []Attr{attrInt("interleaved", 0), attrInt("num_heads", 0), attrInt("rotary_embedding_dim", 0)},
		infer: inferRotary, eval: evalRotary,
	},
}

// heads are the 4-D views [B, H, S, D] of Q, K and V, K and V with the past put
// in front.
type heads struct {
	batch, qHeads, kvHeads num
	qLen, newLen, kvLen    num // newLen: K and V without the past
	qkDim, vDim            num
	flat                   bool // Q is 3-D: [B, S, H*D]
}

func (c *call) headView(i int, attr string) (b, h, s, d num, err error) {
	f := &c.in[i]
	if len(f.dims) == 4 {
		return f.dims[0], f.dims[1], f.dims[2], f.dims[3], nil
	}
	n := c.intAttr(attr)
	if n < 1 {
		return b, h, s, d, c.Errorf("3-D inputs need attribute %s", attr)
	}
	d, ok := f.dims[2].divExact(known(int64(n)))
	if !ok && f.dims[2].isConst() {
		return b, h, s, d, c.Errorf("width %s does not divide into %d heads", f.dims[2], n)
	}
	return f.dims[0], known(int64(n)), f.dims[1], d, nil
}

func attentionHeads(c *call) (h *heads, err error) {
	for i := range 3 {
		if !c.in[i].ranked {
			return nil, nil
		}
		if err := c.wantRank(i, 3, 4); err != nil {
			return nil, err
		}
	}
	if len(c.in[0].dims) != len(c.in[1].dims) || len(c.in[1].dims) != len(c.in[2].dims) {
		return nil, c.Errorf("Q, K and V have ranks %d, %d and %d", len(c.in[0].dims), len(c.in[1].dims), len(c.in[2].dims))
	}
	h = &heads{flat: len(c.in[0].dims) == 3}
	var kb, vb, vh, vs, kd num
	if h.batch, h.qHeads, h.qLen, h.qkDim, err = c.headView(0, "q_num_heads"); err != nil {
		return nil, err
	}
	if kb, h.kvHeads, h.newLen, kd, err = c.headView(1, "kv_num_heads"); err != nil {
		return nil, err
	}
	if vb, vh, vs, h.vDim, err = c.headView(2, "kv_num_heads"); err != nil {
		return nil, err
	}
	for _, p := range [][2]num{{h.batch, kb}, {h.batch, vb}, {h.kvHeads, vh}, {h.newLen, vs}, {h.qkDim, kd}} {
		if s, ok := p[0].cmp(p[1]); ok && s != 0 {
			return nil, c.Errorf("Q %s, K %s and V %s do not fit together", numsText(c.in[0].dims), numsText(c.in[1].dims), numsText(c.in[2].dims))
		}
	}
	if h.qHeads.isConst() && h.kvHeads.isConst() && (h.kvHeads.c == 0 || h.qHeads.c%h.kvHeads.c != 0) {
		return nil, c.Errorf("%s query heads are not a multiple of %s key heads", h.qHeads, h.kvHeads)
	}
	h.kvLen = h.newLen
	if c.given(4) != c.given(5) {
		return nil, c.Errorf("past_key and past_value must be given together")
	}
	if c.given(4) {
		past := unknown
		for i, d := range []num{h.qkDim, h.vDim} {
			f := &c.in[4+i]
			if !f.ranked {
				continue
			}
			if len(f.dims) != 4 {
				return nil, c.Errorf("%s has rank %d, wants 4", c.op.In[4+i].Name, len(f.dims))
			}
			want := []num{h.batch, h.kvHeads, past, d}
			for a, w := range want {
				if s, ok := w.cmp(f.dims[a]); ok && s != 0 {
					return nil, c.Errorf("%s of shape %s does not fit %s", c.op.In[4+i].Name, numsText(f.dims), numsText(want))
				}
			}
			past = f.dims[2]
		}
		h.kvLen = h.newLen.add(past)
	}
	return h, nil
}

func inferAttention(c *call) error {
	h, err := attentionHeads(c)
	if err != nil || h == nil {
		return err
	}
	if m := c.intAttr("qk_matmul_output_mode"); m < 0 || m > 3 {
		return c.Errorf("qk_matmul_output_mode is %d", m)
	}
	if f := c.arg(3); f.have && f.ranked {
		if err := c.wantRank(3, 1, 4); err != nil {
			return err
		}
		mask := f.dims
		scores := []num{h.batch, h.qHeads, h.qLen, h.kvLen}
		// a mask may be shorter than the keys; the rest is then masked out
		if last := mask[len(mask)-1]; last.isConst() && h.kvLen.isConst() && last.c > h.kvLen.c {
			return c.Errorf("attn_mask of shape %s reaches past %s keys", numsText(mask), h.kvLen)
		}
		head := slices.Clone(mask)
		head[len(head)-1] = known(1)
		s, ok := broadcastShapes(scores, head)
		if !ok || len(s) != 4 {
			return c.Errorf("attn_mask of shape %s does not broadcast to %s", numsText(mask), numsText(scores))
		}
	}
	if h.flat {
		c.shape(0, h.batch, h.qLen, h.qHeads.mul(h.vDim))
	} else {
		c.shape(0, h.batch, h.qHeads, h.qLen, h.vDim)
	}
	c.shape(1, h.batch, h.kvHeads, h.kvLen, h.qkDim)
	c.shape(2, h.batch, h.kvHeads, h.kvLen, h.vDim)
	c.shape(3, h.batch, h.qHeads, h.qLen, h.kvLen)
	return nil
}

func attentionMACs(c *call) (int64, bool) {
	h, err := attentionHeads(c)
	if err != nil || h == nil {
		return 0, false
	}
	n := prod([]num{h.batch, h.qHeads, h.qLen, h.kvLen, h.qkDim.add(h.vDim)})
	return n.c, n.isConst()
}

// headData reads Q, K or V as [B, H, S, D].
func headData(c *call, i int, h, d int) []float64 {
	v, s := floatsOf(c.t(i)), c.t(i).Shape
	if len(s) == 4 {
		return v
	}
	out := make([]float64, len(v))
	w := newOdometer([]int{s[0], h, s[1], d}, []int{s[1] * h * d, d, h * d, 1})
	for o := range out {
		out[o] = v[w.at[0]]
		w.next()
	}
	return out
}

// withPast puts past [B, H, P, D] in front of v [B, H, S, D] on axis 2.
func withPast(c *call, i int, v []float64, blocks, s, d int) []float64 {
	if !c.given(i) {
		return v
	}
	p := c.t(i).Shape[2]
	past := floatsOf(c.t(i))
	out := make([]float64, 0, len(v)+len(past))
	for b := range blocks {
		out = append(out, past[b*p*d:(b+1)*p*d]...)
		out = append(out, v[b*s*d:(b+1)*s*d]...)
	}
	return out
}

// evalAttention computes softmax(softcap(scale*Q*Kᵀ) + bias)*V in float64. The
// fourth output is, by qk_matmul_output_mode, the scaled product, the same after
// softcap, after the bias, or after the softmax. A row whose keys are all masked
// gives zeros.
func evalAttention(c *call) error {
	h, err := attentionHeads(c)
	if err != nil {
		return err
	}
	B, H, G := int(h.batch.c), int(h.qHeads.c), int(h.kvHeads.c)
	S, L, D, V := int(h.qLen.c), int(h.kvLen.c), int(h.qkDim.c), int(h.vDim.c)
	q := headData(c, 0, H, D)
	k := withPast(c, 4, headData(c, 1, G, D), B*G, int(h.newLen.c), D)
	v := withPast(c, 5, headData(c, 2, G, V), B*G, int(h.newLen.c), V)
	scale := 1 / math.Sqrt(float64(D))
	if c.Attrs.Has("scale") {
		scale = c.floatAttr("scale")
	}
	bias, err := attentionBias(c, []int{B, H, S, L}, L-int(h.newLen.c))
	if err != nil {
		return err
	}
	softcap := c.floatAttr("softcap")
	y, shown := make([]float64, B*H*S*V), make([]float64, B*H*S*L)
	stage := func(mode int, row []float64, o int) {
		if c.intAttr("qk_matmul_output_mode") == mode {
			copy(shown[o*L:], row)
		}
	}
	row, at := make([]float64, L), upTo(L)
	for o := range B * H * S {
		g := o/(H*S)*G + o/S%H/(H/G) // key head of this row
		for j := range row {
			row[j] = scale * dot(q[o*D:(o+1)*D], k[(g*L+j)*D:])
		}
		stage(0, row, o)
		for j := range row {
			if softcap > 0 {
				row[j] = softcap * math.Tanh(row[j]/softcap)
			}
		}
		stage(1, row, o)
		for j := range row {
			row[j] += bias[o*L+j]
		}
		stage(2, row, o)
		m, s := softmaxSum(row, at)
		for j := range row {
			if math.IsInf(m, -1) {
				row[j] = 0
				continue
			}
			row[j] = math.Exp(row[j]-m) / s
			for d := range V {
				y[o*V+d] += row[j] * v[(g*L+j)*V+d]
			}
		}
		stage(3, row, o)
	}
	if h.flat { // [B, H, S, V] to [B, S, H*V]
		out := make([]float64, len(y))
		w := newOdometer([]int{B, S, H, V}, []int{H * S * V, V, S * V, 1})
		for o := range out {
			out[o] = y[w.at[0]]
			w.next()
		}
		y = out
	}
	for i, data := range [][]float64{y, k, v, shown} {
		if c.wanted(i) {
			if err := put(c, i, data); err != nil {
				return err
			}
		}
	}
	return nil
}

func dot(a, b []float64) float64 {
	s := 0.0
	for i, x := range a {
		s += x * b[i]
	}
	return s
}

// attentionBias sums what is added to the scores [B, H, S, L]: the mask, and
// -Inf where causality, the window or nonpad_kv_seqlen hide a key. past is the
// number of cached keys.
func attentionBias(c *call, shape []int, past int) ([]float64, error) {
	inf := math.Inf(-1)
	bias := make([]float64, product(shape))
	if c.given(3) {
		m := c.t(3)
		v := floatsOf(m)
		if m.Elem == ir.Bool {
			for i := range v {
				if v[i] = 0; !ir.Data[bool](m)[i] {
					v[i] = inf
				}
			}
		}
		last := m.Shape[len(m.Shape)-1]
		part := slices.Clone(shape)
		if last != 1 {
			part[3] = last
		}
		w := newOdometer(shape, spread(m.Shape, part))
		for o := range bias {
			if last != 1 && w.index[3] >= last {
				bias[o] = inf // a short mask hides the keys it does not reach
			} else {
				bias[o] = v[w.at[0]]
			}
			w.next()
		}
	}
	var lens []int64
	if c.given(6) {
		if lens = intsOf(c.t(6)); len(lens) != shape[0] {
			return nil, c.Errorf("nonpad_kv_seqlen has %d values for a batch of %d", len(lens), shape[0])
		}
	}
	left, right := c.intAttr("left_window_size"), c.intAttr("right_window_size")
	if c.intAttr("is_causal") != 0 {
		right = 0
	}
	w := newOdometer(shape)
	for o := range bias {
		p, j := w.index[2]+past, w.index[3] // absolute positions of query and key
		if lens != nil {
			n := int(lens[w.index[0]])
			if p = w.index[2] + n - shape[2]; j >= n {
				bias[o] = inf
			}
		}
		if left >= 0 && j < p-left || right >= 0 && j > p+right {
			bias[o] = inf
		}
		w.next()
	}
	return bias, nil
}
