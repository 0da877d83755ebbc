package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"

	"minirun/examples/workshop"
	"minirun/examples/workshop/course"
)

// inVM is what runs in the kernel of our own: it makes the images, whose store is empty
// there, in the background (lab start waits for them), shows a lab if one is given, and
// becomes a shell. Its arguments are the folders of lab, of the examples and of minirun,
// the lab's number or nothing, and the images.
const inVM = `
examples=$1 minirun=$2/minirun number=$3; shift 3
for image; do "$examples/$image/build" "$minirun"; done </dev/null >/dev/null 2>&1 &
export PS1='vm # ' LAB_VM=1
[ -z "$number" ] || lab start "$number"
if command -v bash >/dev/null; then exec bash --norc -i; fi
exec sh -i
`

// vm becomes a shell in a kernel of our own, which has all controllers of cgroup v2, and in
// which nothing can break the host.
func vm(s *session, words []string) error {
	if len(words) > 0 {
		return fmt.Errorf("vm: %s: it takes no words", words[0])
	}
	return s.vm("")
}

// vm is left with exit. The attempts are the student's own there, too.
func (s *session) vm(number string) error {
	if os.Getenv("LAB_VM") != "" {
		return errors.New(course.T("vm: this is one already", "vm: 이미 그 안입니다").In(s.language))
	}
	if _, err := unix.IoctlGetTermios(0, unix.TCGETS); err != nil {
		return errors.New(course.T("vm: standard input is no terminal", "vm: 표준 입력이 터미널이 아닙니다").In(s.language))
	}
	examples, err := findExamples()
	if err != nil {
		return err
	}
	minirun, err := course.Minirun()
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	images := map[string]bool{}
	for _, l := range workshop.Labs {
		for _, name := range l.Images {
			images[name] = true
		}
	}
	s.say("A kernel of your own, in some seconds. Nothing in it can break the host; exit leaves it. For a second terminal: tmux.",
		"몇 초 뒤면 나만의 커널입니다. 여기서는 무엇을 해도 호스트가 망가지지 않습니다. exit로 나옵니다. 터미널이 하나 더 필요하면 tmux.")
	// A folder that is an argument is shown in the guest even if it is below /tmp, where the guest has its own.
	argv := append([]string{"run", "--tty", "--share", s.store.Dir, "--", "sh", "-c", inVM, filepath.Dir(self), examples, filepath.Dir(minirun), number}, sorted(images)...)
	env := append(os.Environ(), "PATH="+filepath.Dir(self)+":"+filepath.Dir(minirun)+":"+os.Getenv("PATH"))
	program := filepath.Join(examples, "kernel/run")
	return fmt.Errorf("execute %s: %w", program, unix.Exec(program, argv, env))
}

// findExamples is the folder examples of minirun: in the working folder, beside lab, or
// where an installed lab has it.
func findExamples() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	dir := filepath.Dir(self)
	for _, place := range []string{"examples", filepath.Join(dir, "examples"), filepath.Join(dir, "../share/minirun/examples")} {
		if _, err := exec.LookPath(filepath.Join(place, "kernel/run")); err == nil {
			return filepath.Abs(place)
		}
	}
	return "", errors.New("vm: examples/kernel/run is neither here nor beside lab: run lab vm in a clone of minirun")
}
