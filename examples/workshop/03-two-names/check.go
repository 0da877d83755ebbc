// Package two is lab 3: a process in a pid namespace has two ids, one inside and one
// outside.
package two

import (
	"embed"
	"fmt"

	"minirun/examples/workshop/course"
)

//go:embed *.md solution mutation wrong-*
var files embed.FS

// Lab is lab 3.
var Lab = course.Lab{
	Number:  3,
	Title:   course.Text{En: "Two names for one process", Ko: "프로세스 하나, 이름 두 개"},
	Files:   files,
	Images:  []string{"busybox"},
	Predict: []string{"INSIDE", "OUTSIDE"},
	Answer:  []string{"HOST", "INSIDE"},
	Setup: func(d *course.Draw) map[string]string {
		return map[string]string{"name": d.Name(), "seconds": d.Number(3000, 9999)}
	},
	Check: check,
}

// check looks for the shell, then for the sleep, then at the answer, then whether the
// sleep, which it has seen, is gone and the shell is not.
func check(a *course.Attempt) course.Verdict {
	seconds := a.Values["seconds"]
	c, missing := a.Running("name", "minirun run -it --network none --name «name» busybox sh")
	switch {
	case missing != nil && missing.Kind == course.NotYet && a.Seen["sleep"] != "":
		return course.IsWrong("The container is gone: pid 1 ended, and with pid 1 the kernel ends all. That is lab 13. Start again: lab reset 3.",
			"컨테이너가 사라졌습니다. 1번 프로세스가 끝나면 커널이 나머지도 모두 끝냅니다(13번에서 다룹니다). 다시 시작하세요: lab reset 3.")
	case missing != nil:
		return *missing
	}
	shell := course.Names(c.Pid)
	if len(shell) < 2 {
		return course.IsWrong("The shell has one name only, %d: it has no pid namespace of its own, so there is nothing to see. Was it run with --without pid?",
			"셸의 이름이 %d 하나뿐입니다. 자기 PID 네임스페이스가 없으니 볼 것도 없습니다. --without pid로 실행했나요?", c.Pid).
			From(fmt.Sprintf("grep NSpid /proc/%d/status", c.Pid), fmt.Sprintf("/proc/%d/status (NSpid)", c.Pid))
	}
	running, err := seeSleep(a, c.Pid, seconds)
	if err != nil {
		return course.IsCannot("%v", "%v", err)
	}
	if a.Seen["sleep"] == "" {
		return course.IsNotYet("the shell is there (host %d, inside %d), but no check has seen the sleep %s. Start it in the container, and answer while it runs.",
			"셸은 있습니다(호스트 %d, 안쪽 %d). 그런데 sleep %s 가 도는 것을 아직 못 봤습니다. 컨테이너에서 띄우고, 도는 동안 답해 주세요.", c.Pid, shell[len(shell)-1], seconds)
	}
	var host, inside int
	fmt.Sscan(a.Seen["sleep"], &host, &inside)
	if v := judge(a.Answer, fmt.Sprint(c.Pid), fmt.Sprint(host), fmt.Sprint(inside)); v != nil {
		return *v
	}
	if running {
		return course.IsNotYet("the sleep still runs (host %d). End it from the host, not with ^C inside.",
			"sleep이 아직 돌고 있습니다(호스트 %d). 안에서 ^C를 누르지 말고 호스트에서 끝내세요.", host).
			From(fmt.Sprintf("grep NSpid /proc/%d/status", host), fmt.Sprintf("/proc/%d/status (NSpid)", host))
	}
	return right(a, c.Pid, shell[len(shell)-1], host, inside)
}

// seeSleep says whether the sleep runs in the container, and remembers both of its ids.
func seeSleep(a *course.Attempt, pid int, seconds string) (running bool, err error) {
	list, err := course.Processes(pid)
	if err != nil {
		return false, err
	}
	p := course.Find(list, "sleep", seconds)
	if p == nil || p.State == 'Z' {
		return false, nil
	}
	a.See("sleep", fmt.Sprintf("%d %d", p.Pid, p.Inner()))
	return true, nil
}

// judge names the mistake in an answer; nil if it is right.
func judge(answer []string, shell, host, inside string) *course.Verdict {
	var v course.Verdict
	switch {
	case answer == nil:
		v = course.IsNotYet("the sleep is there. Which are its two names? lab answer 3 HOST INSIDE",
			"sleep이 보입니다. 두 이름은 각각 몇 번인가요? lab answer 3 호스트 안쪽")
	case answer[0] == host && answer[1] == inside:
		return nil
	case answer[0] == shell:
		v = course.IsWrong("%s is the shell. Its child is the sleep: look one line below it in ps afxuww.",
			"%s번은 셸입니다. 그 자식이 sleep입니다. ps afxuww에서 바로 아랫줄을 보세요.", shell)
	case answer[0] == inside && answer[1] == host:
		v = course.IsWrong("These are the two names, but the wrong way round: first the host's, then the one inside.",
			"두 이름은 맞는데 순서가 반대입니다. 호스트 쪽을 먼저, 안쪽을 나중에 적으세요.")
	case answer[0] == host && answer[1] == host:
		v = course.IsWrong("That is the host's name for it. Inside, nobody has ever heard of %s: ask there with ps.",
			"그건 호스트가 부르는 이름입니다. 안에서는 아무도 %s번을 모릅니다. 안에서 ps로 물어보세요.", host)
	case answer[0] == host:
		v = course.IsWrong("%s is right for the host, but %s is not its name inside: the last number of NSpid is.",
			"호스트의 %s번은 맞습니다. 하지만 안쪽 이름은 %s번이 아닙니다. NSpid의 마지막 숫자를 보세요.", host, answer[1])
	default:
		v = course.IsWrong("On the host, %s is not the sleep. Find it in ps afxuww by its command line.",
			"호스트에서 %s번은 그 sleep이 아닙니다. ps afxuww에서 명령줄을 보고 찾으세요.", answer[0])
	}
	return &v
}

func right(a *course.Attempt, shellHost, shellInside, host, inside int) course.Verdict {
	none := course.Text{}
	v := course.IsRight().
		Fact(course.T("the shell of %s", "%s의 셸", a.Values["name"]), course.T("host %d, inside %d", "호스트 %d, 안쪽 %d", shellHost, shellInside), none).
		Fact(course.T("the sleep %s", "sleep %s", a.Values["seconds"]), course.T("host %d, inside %d, as you answered", "호스트 %d, 안쪽 %d: 답과 같습니다", host, inside), none)
	if a.Prediction != nil {
		v = v.Fact(course.T("you predicted for the shell", "셸에 대한 예상"), course.T("inside %s, outside %s", "안쪽 %s, 바깥쪽 %s", a.Prediction[0], a.Prediction[1]), none)
	}
	return v.
		Fact(course.T("the sleep now", "지금 sleep은"), course.T("gone; the shell lives", "끝났고, 셸은 살아 있습니다"), none).
		From(fmt.Sprintf("grep NSpid /proc/%d/status", shellHost), fmt.Sprintf("/proc/%d/status (NSpid)", shellHost), fmt.Sprintf("/proc/%d/status (NSpid)", host))
}
