package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"minirun/examples/workshop/course"
)

// A player is one student at one lab, with a home directory of their own.
type player struct {
	lab  *course.Lab
	home string
	env  []string // with the attempt's values, once it has begun
}

// A part is one thing to try.
type part struct {
	name string
	play func() error
}

// limit is how long a script or a command may take. It is not what a student has to wait.
const limit = 90 * time.Second

func newPlayer(l *course.Lab) (*player, error) {
	home, err := os.MkdirTemp("", "workshop")
	if err == nil { // not exported: a shell in a container, or in a chroot, has a prompt of its own
		err = os.WriteFile(filepath.Join(home, ".shrc"), []byte("PS1='$ '\n"), 0o644)
	}
	return &player{lab: l, home: home}, err
}

func (p *player) close() { os.RemoveAll(p.home) }

// parts are what the lab's files ask for. A lab without a wrong way or without a mutation
// fails: a check that accepts everything would not be noticed.
func (p *player) parts() []part {
	list := []part{{"unsolved", p.unsolved}, {"solution", p.solution}}
	wrong, _ := fs.Glob(p.lab.Files, "wrong-*") // the pattern is right
	for _, name := range wrong {
		list = append(list, part{name, func() error { return p.fails(name, "") }})
	}
	if len(wrong) < 3 {
		list = append(list, part{"wrong ways", func() error { return fmt.Errorf("%d of them, want at least 3", len(wrong)) }})
	}
	return append(list,
		part{"mutation", p.mutation},
		part{"lab.md", func() error { return p.transcript("en") }},
		part{"lab.ko.md", func() error { return p.transcript("ko") }},
		part{"reset, killed", p.killedReset})
}

// alone starts the lab, plays, resets, and compares the machine with what it was.
func (p *player) alone(play func() error) error {
	before := fingerprint(p.home)
	err := p.begin()
	if err == nil {
		err = play()
	}
	if _, out, resetErr := p.run("en", "lab", "reset", "--all"); resetErr != nil {
		err = errors.Join(err, fmt.Errorf("reset: %w: %s", resetErr, out))
	}
	return errors.Join(err, before.same(p.home))
}

// begin starts the lab, and learns the values that it has drawn.
func (p *player) begin() error {
	p.env = nil
	if _, out, err := p.run("en", "lab", "start", fmt.Sprint(p.lab.Number)); err != nil {
		return fmt.Errorf("start: %w: %s", err, out)
	}
	store := course.Store{Dir: filepath.Join(p.home, "minirun-lab")}
	a, err := store.Load(p.lab.Number)
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(a.Values)) {
		p.env = append(p.env, key+"="+a.Values[key])
	}
	return nil
}

// values are the attempt's.
func (p *player) values() map[string]string {
	m := map[string]string{}
	for _, word := range p.env {
		key, value, _ := strings.Cut(word, "=")
		m[key] = value
	}
	return m
}

// environment is that of a student: a directory of their own, a language.
func (p *player) environment(language string) []string {
	locale := map[string]string{"en": "C.UTF-8", "ko": "ko_KR.UTF-8"}[language]
	return append(append(os.Environ(), "LC_ALL="+locale, "XDG_DATA_HOME="+p.home, "TERM=dumb", "ENV="+p.home+"/.shrc"), p.env...)
}

// run runs a program, and returns its exit code and what it printed. The error is nil
// only if the code is 0. What the program leaves running may hold its output open: after
// the program has ended we wait a second for that.
func (p *player) run(language, program string, words ...string) (code int, out string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, words...)
	cmd.Env, cmd.Dir, cmd.WaitDelay = p.environment(language), p.home, time.Second
	text, err := cmd.CombinedOutput()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	return cmd.ProcessState.ExitCode(), string(text), err
}

// able says whether this machine can do the lab. lab start says what is missing.
func (p *player) able() bool {
	code, out, _ := p.run("en", "lab", "start", fmt.Sprint(p.lab.Number))
	p.run("en", "lab", "reset", "--all")
	if code == course.Cannot.Code() {
		fmt.Printf("skip\tlab %d: %s\n", p.lab.Number, strings.TrimSpace(out))
		return false
	}
	return true // or its parts fail, and say why
}

// check asks lab, and compares the exit code and, if there is one, the sentence.
func (p *player) check(language, sentence string, want ...course.Kind) error {
	code, out, _ := p.run(language, "lab", "check", fmt.Sprint(p.lab.Number))
	if !slices.Contains(want, course.Kind(code)) {
		return fmt.Errorf("check: exit code %d, want %v: %s", code, want, out)
	}
	if !strings.Contains(out, sentence) {
		return fmt.Errorf("check says no %q, but: %s", sentence, out)
	}
	return nil
}

func (p *player) unsolved() error {
	return errors.Join(p.check("en", "not yet", course.NotYet), p.check("ko", "아직", course.NotYet))
}

// script runs one of the lab's scripts, as a student would type it.
func (p *player) script(name string) (out string, err error) {
	text, err := fs.ReadFile(p.lab.Files, name)
	if err != nil {
		return "", err
	}
	_, out, err = p.run("en", "sh", "-euc", string(text), name)
	return out, err
}

// solution is right, and stays right. The checks change nothing: the machine is the same
// after ten of them, but for the attempt's own file.
func (p *player) solution() error {
	if out, err := p.script("solution"); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	if err := p.check("en", "✔", course.Right); err != nil {
		return err
	}
	before := fingerprint(p.home)
	for range 10 {
		if err := p.check("ko", "✔", course.Right); err != nil {
			return fmt.Errorf("asked again: %w", err)
		}
	}
	return before.same(p.home)
}

// fails plays a wrong way, with some of minirun's steps left out if changed says so. The
// file's first lines have the sentences that check must say.
func (p *player) fails(name, sentences string) error {
	text, err := fs.ReadFile(p.lab.Files, name)
	if err != nil {
		return err
	}
	if sentences == "" {
		sentences = string(text)
	}
	out, _ := p.script(name) // its exit code is that of a mistake
	for _, language := range []string{"en", "ko"} {
		sentence := header(sentences, language)
		if sentence == "" {
			return fmt.Errorf("no line # %s: SENTENCE", language)
		}
		if err := p.check(language, sentence, course.NotYet, course.Wrong); err != nil {
			return fmt.Errorf("%w\nthe script printed: %s", err, out)
		}
	}
	return nil
}

// header is the rest of the line "# language: …".
func header(text, language string) string {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "# "+language+": "); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// mutation plays the solution with a minirun that leaves out the step that the lab is
// about. The file mutation says how: words that go behind run, or, on lines that begin
// with "config ", what sed does to the container's config.json.
func (p *player) mutation() error {
	text, err := fs.ReadFile(p.lab.Files, "mutation")
	if err != nil {
		return err
	}
	var words, edits []string
	for line := range strings.Lines(string(text)) {
		edit, isEdit := strings.CutPrefix(strings.TrimSpace(line), "config ")
		switch {
		case isEdit:
			edits = append(edits, edit)
		case !strings.HasPrefix(line, "#"):
			words = append(words, strings.Fields(line)...)
		}
	}
	if len(words)+len(edits) == 0 {
		return errors.New("it changes nothing")
	}
	dir, err := os.MkdirTemp("", "mutation")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := mutate(dir, words, strings.Join(edits, ";")); err != nil {
		return err
	}
	p.env = append(p.env, "PATH="+dir+":"+os.Getenv("PATH"))
	return p.fails("solution", string(text))
}

// mutate makes the programs of a mutation in a directory: minirun is a script that puts
// words behind run, and becomes a copy of minirun in real/. Beside that is a minirunc which
// edits config.json first.
func mutate(dir string, words []string, edit string) error {
	minirun, err := exec.LookPath("minirun")
	if err != nil {
		return err
	}
	minirunc, err := exec.LookPath("minirunc")
	if err != nil {
		return err
	}
	binary, err := os.ReadFile(minirun)
	if err != nil {
		return err
	}
	real := filepath.Join(dir, "real")
	first := fmt.Sprintf("#!/bin/sh\n[ \"$1\" != run ] || { shift; set -- run %s \"$@\"; }\nexec %s/minirun \"$@\"\n", strings.Join(words, " "), real)
	second := fmt.Sprintf("#!/bin/sh\n[ \"$1\" != run ] || sed -z -E -i '%s' \"$(printf '%%s\\n' \"$@\" | grep -A1 -x -e --bundle | tail -n 1)/config.json\"\nexec %s \"$@\"\n", edit, minirunc)
	return errors.Join(os.Mkdir(real, 0o755),
		os.WriteFile(filepath.Join(dir, "minirun"), []byte(first), 0o755),
		os.WriteFile(filepath.Join(real, "minirun"), binary, 0o755),
		os.WriteFile(filepath.Join(real, "minirunc"), []byte(second), 0o755))
}

// killedReset kills reset with SIGKILL again and again, each time a little later, and
// lets the last one end.
func (p *player) killedReset() error {
	if out, err := p.script("solution"); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	for delay := time.Millisecond; delay < 40*time.Millisecond; delay += delay/2 + time.Millisecond {
		cmd := exec.Command("lab", "reset", fmt.Sprint(p.lab.Number))
		cmd.Env, cmd.Dir = p.environment("en"), p.home
		cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true} // what it has started is killed with it
		if err := cmd.Start(); err != nil {
			return err
		}
		time.Sleep(delay)
		unix.Kill(-cmd.Process.Pid, unix.SIGKILL) // ESRCH: it was faster
		cmd.Wait()                                // its end is what we have made it
	}
	return nil
}
