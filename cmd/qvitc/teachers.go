package main

import (
	"fmt"

	"github.com/qvitc/qvitc/distill"
)

// teachers keeps what teachers gave, by their names, from one run of a command to
// the next; nil keeps nothing.
type teachers struct {
	answers     map[string]*distill.TeacherCache
	evaluations map[string]*distill.Evaluation
}

func newTeachers() *teachers {
	return &teachers{map[string]*distill.TeacherCache{}, map[string]*distill.Evaluation{}}
}

// teacherName is equal for two runs with the same teacher.
func (j *job) teacherName() string { return fmt.Sprintf("%s %+v", j.teacherSHA, j.o.passes) }

// cache gives the answers of a teacher during training; nil where nothing is kept.
func (t *teachers) cache(name string) *distill.TeacherCache {
	if t == nil {
		return nil
	}
	if t.answers[name] == nil {
		t.answers[name] = distill.NewTeacherCache()
	}
	return t.answers[name]
}

// evaluation gives what is known of name, or else the result of f.
func (t *teachers) evaluation(name func() string, f func() (*distill.Evaluation, error)) (*distill.Evaluation, error) {
	if t == nil {
		return f()
	}
	key := name()
	if e := t.evaluations[key]; e != nil {
		return e, nil
	}
	e, err := f()
	if err == nil {
		t.evaluations[key] = e
	}
	return e, err
}
