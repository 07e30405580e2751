package distill

import (
	"context"
	"testing"
)

func TestPhases(t *testing.T) {
	j := tinyJob(t, Options{Threads: 2, DGD: DGD{Mode: DGDPaper, Lambda: 1}})
	j.Phases = &Phases{}
	if _, err := Train(context.Background(), j); err != nil {
		t.Fatal(err)
	}
	names := ""
	for _, p := range j.Phases.Times() {
		names += p.Name + " "
		if p.Time <= 0 {
			t.Errorf("%s took %v", p.Name, p.Time)
		}
	}
	if want := "forward teacher loss backward sum optimiser "; names != want {
		t.Errorf("phases %q, want %q", names, want)
	}
	measured := hash(j.Student)
	j.Phases.Reset()
	if d := j.Phases.Times()[0].Time; d != 0 {
		t.Errorf("after Reset: %v", d)
	}
	k := tinyJob(t, j.Options)
	if _, err := Train(context.Background(), k); err != nil {
		t.Fatal(err)
	}
	if hash(k.Student) != measured {
		t.Error("measuring changes the result")
	}
}
