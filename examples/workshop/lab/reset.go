package main

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"minirun/examples/workshop"
	"minirun/examples/workshop/course"
)

// reset undoes a lab, or with --all every lab: its containers, what else it has made,
// and last the attempt, so that a reset that was killed can be done again.
func reset(s *session, words []string) error {
	if slices.Equal(words, []string{"--all"}) {
		return s.resetAll(func(*course.Attempt) bool { return true })
	}
	l, _, err := s.labOf(words)
	if err != nil {
		return err
	}
	return s.reset(l)
}

func (s *session) resetAll(which func(a *course.Attempt) bool) error {
	var all error
	for _, l := range workshop.Labs {
		if a, err := s.store.Load(l.Number); err == nil && (a == nil || !which(a)) {
			continue
		}
		all = errors.Join(all, s.reset(l))
	}
	return all
}

func (s *session) reset(l *course.Lab) error {
	unlock, err := s.store.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	a, err := s.store.Load(l.Number)
	if a == nil && err == nil {
		s.say("Lab %d is not started: nothing to undo.", "%d번은 시작하지 않았습니다. 되돌릴 것이 없습니다.", l.Number)
		return nil
	}
	if err == nil { // else the file is spoilt, and its values are lost: only the file is removed
		if err = clean(l, a); err != nil {
			return err
		}
	}
	if err := s.store.Forget(l.Number); err != nil {
		return err
	}
	s.say("Lab %d is undone.", "%d번을 되돌렸습니다.", l.Number)
	return nil
}

// clean ends what an attempt has made.
func clean(l *course.Lab, a *course.Attempt) error {
	for _, key := range slices.Sorted(maps.Keys(a.Values)) {
		if strings.HasPrefix(key, "name") {
			if err := course.Remove(a.Values[key]); err != nil {
				return err
			}
		}
	}
	if l.Clean != nil {
		return l.Clean(a)
	}
	return nil
}

// jump is lab goto: it undoes what is begun and not done, and starts a lab.
func jump(s *session, words []string) error {
	l, _, err := s.labOf(words)
	if err != nil {
		return err
	}
	err = s.resetAll(func(a *course.Attempt) bool { return a.Passed.IsZero() && a.Lab != l.Number })
	if err != nil {
		return err
	}
	return start(s, words)
}
