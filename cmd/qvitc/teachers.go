package main

import (
	"fmt"
	"sync"

	"github.com/qvitc/qvitc/distill"
)

// teachers keeps what teachers gave, by their names, from one run of a command to
// the next; nil keeps nothing.
type teachers struct {
	abreast     bool // runs go side by side
	mu          sync.Mutex
	answers     map[string]*distill.TeacherCache
	evaluations map[string]*distill.Evaluation
}

func newTeachers(abreast bool) *teachers {
	return &teachers{abreast: abreast, answers: map[string]*distill.TeacherCache{}, evaluations: map[string]*distill.Evaluation{}}
}

// teacherName is equal for two runs with the same teacher.
func (j *job) teacherName() string { return fmt.Sprintf("%s %+v", j.teacherSHA, j.o.passes) }

// cache gives the answers of a teacher during training; nil where nothing is kept.
func (t *teachers) cache(name string) *distill.TeacherCache {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.answers[name] == nil {
		t.answers[name] = distill.NewTeacherCache()
		t.answers[name].Abreast = t.abreast
	}
	return t.answers[name]
}

// evaluation gives what is known of name, or else the result of f, which runs side
// by side wait for.
func (t *teachers) evaluation(name func() string, f func() (*distill.Evaluation, error)) (*distill.Evaluation, error) {
	if t == nil {
		return f()
	}
	key := name()
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.evaluations[key]; e != nil {
		return e, nil
	}
	e, err := f()
	if err == nil {
		t.evaluations[key] = e
	}
	return e, err
}
