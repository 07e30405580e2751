package distill

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

// floatJob trains the float graph on labels alone.
func floatJob(t testing.TB, o Options) Job {
	o.Loss = &Loss{Hard: 1, Smoothing: 0.1}
	return Job{Student: tinyTeacher(t), Data: tinyData{batch: 40, batches: 10, labels: func(i int) int32 { return int32(i % 3) }}, Options: o}
}

func TestTrainWithoutTeacher(t *testing.T) {
	j := floatJob(t, Options{Epochs: 3, LR: 0.02, Optimiser: AdamW, WeightDecay: 0.05, WarmUp: 0.1})
	before := hash(j.Student)
	r, err := Train(context.Background(), j)
	if err != nil || r.Updates != 30 || hash(j.Student) == before {
		t.Fatalf("%+v, %v", r, err)
	}
}

func TestFrozen(t *testing.T) {
	j := floatJob(t, Options{Epochs: 1, LR: 0.02})
	j.Frozen = func(p Param) bool { return p.Name != "head" && p.Name != "hb" }
	values := func() map[string]string {
		out := map[string]string{}
		for _, v := range j.Student.Consts() {
			out[v.Name] = v.Const.Digest()
		}
		return out
	}
	before := values()
	r, err := Train(context.Background(), j)
	if err != nil || r.Params != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	for name, d := range values() {
		if (d != before[name]) != (name == "head" || name == "hb") {
			t.Errorf("%s: changed %v", name, d != before[name])
		}
	}
	j.Frozen = func(Param) bool { return true }
	if _, err := Train(context.Background(), j); err == nil || !strings.Contains(err.Error(), "frozen") {
		t.Errorf("everything frozen: %v", err)
	}
}

// Epoch sees the average, and leaves no trace in the result.
func TestEpoch(t *testing.T) {
	o := Options{Epochs: 3, LR: 0.02, EMA: 0.5}
	j := floatJob(t, o)
	if _, err := Train(context.Background(), j); err != nil {
		t.Fatal(err)
	}
	want := hash(j.Student)
	j = floatJob(t, o)
	var seen []int
	var hashes []string
	j.Epoch = func(done int) error {
		seen = append(seen, done)
		hashes = append(hashes, hash(j.Student))
		return nil
	}
	if _, err := Train(context.Background(), j); err != nil {
		t.Fatal(err)
	}
	if hash(j.Student) != want || !slices.Equal(seen, []int{1, 2}) {
		t.Errorf("epochs %v; same result %v", seen, hash(j.Student) == want)
	}
	// the average at the end of a run that stops there
	short := floatJob(t, o)
	boom := errors.New("boom")
	short.Epoch = func(int) error { hashes = append(hashes, hash(short.Student)); return boom }
	if _, err := Train(context.Background(), short); err != boom {
		t.Errorf("the error of Epoch: %v", err)
	}
	if hashes[2] != hashes[0] || hash(short.Student) == hashes[0] {
		t.Error("the student does not hold the average inside Epoch alone")
	}
}
