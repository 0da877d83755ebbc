// Package jail is lab 6: chroot hides a directory's outside, and pivot_root lets it go.
package jail

import (
	"embed"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"minirun/container/procfs"
	"minirun/examples/workshop/course"
)

//go:embed *.md solution mutation wrong-*
var files embed.FS

// Lab is lab 6.
var Lab = course.Lab{
	Number:  6,
	Title:   course.Text{En: "Out of a chroot, then pivot_root", Ko: "chroot에서 탈출하기, 그리고 pivot_root"},
	Files:   files,
	Images:  []string{"busybox"},
	Root:    true,
	Predict: []string{"CHROOT", "CONTAINER"},
	Setup: func(d *course.Draw) map[string]string {
		return map[string]string{"name": d.Name(), "jail": d.Name(), "first": d.Number(3000, 5999), "second": d.Number(6000, 9999)}
	},
	Check: check,
	Clean: clean,
}

func dir(a *course.Attempt) string { return "/tmp/" + a.Values["jail"] }

// check looks for the first sleep, which has got out of the chroot, and then for the
// second one, which has tried the same in a container.
func check(a *course.Attempt) course.Verdict {
	if v := course.HidesProcesses(); v != nil {
		return *v
	}
	all, err := course.All()
	if err != nil {
		return course.IsCannot("%v", "%v", err)
	}
	if p := course.Find(all, "sleep", a.Values["first"]); p != nil {
		if v := escaped(a, p); v != nil {
			return *v
		}
	}
	if a.Seen["escape"] == "" {
		return course.IsNotYet("nobody has got out of %s yet: in the chroot, start sleep %s with the root of process 1.",
			"아직 아무도 %s를 빠져나오지 못했습니다. chroot 안에서 1번 프로세스의 루트로 sleep %s 를 띄우세요.", dir(a), a.Values["first"])
	}
	c, missing := a.Running("name", "minirun run -it --network none --name «name» busybox sh")
	if missing != nil {
		missing.Say = course.Text{En: "You got out of the chroot. Now the same in a container: " + missing.Say.En, Ko: "chroot는 빠져나왔습니다. 이제 컨테이너에서 똑같이 해 보세요: " + missing.Say.Ko}
		return *missing
	}
	return contained(a, c, all)
}

// escaped looks at a sleep: its root must be the host's, and its parent's the chroot. Then
// it is remembered; else the verdict names the mistake.
func escaped(a *course.Attempt, p *procfs.Process) *course.Verdict {
	own, parents := course.RootOf(p.Pid), course.RootOf(p.Parent)
	var v course.Verdict
	switch {
	case own == "" || parents == "":
		return nil // it ended
	case own == dir(a):
		v = course.IsWrong("The sleep is still in the chroot: its root is %s. Start it with chroot /proc/1/root.", "sleep이 아직 chroot 안에 있습니다. 루트가 %s입니다. chroot /proc/1/root 로 띄우세요.", own)
	case parents != dir(a):
		v = course.IsWrong("The sleep's parent is not in the chroot, but has the root %s: so nobody has escaped. Start it in the chroot of %s.", "sleep의 부모가 chroot 안에 있지 않습니다(루트 %s). 탈출한 것이 아니네요. %s의 chroot 안에서 띄우세요.", parents, dir(a))
	default:
		a.See("escape", fmt.Sprint(p.Pid))
		return nil
	}
	v = v.From(fmt.Sprintf("readlink /proc/%d/root /proc/%d/root", p.Pid, p.Parent), fmt.Sprintf("/proc/%d/root", p.Pid), fmt.Sprintf("/proc/%d/root", p.Parent))
	return &v
}

// hostRoot is a mount of the host's root directory in a list; nil if there is none.
func hostRoot(list []*mountinfo.Info) (*mountinfo.Info, error) {
	ours, err := course.Mounts(os.Getpid())
	if err != nil {
		return nil, err
	}
	root := course.MountAt(ours, "/")
	for _, m := range list {
		if root != nil && m.Major == root.Major && m.Minor == root.Minor && m.Root == root.Root {
			return m, nil
		}
	}
	return nil, nil
}

func contained(a *course.Attempt, c *course.Container, all []*procfs.Process) course.Verdict {
	list, err := course.Mounts(c.Pid)
	if err != nil {
		return course.IsCannot("%v", "%v", err)
	}
	see, read := fmt.Sprintf("cat /proc/%d/mountinfo", c.Pid), fmt.Sprintf("/proc/%d/mountinfo", c.Pid)
	old, err := hostRoot(list)
	if err != nil {
		return course.IsCannot("%v", "%v", err)
	}
	if old != nil {
		return course.IsWrong("The host's root is in the container, at %s: there is nothing to break out of. Was it run with -v /, or --without mount?",
			"컨테이너 안 %s에 호스트의 루트가 있습니다. 탈출할 것도 없네요. -v / 나 --without mount로 실행했나요?", old.Mountpoint).From(see, read)
	}
	p := course.Find(all, "sleep", a.Values["second"])
	if p == nil {
		return course.IsNotYet("%s runs. Try the way out there, too: chroot /proc/1/root sleep %s", "%s가 돌고 있습니다. 거기서도 탈출해 보세요: chroot /proc/1/root sleep %s", c.Name, a.Values["second"]).From(see, read)
	}
	if course.Namespace(p.Pid, "mnt") != course.Namespace(c.Pid, "mnt") {
		return course.IsWrong("This sleep %s is not in %s: it has another mount namespace. Start it in the container.", "이 sleep %s 는 %s 안에 있지 않습니다. 마운트 네임스페이스가 다릅니다. 컨테이너 안에서 띄우세요.", a.Values["second"], c.Name)
	}
	none := course.Text{}
	v := course.IsRight().
		Fact(course.T("out of the chroot", "chroot에서"), course.T("process %s had the host's root; its parent had %s", "프로세스 %s의 루트는 호스트의 것, 그 부모의 루트는 %s", a.Seen["escape"], dir(a)), none).
		Fact(course.T("out of the container", "컨테이너에서"), course.T("process %d has the container's root still: none of its %d mounts is the host's root", "프로세스 %d의 루트는 여전히 컨테이너의 것: 마운트 %d개 중 호스트의 루트는 없습니다", p.Pid, len(list)), none)
	if a.Prediction != nil {
		v = v.Fact(course.T("you predicted", "예상"), course.T("%s, %s", "%s, %s", a.Prediction[0], a.Prediction[1]), none)
	}
	return v.From(see, read, fmt.Sprintf("/proc/%d/root", p.Pid))
}

// clean ends what still runs in the chroot or has got out of it, and removes it.
func clean(a *course.Attempt) error {
	err := course.End(func(p *procfs.Process) bool {
		root := course.RootOf(p.Pid)
		return root == dir(a) || strings.HasPrefix(root, dir(a)+"/") || strings.Join(p.Command, " ") == "sleep "+a.Values["first"]
	})
	if err != nil {
		return err
	}
	for _, path := range []string{dir(a) + "/proc", dir(a)} { // before anything is removed: it could be the host's
		for err = error(nil); err == nil; {
			err = unix.Unmount(path, unix.UMOUNT_NOFOLLOW)
		}
		if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("umount %s: %w", path, err)
		}
	}
	mounts, err := course.Mounts(os.Getpid())
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if strings.HasPrefix(m.Mountpoint, dir(a)+"/") {
			return fmt.Errorf("%s: something is mounted there: umount it first", m.Mountpoint)
		}
	}
	return os.RemoveAll(dir(a))
}
