package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	"minirun/examples/workshop"
	"minirun/examples/workshop/course"
)

// A finding is one line of doctor: what is there, or what to do about it.
type finding struct {
	good bool
	text course.Text
}

// doctor looks whether this machine is ready for the labs. What only some labs need is
// no failure: those labs start in a kernel of their own.
func doctor(s *session, _ []string) error {
	list := []finding{s.runs(), readsProcesses()}
	images, controllers := map[string]bool{}, map[string]bool{}
	for _, l := range workshop.Labs {
		for _, name := range l.Images {
			images[name] = true
		}
		for _, name := range l.Controllers {
			controllers[name] = true
		}
	}
	for _, name := range sorted(images) {
		list = append(list, imageThere(name))
	}
	for _, name := range []string{"ps", "pgrep", "unshare", "nsenter"} {
		list = append(list, programThere(name))
	}
	code := 0
	for _, f := range list {
		mark := s.screen.green("✔")
		if !f.good {
			mark, code = s.screen.red("✘"), course.Cannot.Code()
		}
		fmt.Fprintln(s.screen, mark, f.text.In(s.language))
	}
	if missing, err := missingControllers(sorted(controllers)); err != nil || len(missing) > 0 {
		s.say("· cgroup v2 has no %s here: the labs that need it start in lab vm", "· 여기 cgroup v2에는 %s 컨트롤러가 없습니다: 필요한 실습은 lab vm에서 시작합니다", strings.Join(missing, ", "))
	}
	if code != 0 {
		return exitCode(code)
	}
	return nil
}

// runs asks minirun itself, which tries what this machine can do.
func (s *session) runs() finding {
	program, err := course.Minirun()
	if err != nil {
		return finding{false, course.T("minirun: not in PATH, nor beside lab: make build, make install", "minirun이 PATH에도 lab 옆에도 없습니다: make build, make install")}
	}
	out, err := exec.Command(program, "doctor").CombinedOutput()
	if err != nil {
		return finding{false, course.T("minirun doctor: %v: %s", "minirun doctor: %v: %s", err, strings.TrimSpace(string(out)))}
	}
	return finding{true, course.T("%s runs, as user %d", "%s 실행 가능 (사용자 %d)", program, os.Geteuid())}
}

func readsProcesses() finding {
	if v := course.HidesProcesses(); v != nil {
		return finding{false, v.Say}
	}
	return finding{true, course.T("/proc shows all processes", "/proc에 모든 프로세스가 보입니다")}
}

func imageThere(name string) finding {
	has, err := course.HasImage(name)
	switch {
	case err != nil:
		return finding{false, course.T("image %s: %v", "%s 이미지: %v", name, err)}
	case !has:
		return finding{false, course.T("image %s: not there: examples/%s/build makes it", "%s 이미지가 없습니다: examples/%s/build 로 만드세요", name, name)}
	}
	return finding{true, course.T("image %s", "%s 이미지", name)}
}

func programThere(name string) finding {
	if path, err := exec.LookPath(name); err == nil {
		return finding{true, course.T("%s", "%s", path)}
	}
	return finding{false, course.T("%s: not in PATH: it is in Debian's procps or util-linux", "%s: PATH에 없습니다. Debian의 procps나 util-linux에 있습니다", name)}
}
