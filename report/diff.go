package report

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/runtime"
)

// LayerDiff says how far a layer of model B is from the same layer of model A.
// Both get the same images; each layer the activations of its own model, so
// errors of layers before it are in.
type LayerDiff struct {
	Name   string   `json:"name"`
	Kind   string   `json:"kind"` // "linear", "attention" (the map), "context"
	BitsA  string   `json:"bits_a"`
	BitsB  string   `json:"bits_b"`
	SQNR   *float64 `json:"sqnr_db"` // 10 log10(sum a² / sum (a-b)²); null where the outputs are equal
	Cosine float64  `json:"cosine"`
	MaxErr float64  `json:"max_error"` // largest |a-b| of the outputs
	// WeightSQNR compares the weights as they are multiplied; null where they
	// are equal or there is none.
	WeightSQNR *float64 `json:"weight_sqnr_db"`
	// WeightCodes and InputCodes are the shares of equal codes, counted from the
	// zero point; null unless both layers have codes of the same width.
	WeightCodes *float64 `json:"weight_codes_equal"`
	InputCodes  *float64 `json:"input_codes_equal"`
	BytesA      int      `json:"weight_bytes_a"`
	BytesB      int      `json:"weight_bytes_b"`
}

// Comparison is what Diff found.
type Comparison struct {
	Layers    []LayerDiff `json:"layers"`              // the worst first
	OnlyA     []string    `json:"only_in_a,omitempty"` // layers without a partner
	OnlyB     []string    `json:"only_in_b,omitempty"`
	Images    int         `json:"images"`
	Labelled  int         `json:"labelled"`
	Agreement float64     `json:"agreement"` // share of images that get the same class
	MaxLogit  float64     `json:"max_logit_difference"`
	Median    float64     `json:"median_logit_difference"` // of the largest difference of each image
	Top1A     *float64    `json:"top1_a"`                  // null without labels
	Top1B     *float64    `json:"top1_b"`
}

// Batch gives images [n, ...] as the input of both models takes them, and their
// labels (-1: none). After the last batch n is 0.
type Batch func(i int) (x []float32, labels []int32, err error)

// DiffOptions say how Diff runs.
type DiffOptions struct {
	Name     func(*ir.Node) string // what people call a layer; pairs layers
	Threads  int
	Progress func(images int)
}

// Diff runs two models with the same input on the same images and compares them
// layer by layer: linear layers, attention maps and the products with v. Layers
// are paired by name, those left over by their order among their kind. Either
// model may be float, a student with FakeQuant nodes, or packed. The result does
// not depend on the number of threads.
func Diff(ctx context.Context, a, b *ir.Graph, batch Batch, o DiffOptions) (*Comparison, error) {
	if len(a.Inputs) != 1 || len(b.Inputs) != 1 {
		return nil, fmt.Errorf("the models have %d and %d inputs: diff compares models with one, the image", len(a.Inputs), len(b.Inputs))
	}
	d := &differ{a: side{g: a}, b: side{g: b}, threads: max(1, o.Threads)}
	res := &Comparison{Layers: []LayerDiff{}}
	d.pairs, res.OnlyA, res.OnlyB = pairProducts(findProducts(a, o.Name), findProducts(b, o.Name))
	d.tap()
	d.sums = make([]sums, len(d.pairs))
	var diffs []float64
	var same, rightA, rightB int
	for i := 0; ; i++ {
		x, labels, err := batch(i)
		if err != nil {
			return nil, err
		}
		if len(labels) == 0 {
			break
		}
		logitsA, logitsB, err := d.run(ctx, x, len(labels))
		if err != nil {
			return nil, err
		}
		for r, label := range labels {
			la, lb := row(logitsA, r, len(labels)), row(logitsB, r, len(labels))
			if len(la) != len(lb) {
				return nil, fmt.Errorf("the models tell %d and %d classes", len(la), len(lb))
			}
			ca, cb := best(la), best(lb)
			same += count(ca == cb)
			diffs = append(diffs, largest(la, lb))
			if label >= 0 {
				res.Labelled++
				rightA += count(ca == int(label))
				rightB += count(cb == int(label))
			}
		}
		res.Images += len(labels)
		if o.Progress != nil {
			o.Progress(res.Images)
		}
	}
	if res.Images == 0 {
		return nil, fmt.Errorf("there are no images to compare on")
	}
	for i, p := range d.pairs {
		switch t := &d.sums[i]; {
		case t.unlike:
			res.OnlyA, res.OnlyB = append(res.OnlyA, p.a.name), append(res.OnlyB, p.b.name)
		case math.IsNaN(t.ee) || math.IsInf(t.ee, 0):
			return nil, fmt.Errorf("the output of layer %s is not finite", ir.Quote(p.b.name))
		default:
			res.Layers = append(res.Layers, t.layer(p))
		}
	}
	slices.SortStableFunc(res.Layers, func(x, y LayerDiff) int { return cmp.Compare(decibels(x.SQNR), decibels(y.SQNR)) })
	slices.Sort(diffs)
	res.Agreement, res.MaxLogit, res.Median = float64(same)/float64(res.Images), diffs[len(diffs)-1], diffs[len(diffs)/2]
	if res.Labelled > 0 {
		ta, tb := float64(rightA)/float64(res.Labelled), float64(rightB)/float64(res.Labelled)
		res.Top1A, res.Top1B = &ta, &tb
	}
	return res, nil
}

// decibels orders SQNRs; equal outputs come last.
func decibels(v *float64) float64 {
	if v == nil {
		return math.Inf(1)
	}
	return *v
}

type pair struct{ a, b *product }

// pairProducts pairs products of the same kind by name; what is left, where both
// models have as many of the kind left, by order.
func pairProducts(as, bs []*product) (pairs []pair, onlyA, onlyB []string) {
	taken := map[*product]*product{}
	byName := map[string][]*product{}
	for _, b := range bs {
		byName[b.kind+" "+b.name] = append(byName[b.kind+" "+b.name], b)
	}
	free := map[*product]bool{}
	for _, b := range bs {
		free[b] = true
	}
	for _, a := range as {
		key := a.kind + " " + a.name
		if list := byName[key]; len(list) > 0 {
			taken[a], byName[key] = list[0], list[1:]
			delete(free, list[0])
		}
	}
	for _, kind := range []string{KindLinear, KindAttention, KindContext} {
		var left, right []*product
		for _, a := range as {
			if a.kind == kind && taken[a] == nil {
				left = append(left, a)
			}
		}
		for _, b := range bs {
			if b.kind == kind && free[b] {
				right = append(right, b)
			}
		}
		if len(left) == len(right) {
			for i, a := range left {
				taken[a] = right[i]
				delete(free, right[i])
			}
		}
	}
	for _, a := range as {
		if b := taken[a]; b != nil {
			pairs = append(pairs, pair{a, b})
		} else {
			onlyA = append(onlyA, a.name)
		}
	}
	for _, b := range bs {
		if free[b] {
			onlyB = append(onlyB, b.name)
		}
	}
	return pairs, onlyA, onlyB
}

// row is row r of n rows.
func row(v []float32, r, n int) []float32 { return v[r*len(v)/n : (r+1)*len(v)/n] }

func best(row []float32) int {
	k := 0
	for i, x := range row {
		if x > row[k] {
			k = i
		}
	}
	return k
}

func count(ok bool) int {
	if ok {
		return 1
	}
	return 0
}

// largest is the largest |a-b|; NaN counts as the largest of all.
func largest(a, b []float32) (worst float64) {
	for i := range a {
		if d := math.Abs(float64(a[i]) - float64(b[i])); !(d <= worst) {
			worst = d
		}
	}
	return worst
}

// side is one of the two models with its compiled programs by batch.
type side struct {
	g     *ir.Graph
	taps  []*ir.Value
	plans map[int]*runtime.Program
}
