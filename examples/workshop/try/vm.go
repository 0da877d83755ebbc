package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/containerd/console"

	"minirun/examples/workshop/course"
)

// tryVM types into lab vm: the terminal has the window's size, before and after it
// changes; ^C ends what runs inside, and nothing else; there are controllers; a lab can be
// done there; the exit code comes out, and the terminal is as it was.
func tryVM() error {
	p, err := newPlayer(&course.Lab{})
	if err != nil {
		return err
	}
	defer p.close()
	t, err := openTerminal(p.environment("en"), p.home)
	if err != nil {
		return err
	}
	defer t.close()
	examples, err := os.Getwd()
	if err != nil {
		return err
	}
	before, err := t.enter("stty -g", false, func(out string) bool { return out != "" })
	if err != nil {
		return err
	}
	if err := t.expect("cd "+examples+" && lab vm\n", "vm # ", time.Minute); err != nil {
		return err
	}
	for _, step := range []struct{ keys, want string }{
		{"stty size\n", "50 1000"},
		{"(sleep 2; echo it runs) & sleep 99\n", "\nit runs"}, // not ^C before the shell has made it the foreground
		{"\x03", "vm # "},
		{"echo code $?\n", "code 130"},
		{"cat /sys/fs/cgroup/cgroup.controllers\n", "memory pids"},
		{"lab start 3 >/dev/null; lab solve 3 --run; lab check 3; lab reset 3\n", "✔ 3. Two names"},
	} {
		if err := t.expect(step.keys, step.want, time.Minute); err != nil {
			return err
		}
	}
	if err := t.expect("", "Lab 3 is undone", time.Minute); err != nil {
		return err
	}
	if err := t.master.Resize(console.WinSize{Height: 40, Width: 120}); err != nil {
		return err
	}
	time.Sleep(2 * time.Second) // it is asked for twice a second
	if err := t.expect("stty size\n", "40 120", 10*time.Second); err != nil {
		return err
	}
	if err := t.expect("exit 7\n", "\n$ ", time.Minute); err != nil {
		return err
	}
	if _, err := t.enter("echo code $?", false, func(out string) bool { return out == "code 7\n" }); err != nil {
		return fmt.Errorf("its exit code is not 7: %w", err)
	}
	after, err := t.enter("stty -g", false, func(out string) bool { return out == before })
	if err != nil {
		return fmt.Errorf("the terminal's settings are %q, and were %q", after, before)
	}
	return nil
}

// expect types keys, and waits until something is shown.
func (t *terminal) expect(keys, want string, limit time.Duration) error {
	if keys != "" {
		t.Lock()
		t.shown.Reset()
		t.Unlock()
		if _, err := t.master.Write([]byte(keys)); err != nil {
			return err
		}
	}
	for end := time.Now().Add(limit); !strings.Contains(t.text(), want); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("after %q no %q is shown, but: %s", keys, want, t.text())
		}
	}
	return nil
}
