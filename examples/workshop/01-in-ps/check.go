// Package one is lab 1: a container is a process of the host, and ps shows it.
package one

import (
	"embed"
	"fmt"

	"minirun/container/procfs"
	"minirun/examples/workshop/course"
)

//go:embed *.md solution mutation wrong-*
var files embed.FS

// Lab is lab 1.
var Lab = course.Lab{
	Number:  1,
	Title:   course.Text{En: "It is in ps", Ko: "ps에 다 보인다"},
	Files:   files,
	Images:  []string{"httpd"},
	Predict: []string{"LINES"},
	Answer:  []string{"PID"},
	Setup:   func(d *course.Draw) map[string]string { return map[string]string{"name": d.Name()} },
	Check:   check,
}

// check compares the answer with the container's first process: its pid on the host.
func check(a *course.Attempt) course.Verdict {
	c, missing := a.Running("name", "minirun run -d --network none --name «name» httpd")
	if missing != nil {
		return *missing
	}
	see, read := fmt.Sprintf("grep NSpid /proc/%d/status", c.Pid), fmt.Sprintf("/proc/%d/status (NSpid, PPid)", c.Pid)
	names := course.Names(c.Pid)
	if len(names) < 2 {
		return course.IsWrong("This httpd has one name only: it is in ps, but it is no pid 1 of its own. Was it run with --without pid?",
			"이 httpd는 이름이 하나뿐입니다. ps에 보이기는 하지만 자기만의 1번이 아닙니다. --without pid로 실행했나요?").From(see, read)
	}
	first, err := procfs.One("/proc", c.Pid)
	if err != nil {
		return course.IsNotYet("the container ends just now: %v", "컨테이너가 지금 막 끝나고 있습니다: %v", err)
	}
	all, err := course.Processes(c.Pid)
	if err != nil {
		return course.IsCannot("%v", "%v", err)
	}
	if v := judge(a, first, all); v != nil {
		return *v
	}
	none := course.Text{}
	v := course.IsRight().
		Fact(course.T("the first process of %s", "%s의 첫 프로세스", c.Name), course.T("%d on the host, %d inside: %s", "호스트에서 %d번, 안에서 %d번: %s", c.Pid, first.Inner(), first.Line()), none).
		Fact(course.T("its parent", "부모"), course.T("%d, minirun's monitor", "%d번, minirun의 모니터", first.Parent), none).
		Fact(course.T("its lines in ps", "ps에 늘어난 줄"), course.T("%d, and the monitor's", "%d줄, 그리고 모니터 한 줄", len(all)), none)
	if a.Prediction != nil {
		v = v.Fact(course.T("you predicted", "예상"), course.T("%s", "%s", a.Prediction[0]), none)
	}
	return v.From(see, read)
}

// judge names the mistake in the answer; nil if it is right.
func judge(a *course.Attempt, first *procfs.Process, all []*procfs.Process) *course.Verdict {
	var v course.Verdict
	name := a.Values["name"]
	if a.Answer == nil {
		v = course.IsNotYet("%s runs. Which pid has its first httpd on the host? lab answer 1 PID", "%s가 돌고 있습니다. 첫 httpd는 호스트에서 몇 번인가요? lab answer 1 PID", name)
		return &v
	}
	switch answer := a.Answer[0]; answer {
	case fmt.Sprint(first.Pid):
		return nil
	case "1":
		v = course.IsWrong("1 is its name inside. On the host somebody else is number 1: what does ps call it?", "1번은 안에서 부르는 이름입니다. 호스트의 1번은 따로 있습니다. ps에는 몇 번으로 나오나요?")
	case fmt.Sprint(first.Parent):
		v = course.IsWrong("%s is minirun's monitor: it waits for the end of httpd, outside of the container. httpd is its child.", "%s번은 minirun의 모니터입니다. 컨테이너 밖에서 httpd가 끝나기를 기다립니다. httpd는 그 자식입니다.", answer)
	default:
		for _, p := range all {
			if fmt.Sprint(p.Pid) == answer {
				v = course.IsWrong("%s is one of its workers. The one that you look for is their parent, and runs as root.", "%s번은 일꾼 프로세스입니다. 찾는 것은 그 부모이고, root로 돌고 있습니다.", answer)
				return &v
			}
		}
		v = course.IsWrong("%s is no process of %s. The monitor's line has the name; look right below it.", "%s번은 %s의 프로세스가 아닙니다. 이름이 보이는 모니터 줄 바로 아래를 보세요.", answer, name)
	}
	return &v
}
