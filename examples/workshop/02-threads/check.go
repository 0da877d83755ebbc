// Package threads is lab 2: a process has threads, and ps shows them only if asked.
package threads

import (
	"embed"
	"fmt"
	"strconv"

	"minirun/examples/workshop/course"
)

//go:embed *.md solution mutation wrong-*
var files embed.FS

// Lab is lab 2.
var Lab = course.Lab{
	Number:  2,
	Title:   course.Text{En: "Threads", Ko: "스레드"},
	Files:   files,
	Images:  []string{"httpd"},
	Predict: []string{"PROCESSES", "THREADS"},
	Answer:  []string{"THREADS"},
	Setup: func(d *course.Draw) map[string]string {
		return map[string]string{"name": d.Name(), "threads": d.Number(5, 24)}
	},
	Check: check,
}

// check sums up Threads: in the status of every process of the container.
func check(a *course.Attempt) course.Verdict {
	c, missing := a.Running("name", "minirun run -d --network none --name «name» httpd httpd-foreground -c 'ThreadsPerChild «threads»'")
	if missing != nil {
		return *missing
	}
	if len(course.Names(c.Pid)) < 2 {
		return course.IsWrong("%s has no pid namespace of its own: nobody can say which threads are its. Was it run with --without pid?",
			"%s에는 자기 PID 네임스페이스가 없어서 어느 스레드가 그것인지 가릴 수 없습니다. --without pid로 실행했나요?", c.Name)
	}
	all, err := course.Processes(c.Pid)
	if err != nil {
		return course.IsCannot("%v", "%v", err)
	}
	total, read := 0, []string{}
	for _, p := range all {
		total += p.Threads
		read = append(read, fmt.Sprintf("/proc/%d/status (Threads)", p.Pid))
	}
	see := "minirun threads " + c.Name
	each, _ := strconv.Atoi(a.Values["threads"]) // Setup has drawn a number
	// A main thread and a listener in each of three workers; one thread in their parent.
	if want := 1 + 3*(each+2); total != want {
		return course.IsNotYet("%s has %d threads now. With three workers of ThreadsPerChild %d there will be more or fewer: is httpd still starting, or was it started without that setting?",
			"%s의 스레드는 지금 %d개입니다. 일꾼 셋에 ThreadsPerChild %d이면 개수가 다릅니다. 아직 뜨는 중인가요, 아니면 설정을 빼고 띄웠나요?", c.Name, total, each).From(see, read...)
	}
	if v := judge(a, total, len(all)); v != nil {
		return *v
	}
	none := course.Text{}
	v := course.IsRight()
	for _, p := range all {
		v = v.Fact(course.T("%d %s", "%d %s", p.Pid, p.Name), course.T("%d threads", "스레드 %d개", p.Threads), none)
	}
	v = v.Fact(course.T("together", "모두"), course.T("%d processes, %d threads, as you counted", "프로세스 %d개, 스레드 %d개: 세신 대로입니다", len(all), total), none)
	if a.Prediction != nil {
		v = v.Fact(course.T("you predicted", "예상"), course.T("%s and %s", "%s개와 %s개", a.Prediction[0], a.Prediction[1]), none)
	}
	return v.From(see, read...)
}

// judge names the mistake in the answer; nil if it is right.
func judge(a *course.Attempt, total, processes int) *course.Verdict {
	var v course.Verdict
	if a.Answer == nil {
		v = course.IsNotYet("httpd is up. How many threads has it, all processes together? lab answer 2 THREADS", "httpd가 떴습니다. 프로세스를 통틀어 스레드가 몇 개인가요? lab answer 2 스레드수")
		return &v
	}
	switch answer := a.Answer[0]; answer {
	case fmt.Sprint(total):
		return nil
	case fmt.Sprint(processes):
		v = course.IsWrong("%s are the processes. ps lists threads only with -L.", "%s개는 프로세스 수입니다. ps는 -L을 붙여야 스레드를 보여 줍니다.", answer)
	case fmt.Sprint(total + 1):
		v = course.IsWrong("%s is one too many: your grep is a process, too, and has found itself. Which line is it?", "하나 많습니다. %s개에는 grep 자신도 들어 있습니다. grep도 프로세스라서 자기 줄까지 찾은 것입니다.", answer)
	case fmt.Sprint(total - 1):
		v = course.IsWrong("%s is one too few: the parent of the workers has a thread, too.", "하나 모자랍니다. %s개에는 일꾼들의 부모가 빠졌습니다. 부모도 스레드가 하나 있습니다.", answer)
	default:
		v = course.IsWrong("%s is not the sum. Add up what ps -eLf | awk '{print $2}' | sort -n | uniq -c says for each httpd.", "%s개가 아닙니다. ps -eLf | awk '{print $2}' | sort -n | uniq -c 에서 httpd마다 나오는 수를 더해 보세요.", answer)
	}
	return &v
}
