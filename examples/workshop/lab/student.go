package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"minirun/cgroups"
	"minirun/examples/workshop/course"
)

// start begins a lab or, if it has begun, shows its text again.
func start(s *session, words []string) error {
	l, _, err := s.labOf(words)
	if err != nil {
		return err
	}
	if err := s.ready(l); err != nil {
		return err
	}
	unlock, err := s.store.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	a, err := s.store.Load(l.Number)
	if err != nil {
		return fmt.Errorf("%w (lab reset %d)", err, l.Number)
	}
	if a == nil {
		a = &course.Attempt{Lab: l.Number, Started: time.Now(), Values: l.Setup(course.NewDraw(taken))}
		if err := s.store.Save(a); err != nil {
			return err
		}
	}
	return s.show(l, a)
}

// taken says whether a container has a name. One that cannot be read has it.
func taken(name string) bool {
	c, err := course.FindContainer(name)
	return c != nil || err != nil
}

// show prints the lab's text.
func (s *session) show(l *course.Lab, a *course.Attempt) error {
	text, err := l.Page(s.language, a.Values)
	if err == nil {
		s.screen.markdown(text)
	}
	return err
}

// ready looks whether this machine has what the lab needs. A lab that needs controllers
// which are missing here starts in a kernel of our own, if there is a terminal for it.
func (s *session) ready(l *course.Lab) error {
	if _, err := course.Minirun(); err != nil {
		return errors.New(course.T("minirun: not in PATH, nor beside lab: make build, make install", "minirun이 PATH에도 lab 옆에도 없습니다: make build, make install").In(s.language))
	}
	if l.Root && os.Geteuid() != 0 {
		s.say("This user cannot: lab %d needs root. Use: sudo -s, or lab vm", "이 사용자로는 할 수 없습니다: %d번에는 root 권한이 필요합니다. sudo -s 하거나 lab vm을 쓰세요", l.Number)
		return exitCode(course.Cannot.Code())
	}
	for _, name := range l.Images {
		if err := s.awaitImage(name); err != nil {
			return err
		}
	}
	missing, err := missingControllers(l.Controllers)
	if err == nil && len(missing) > 0 {
		if _, err := unix.IoctlGetTermios(0, unix.TCGETS); err == nil && os.Getenv("LAB_VM") == "" {
			return s.vm(strconv.Itoa(l.Number))
		}
		s.say("This machine cannot: cgroup v2 has no controller %s here. Use: lab vm", "이 컴퓨터에서는 할 수 없습니다: cgroup v2에 %s 컨트롤러가 없습니다. 대신: lab vm", strings.Join(missing, ", "))
		return exitCode(course.Cannot.Code())
	}
	return err
}

// awaitImage is an error if an image is not there. In lab vm it is being made meanwhile,
// so we wait.
func (s *session) awaitImage(name string) error {
	has, err := course.HasImage(name)
	for end := time.Now().Add(time.Minute); !has && os.Getenv("LAB_VM") != "" && time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond)
		has, err = course.HasImage(name)
	}
	if err == nil && !has {
		err = errors.New(course.T("image %s: not there yet: examples/%s/build makes it", "%s 이미지가 아직 없습니다: examples/%s/build 로 만드세요", name, name).In(s.language))
	}
	return err
}

// missingControllers are those that cgroup v2 does not have here: not in the kernel, or
// a hierarchy of cgroup v1 holds them.
func missingControllers(wanted []string) (missing []string, err error) {
	if len(wanted) == 0 {
		return nil, nil
	}
	h, err := cgroups.Find()
	if errors.Is(err, cgroups.ErrNotMounted) {
		return wanted, nil
	}
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(h.Mount + "/cgroup.controllers")
	has := strings.Fields(string(text))
	for _, c := range wanted {
		if !slices.Contains(has, c) {
			missing = append(missing, c)
		}
	}
	return missing, err
}

// predict keeps what the student expects. Nobody grades it, so any words will do.
func predict(s *session, words []string) error {
	l, values, err := s.labOf(words)
	if err != nil {
		return err
	}
	if err := s.counted(l, "predict", values, l.Predict); err != nil {
		return err
	}
	return s.with(l, func(a *course.Attempt) error {
		a.Prediction = values
		s.say("Noted: %s. Now look.", "적어 두었습니다: %s. 이제 확인해 봅시다.", strings.Join(values, " "))
		return nil
	})
}

// counted is an error unless there are as many values as names for them.
func (s *session) counted(l *course.Lab, verb string, values, names []string) error {
	switch {
	case len(names) == 0:
		return errors.New(course.T("lab %d has nothing to %s", "%d번에는 %s 할 것이 없습니다", l.Number, verb).In(s.language))
	case len(values) != len(names):
		return errors.New(course.T("lab %s %d wants: %s", "lab %s %d 다음에 적을 것: %s", verb, l.Number, strings.Join(names, " ")).In(s.language))
	}
	return nil
}

// answer keeps the student's answer, and checks at once: a check that sees a thing while
// it is there can say later that it is gone.
func answer(s *session, words []string) error {
	l, values, err := s.labOf(words)
	if err != nil {
		return err
	}
	if err := s.counted(l, "answer", values, l.Answer); err != nil {
		return err
	}
	return s.with(l, func(a *course.Attempt) error {
		a.Answer = values
		s.say("Your answer: %s.", "답: %s.", strings.Join(values, " "))
		v := s.judge(l, a)
		s.screen.verdict(s.language, l, v)
		if v.Kind == course.Wrong || v.Kind == course.Cannot {
			return exitCode(v.Kind.Code())
		}
		return nil
	})
}

// judge asks the lab's check, and keeps where the student is.
func (s *session) judge(l *course.Lab, a *course.Attempt) course.Verdict {
	v := l.Check(a)
	a.LastWord = v.Say.En
	switch {
	case v.Kind == course.Right && a.Passed.IsZero():
		a.Passed = time.Now()
	case v.Kind == course.Wrong:
		a.Wrong++
	}
	return v
}

func check(s *session, words []string) error {
	watch := slices.Contains(words, "--watch")
	l, rest, err := s.labOf(slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w == "--watch" }))
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return fmt.Errorf("check: %s: want N [--watch]", rest[0])
	}
	if watch {
		return s.watch(l)
	}
	var v course.Verdict
	err = s.with(l, func(a *course.Attempt) error {
		a.Checks++
		v = s.judge(l, a)
		return nil
	})
	if err != nil {
		return err
	}
	s.screen.verdict(s.language, l, v)
	if v.Kind != course.Right {
		return exitCode(v.Kind.Code())
	}
	return nil
}

// watch checks twice a second until the lab is done, or cannot be. It prints a verdict
// when it is another one than before.
func (s *session) watch(l *course.Lab) error {
	last := ""
	for ; ; time.Sleep(500 * time.Millisecond) {
		var v course.Verdict
		if err := s.with(l, func(a *course.Attempt) error { v = s.judge(l, a); return nil }); err != nil {
			return err
		}
		if say := v.Say.En; say != last || v.Kind == course.Right {
			s.screen.verdict(s.language, l, v)
			last = say
		}
		if v.Kind == course.Right {
			return nil
		}
		if v.Kind == course.Cannot {
			return exitCode(v.Kind.Code())
		}
	}
}

// hint shows one hint more than before, then all three.
func hint(s *session, words []string) error {
	l, _, err := s.labOf(words)
	if err != nil {
		return err
	}
	return s.with(l, func(a *course.Attempt) error {
		list, err := l.Hints(s.language, a.Values)
		if err != nil {
			return err
		}
		a.Hints = min(a.Hints+1, len(list))
		for i, h := range list[:a.Hints] {
			fmt.Fprintf(s.screen, "%d/%d  %s\n", i+1, len(list), h)
		}
		return nil
	})
}

// solve prints the solution with the attempt's values or, with --run, lets sh(1) run it.
func solve(s *session, words []string) error {
	run := slices.Contains(words, "--run")
	l, _, err := s.labOf(slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w == "--run" }))
	if err != nil {
		return err
	}
	a, err := s.load(l)
	if err != nil {
		return err
	}
	script, err := fs.ReadFile(l.Files, "solution")
	if err != nil {
		return err
	}
	var values []string
	for _, key := range slices.Sorted(maps.Keys(a.Values)) {
		values = append(values, key+"="+a.Values[key])
	}
	if !run {
		fmt.Fprintf(s.screen, "%s\n%s", strings.Join(values, "\n"), script)
		return nil
	}
	cmd := exec.Command("sh", "-euc", string(script), "solution")
	cmd.Env = append(os.Environ(), values...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}
