// Package hostname is lab 4: a namespace is a place that processes are in, and not a
// copy that a process has.
package hostname

import (
	"embed"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"minirun/examples/workshop/course"
)

//go:embed *.md solution mutation wrong-*
var files embed.FS

// Lab is lab 4. Setup remembers the host's name: reset gives it back.
var Lab = course.Lab{
	Number:  4,
	Title:   course.Text{En: "The host's name", Ko: "호스트 이름"},
	Files:   files,
	Images:  []string{"busybox"},
	Root:    true,
	Predict: []string{"HOST", "CONTAINER"},
	Answer:  []string{"INODE"},
	Setup: func(d *course.Draw) map[string]string {
		before, _ := os.Hostname() // uname(2) does not fail
		return map[string]string{"name": d.Name(), "old": d.Name(), "new": d.Name(), "before": before}
	},
	Check: check,
	Clean: func(a *course.Attempt) error {
		if now, err := os.Hostname(); err != nil || now == a.Values["before"] {
			return err
		}
		return unix.Sethostname([]byte(a.Values["before"]))
	},
}

// check compares the UTS namespaces by their inodes, and asks uname(2) in both.
func check(a *course.Attempt) course.Verdict {
	c, missing := a.Running("name", "minirun run -d --network none --name «name» --hostname «old» busybox sleep 86400")
	if missing != nil {
		return *missing
	}
	inside, outside := course.Namespace(c.Pid, "uts"), course.Namespace(os.Getpid(), "uts")
	see, read := fmt.Sprintf("ls -L -i /proc/%d/ns/uts /proc/self/ns/uts", c.Pid), fmt.Sprintf("/proc/%d/ns/uts", c.Pid)
	hostNow, err := os.Hostname()
	if err != nil {
		return course.IsCannot("%v", "%v", err)
	}
	name, err := course.HostName(c.Pid)
	if err != nil {
		return course.IsCannot("nsenter --uts: %v", "nsenter --uts: %v", err)
	}
	v := judge(a, inside, outside, name, hostNow, c.Spec.Hostname)
	return v.
		Fact(course.T("the namespace of %s", "%s의 네임스페이스", c.Name), course.T("%s, its name is %s", "%s, 이름은 %s", inside, name), course.T("%s", "%s", a.Values["new"])).
		Fact(course.T("the host's", "호스트의 것"), course.T("%s, its name is %s", "%s, 이름은 %s", outside, hostNow), course.T("%s", "%s", a.Values["before"])).
		From(see, read, "/proc/self/ns/uts", "uname(2)")
}

func judge(a *course.Attempt, inside, outside, name, hostNow, asked string) course.Verdict {
	switch {
	case inside == outside:
		return course.IsWrong("The container is in the host's UTS namespace: there is one name for both.", "컨테이너가 호스트의 UTS 네임스페이스에 있습니다. 둘의 이름이 하나입니다.")
	case hostNow != a.Values["before"]:
		return course.IsWrong("You have renamed the host, which was %s. Enter the container's namespace first: nsenter --target PID --uts. lab reset 4 gives the name back.",
			"호스트의 이름을 바꿔 버렸습니다(원래 %s). 먼저 컨테이너의 네임스페이스로 들어가세요: nsenter --target PID --uts. lab reset 4가 이름을 되돌립니다.", a.Values["before"])
	case asked == a.Values["new"]:
		return course.IsWrong("This is a new container, born with the name %s. The lab is about one that runs: lab reset 4.", "%s라는 이름으로 새로 만든 컨테이너입니다. 돌고 있는 컨테이너의 이름을 바꾸는 실습입니다: lab reset 4.", asked)
	case a.Answer == nil:
		return course.IsNotYet("which number has the kernel given to the container's UTS namespace? lab answer 4 INODE", "커널이 컨테이너의 UTS 네임스페이스에 붙인 번호는 무엇인가요? lab answer 4 번호")
	case "uts:["+a.Answer[0]+"]" == outside:
		return course.IsWrong("%s is the host's namespace. Ask for that of the container's process: /proc/PID/ns/uts.", "%s번은 호스트의 네임스페이스입니다. 컨테이너 프로세스의 것을 보세요: /proc/PID/ns/uts.", a.Answer[0])
	case "uts:["+a.Answer[0]+"]" != inside:
		return course.IsWrong("%s is not the UTS namespace of the container: readlink /proc/PID/ns/uts shows it in brackets.", "%s번은 컨테이너의 UTS 네임스페이스가 아닙니다. readlink /proc/PID/ns/uts 의 대괄호 안을 보세요.", a.Answer[0])
	case name != a.Values["new"]:
		return course.IsNotYet("the container's name is still %s. nsenter joins its namespace; unshare would make another one.", "컨테이너의 이름이 아직 %s입니다. nsenter는 그 네임스페이스에 들어가고, unshare는 새로 하나 만듭니다.", name)
	}
	return course.IsRight()
}
