package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"minirun/examples/workshop"
	"minirun/examples/workshop/course"
)

// list prints the labs.
func list(s *session, _ []string) error {
	for _, l := range workshop.Labs {
		a, err := s.store.Load(l.Number)
		mark := "·"
		switch {
		case err != nil:
			mark = "?"
		case a != nil && !a.Passed.IsZero():
			mark = s.screen.green("✔")
		case a != nil:
			mark = "▸"
		}
		fmt.Fprintf(s.screen, "%s %2d  %s\n", mark, l.Number, l.Title.In(s.language))
	}
	return nil
}

// A Record is one student's progress, as `lab progress --json` prints it and `lab
// report` reads it. Nothing is sent anywhere: the student hands the file over.
type Record struct {
	Student  string            `json:"student"` // the login name and the machine's
	Written  time.Time         `json:"written"`
	Attempts []*course.Attempt `json:"attempts"`
}

func progress(s *session, words []string) error {
	r := Record{Student: student(), Written: time.Now()}
	for _, l := range workshop.Labs {
		a, err := s.store.Load(l.Number)
		if err != nil {
			return fmt.Errorf("%w (lab reset %d)", err, l.Number)
		}
		if a != nil {
			r.Attempts = append(r.Attempts, a)
		}
	}
	if slices.Equal(words, []string{"--json"}) {
		e := json.NewEncoder(s.screen)
		e.SetIndent("", "\t")
		return e.Encode(r)
	}
	done := 0
	for _, a := range r.Attempts {
		if !a.Passed.IsZero() {
			done++
		}
	}
	width := len(workshop.Labs)
	s.say("%s%s  %d of %d labs done", "%s%s  실습 %[4]d개 중 %[3]d개 완료", s.screen.green(strings.Repeat("█", done)), strings.Repeat("░", width-done), done, width)
	for _, a := range r.Attempts {
		s.line(a)
	}
	return nil
}

// line is one attempt: its lab, how long it took or where it stands.
func (s *session) line(a *course.Attempt) {
	title := workshop.Find(a.Lab).Title.In(s.language)
	if a.Passed.IsZero() {
		s.say("▸ %2d  %s: begun %s, %d hints; %s", "▸ %2d  %s: %s 시작, 힌트 %d개; %s", a.Lab, title, a.Started.Format("15:04"), a.Hints, a.LastWord)
		return
	}
	minutes := int(a.Passed.Sub(a.Started).Minutes() + .5)
	s.say("%s %2d  %s: %d minutes, %d hints", "%s %2d  %s: %d분, 힌트 %d개", s.screen.green("✔"), a.Lab, title, minutes, a.Hints)
}

func student() string {
	host, _ := os.Hostname() // without one the login name has to do
	name := os.Getenv("USER")
	if name == "" {
		name = fmt.Sprint(os.Geteuid())
	}
	return name + "@" + host
}

// report prints, from the files of many students, who has done what and who is stuck where.
func report(s *session, words []string) error {
	if len(words) == 0 {
		return errors.New("report: no file given: each student's is made by lab progress --json > NAME.json")
	}
	done, begun := map[int]int{}, map[int]int{}
	var stuck []string
	for _, path := range words {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var r Record
		if err := json.Unmarshal(text, &r); err != nil {
			return fmt.Errorf("report: %s: %w", path, err)
		}
		for _, a := range r.Attempts {
			begun[a.Lab]++
			if !a.Passed.IsZero() {
				done[a.Lab]++
				continue
			}
			stuck = append(stuck, course.T("%-20s lab %d, for %d minutes, %d hints, %d times wrong: %s", "%-20s %d번, %d분째, 힌트 %d개, 오답 %d번: %s",
				strings.TrimSuffix(filepath.Base(path), ".json"), a.Lab, int(r.Written.Sub(a.Started).Minutes()), a.Hints, a.Wrong, a.LastWord).In(s.language))
		}
	}
	for _, l := range workshop.Labs {
		s.say("%2d  %-34s %d done, %d begun, of %d", "%2d  %-34s %d명 완료, %d명 시작, 모두 %d명", l.Number, l.Title.In(s.language), done[l.Number], begun[l.Number], len(words))
	}
	for _, line := range stuck {
		fmt.Fprintln(s.screen, line)
	}
	return nil
}
