package ops

// rotaryDims gives batch, heads, sequence and head width of X.
func rotaryDims(c *call) (b, h, s, d num, err error) {
	f := &c.in[0]
	if len(f.dims) == 4 {
		return f.dims[0], f.dims[1], f.dims[2], f.dims[3], nil
	}
	return c.headView(0, "num_heads")
}

func inferRotary(c *call) error {
	c.like(0, 0)
	if err := c.wantRank(0, 3, 4); err != nil || !c.in[0].ranked {
		return err
	}
	b, _, s, d, err := rotaryDims(c)
	if err != nil {
		return err
	}
	n := known(int64(c.intAttr("rotary_embedding_dim")))
	if n.is(0) {
		n = d
	}
	if n.isConst() && (n.c%2 != 0 || n.c < 0 || d.isConst() && n.c > d.c) {
		return c.Errorf("cannot rotate %s of %s elements", n, d)
	}
	half, rank := n.quo(known(2)), 3
	if c.given(3) {
		rank = 2
	}
	for i := 1; i < 3; i++ {
		f := &c.in[i]
		if !f.ranked {
			continue
		}
		if err := c.wantRank(i, rank, rank); err != nil {
			return err
		}
		want := []num{b, s, half}
		if rank == 2 {
			want = []num{unknown, half}
		}
		for a := range want {
			if o, ok := want[a].cmp(f.dims[a]); ok && o != 0 {
				return c.Errorf("input %d (%s) has shape %s, want %s", i, c.op.In[i].Name, numsText(f.dims), numsText(want))
			}
		}
	}
	return nil
}

// evalRotary rotates pairs of the first elements of each head by the angles of
// its position: neighbours when interleaved, else element i with i+half.
func evalRotary(c *call) error {
	bn, hn, sn, dn, err := rotaryDims(c)
	if err != nil {
		return err
	}
	B, H, S, D := int(bn.c), int(hn.c), int(sn.c), int(dn.c)
	n := c.intAttr("rotary_embedding_dim")
	if n == 0 {
		n = D
	}
	half := n / 2
	row := upTo(B * S)
	if c.given(3) {
		if c.t(3).Len() != B*S {
			return c.Errorf("position_ids has shape %v, want [%d,%d]", c.t(3).Shape, B, S)
		}
		if row, err = c.indices(3, c.t(1).Shape[0]); err != nil {
			return err
		}
	}
	v, cos, sin := floatsOf(c.t(0)), floatsOf(c.t(1)), floatsOf(c.t(2))
	flat := len(c.t(0).Shape) == 3
	for o := range B * H * S {
		b, h, s := o/(H*S), o/S%H, o%S
		at := o * D
		if flat {
			at = ((b*S+s)*H + h) * D
		}
		for i := range half {
			x, y := at+i, at+i+half
			if c.intAttr("interleaved") != 0 {
				x, y = at+2*i, at+2*i+1
			}
			cs, sn := cos[row[b*S+s]*half+i], sin[row[b*S+s]*half+i]
			v[x], v[y] = cs*v[x]-sn*v[y], sn*v[x]+cs*v[y]
		}
	}
	return put(c, 0, v)
}
