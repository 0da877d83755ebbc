// Package pidone is lab 13: signals and zombies of a process that is pid 1 of its
// namespace.
package pidone

import (
	"embed"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"minirun/container/procfs"
	"minirun/examples/workshop/course"
)

//go:embed *.md solution mutation wrong-*
var files embed.FS

// Lab is lab 13.
var Lab = course.Lab{
	Number:  13,
	Title:   course.Text{En: "Pid 1 does not listen", Ko: "1번은 듣지 않는다"},
	Files:   files,
	Images:  []string{"busybox"},
	Predict: []string{"SECONDS", "EXIT-CODE"},
	Setup: func(d *course.Draw) map[string]string {
		return map[string]string{"name1": d.Name(), "name2": d.Name(), "seconds": d.Number(3000, 9999), "code": d.Number(40, 99)}
	},
	Check: check,
}

// check follows the first container, which is deaf and has a zombie, to its end, and then
// the second, which is neither.
func check(a *course.Attempt) course.Verdict {
	if v := first(a); v != nil {
		return *v
	}
	return second(a)
}

// zombies are the children of a process that have ended, and for which it has not
// waited. A zombie is in no namespace any more that can be read; but it has a parent.
func zombies(pid int) (list []*procfs.Process, err error) {
	all, err := course.All()
	for _, p := range all {
		if p.Parent == pid && p.State == 'Z' {
			list = append(list, p)
		}
	}
	return list, err
}

// first is nil when the first container has ended as it should.
func first(a *course.Attempt) *course.Verdict {
	c, missing := a.Running("name1", "minirun run -d --network none --name «name1» busybox sh -c 'sleep 1 & exec sleep «seconds»'")
	if missing == nil {
		v := deaf(a, c)
		return &v
	}
	if missing.Kind != course.NotYet || a.Seen["zombie"] == "" {
		return missing
	}
	var v course.Verdict
	switch {
	case c == nil || c.Ended == nil:
		v = course.IsWrong("%s is gone, and with it how it ended: stop it, but do not remove it. lab reset 13.", "%s가 통째로 사라져서 어떻게 끝났는지 알 수 없습니다. 멈추기만 하고 지우지는 마세요. lab reset 13.", a.Values["name1"])
	case c.Ended.Code != 128+int(unix.SIGKILL):
		v = course.IsWrong("%s has ended with exit code %d: it did listen.", "%s가 종료 코드 %d로 끝났습니다. 들었다는 뜻이네요.", c.Name, c.Ended.Code)
	default:
		return nil
	}
	return &v
}

// deaf looks at the first container while it runs.
func deaf(a *course.Attempt, c *course.Container) course.Verdict {
	see, read := fmt.Sprintf("grep Sig /proc/%d/status; ps --ppid %d", c.Pid, c.Pid), fmt.Sprintf("/proc/%d/status (SigCgt)", c.Pid)
	dead, err := zombies(c.Pid)
	switch {
	case err != nil:
		return course.IsCannot("%v", "%v", err)
	case len(course.Names(c.Pid)) < 2:
		return course.IsWrong("%s is no pid 1: TERM would simply end it, and the host's init would reap its orphans. Was it run with --without pid?", "%s는 1번이 아닙니다. TERM을 보내면 그냥 끝나고 고아는 호스트의 init이 거둡니다. --without pid로 실행했나요?", c.Name)
	case course.Catches(c.Pid, unix.SIGTERM):
		return course.IsWrong("pid 1 of %s catches TERM: the first container is to be deaf. exec sleep, with no trap.", "%s의 1번이 TERM을 잡고 있습니다. 첫 컨테이너는 귀가 먹어야 합니다. trap 없이 exec sleep으로 띄우세요.", c.Name).From(see, read)
	case len(dead) == 0:
		return course.IsNotYet("%s runs, and has no zombie yet. It takes a second; or was there no sleep 1 in the background?", "%s가 돌고 있지만 아직 좀비가 없습니다. 1초쯤 걸립니다. 백그라운드의 sleep 1을 빠뜨렸나요?", c.Name).From(see, read)
	}
	a.See("zombie", fmt.Sprint(dead[0].Pid))
	return course.IsNotYet("%s is deaf, and has a zombie (host %d). Send it TERM, then stop it, and count the seconds: time minirun stop -t 3 %s",
		"%s는 귀가 먹었고 좀비도 하나 있습니다(호스트 %d번). TERM을 보내 본 다음 멈추면서 몇 초 걸리는지 재 보세요: time minirun stop -t 3 %s", c.Name, dead[0].Pid, c.Name).From(see, read)
}

func second(a *course.Attempt) course.Verdict {
	c, missing := a.Running("name2", `minirun run -d --network none --name «name2» busybox sh -c 'trap "exit «code»" TERM; while :; do sleep 1 & wait $!; done'`)
	if missing == nil {
		return listening(a, c)
	}
	if missing.Kind != course.NotYet || c == nil || c.Ended == nil {
		missing.Say = course.Text{En: "The deaf one is gone, by KILL. " + missing.Say.En, Ko: "귀먹은 1번은 KILL로 끝났습니다. " + missing.Say.Ko}
		return *missing
	}
	switch {
	case c.Ended.Code == 128+int(unix.SIGKILL):
		return course.IsWrong("%s was killed (137). One that listens ends by itself before the time is over: stop it with TERM, and let it wait for its children in a way that a trap can interrupt.",
			"%s는 강제로 끝났습니다(137). 듣는 1번이라면 시간이 다 되기 전에 스스로 끝나야 합니다. TERM으로 멈추고, 자식은 trap이 끼어들 수 있게 wait로 기다리세요.", c.Name)
	case a.Seen["listens"] == "":
		return course.IsNotYet("%s has ended before a check has seen it. Remove it, start it again, and check while it runs.", "확인하기 전에 %s가 끝나 버렸습니다. 지우고 다시 띄워서 도는 동안 확인하세요.", c.Name)
	case fmt.Sprint(c.Ended.Code) != a.Values["code"]:
		return course.IsWrong("%s has ended with exit code %d, not with %s from its own handler.", "%s의 종료 코드가 %d입니다. 핸들러가 내는 %s이 아닙니다.", c.Name, c.Ended.Code, a.Values["code"])
	}
	none := course.Text{}
	v := course.IsRight().
		Fact(course.T("%s", "%s", a.Values["name1"]), course.T("no handler for TERM, one zombie (host %s); ended by KILL: exit code 137", "TERM 핸들러 없음, 좀비 하나(호스트 %s번); KILL로 끝남: 종료 코드 137", a.Seen["zombie"]), none).
		Fact(course.T("%s", "%s", c.Name), course.T("a handler, no zombie; ended by itself: exit code %d", "핸들러 있음, 좀비 없음; 스스로 끝남: 종료 코드 %d", c.Ended.Code), none)
	if a.Prediction != nil {
		v = v.Fact(course.T("you predicted for the first", "첫 컨테이너에 대한 예상"), course.T("%s seconds, exit code %s", "%s초, 종료 코드 %s", a.Prediction[0], a.Prediction[1]), none)
	}
	return v.From("minirun ps -a", fmt.Sprintf("the exit status of %s and %s, which the kernel told their monitors (waitid(2))", a.Values["name1"], c.Name))
}

// listening looks at the second container while it runs.
func listening(a *course.Attempt, c *course.Container) course.Verdict {
	see, read := fmt.Sprintf("grep SigCgt /proc/%d/status", c.Pid), fmt.Sprintf("/proc/%d/status (SigCgt)", c.Pid)
	if !course.Catches(c.Pid, unix.SIGTERM) {
		return course.IsWrong("pid 1 of %s has no handler for TERM: bit 15 of SigCgt is not set. Give its shell a trap.", "%s의 1번에는 TERM 핸들러가 없습니다. SigCgt의 15번 비트가 꺼져 있습니다. 셸에 trap을 걸어 주세요.", c.Name).From(see, read)
	}
	dead, err := zombies(c.Pid)
	if len(dead) > 0 { // it may be about to wait for it
		time.Sleep(200 * time.Millisecond)
		before := dead[0].Pid
		if dead, err = zombies(c.Pid); len(dead) > 0 && dead[0].Pid == before {
			return course.IsWrong("%s listens, but has a zombie (host %d): it does not wait for its children.", "%s는 듣기는 하는데 좀비가 있습니다(호스트 %d번). 자식을 wait하지 않는군요.", c.Name, before).From(see, read)
		}
	}
	if err != nil {
		return course.IsCannot("%v", "%v", err)
	}
	a.See("listens", fmt.Sprint(c.Pid))
	return course.IsNotYet("%s listens, and has no zombie. Stop it: time minirun stop -t 3 %s", "%s는 듣고 있고 좀비도 없습니다. 멈춰 보세요: time minirun stop -t 3 %s", c.Name, c.Name).From(see, read)
}
