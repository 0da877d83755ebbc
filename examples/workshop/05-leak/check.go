// Package leak is lab 5: mounts travel between mount namespaces, along peer groups.
package leak

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"minirun/container/procfs"
	"minirun/examples/workshop/course"
)

//go:embed *.md solution mutation wrong-*
var files embed.FS

// Lab is lab 5.
var Lab = course.Lab{
	Number:  5,
	Title:   course.Text{En: "The mount that leaked", Ko: "새어 나온 마운트"},
	Files:   files,
	Images:  []string{"busybox"},
	Root:    true,
	Predict: []string{"YES-OR-NO"},
	Answer:  []string{"GROUP"},
	Setup: func(d *course.Draw) map[string]string {
		return map[string]string{"name": d.Name(), "dir": d.Name()}
	},
	Check: check,
	Clean: clean,
}

func outer(a *course.Attempt) string { return "/tmp/" + a.Values["dir"] }
func inner(a *course.Attempt) string { return outer(a) + "/in" }

// group is the peer group of a mount, "12"; "" if it is private.
func group(m *mountinfo.Info) string {
	for _, word := range strings.Fields(m.Optional) {
		if rest, ok := strings.CutPrefix(word, "shared:"); ok {
			return rest
		}
	}
	return ""
}

// check reads the host's mountinfo, then those of all other mount namespaces.
func check(a *course.Attempt) course.Verdict {
	if v := course.HidesProcesses(); v != nil {
		return *v
	}
	host, err := course.Mounts(os.Getpid())
	if err != nil {
		return course.IsCannot("%v", "%v", err)
	}
	see := "grep " + a.Values["dir"] + " /proc/self/mountinfo"
	top, leaked := course.MountAt(host, outer(a)), course.MountAt(host, inner(a))
	if top == nil {
		return course.IsNotYet("nothing is mounted on %s yet.", "%s에 아직 아무것도 마운트되지 않았습니다.", outer(a)).From(see, "/proc/self/mountinfo")
	}
	if leaked != nil && group(top) != "" {
		a.See("leak", group(top))
	}
	if a.Seen["leak"] == "" {
		return course.IsNotYet("no check has seen a mount leak to %s. Let unshare keep the propagation as it is, and mount in there.",
			"%s로 새어 나온 마운트를 아직 못 봤습니다. unshare가 전파 방식을 그대로 두게 하고 그 안에서 마운트하세요.", inner(a)).From(see, "/proc/self/mountinfo")
	}
	if v := judge(a, leaked); v != nil {
		return v.From(see, "/proc/self/mountinfo")
	}
	own, pid, err := elsewhere(a)
	if err != nil {
		return course.IsCannot("%v", "%v", err)
	}
	if own == nil {
		return course.IsNotYet("the host is clean, but no other namespace has a mount on %s: mount it once more, where it does not leak.",
			"호스트는 깨끗합니다. 하지만 %s에 마운트한 다른 네임스페이스가 없습니다. 이번에는 새지 않는 곳에서 다시 마운트하세요.", inner(a)).From(see, "/proc/self/mountinfo")
	}
	if own.Optional != "" {
		return course.IsWrong("%s in the namespace of process %d is %q: a slave still gets what the host mounts. Ask for private.",
			"프로세스 %[2]d의 네임스페이스에서 %[1]s는 %[3]q입니다. slave는 호스트의 마운트를 여전히 받습니다. private으로 하세요.", outer(a), pid, own.Optional).From(fmt.Sprintf("grep %s /proc/%d/mountinfo", a.Values["dir"], pid), fmt.Sprintf("/proc/%d/mountinfo", pid))
	}
	return volume(a, pid)
}

// judge looks at the answer, and whether the leak has been mopped up.
func judge(a *course.Attempt, leaked *mountinfo.Info) *course.Verdict {
	var v course.Verdict
	switch {
	case a.Answer == nil:
		v = course.IsNotYet("the mount has leaked to the host. Along which peer group? lab answer 5 GROUP", "마운트가 호스트로 새어 나왔습니다. 어느 피어 그룹을 따라서인가요? lab answer 5 그룹")
	case a.Answer[0] != a.Seen["leak"]:
		v = course.IsWrong("%s is not the peer group of %s: it is the number behind shared: on its line, not the first on the line.",
			"%s번은 %s의 피어 그룹이 아닙니다. 줄의 첫 숫자가 아니라 shared: 뒤의 숫자입니다.", a.Answer[0], outer(a))
	case leaked != nil:
		v = course.IsNotYet("the host still sees %s. Unmount it, and do it again in a namespace that does not share.", "호스트에 아직 %s가 보입니다. 언마운트하고, 공유하지 않는 네임스페이스에서 다시 해 보세요.", inner(a))
	default:
		return nil
	}
	return &v
}

// elsewhere is the mount of the lab's directory in a namespace that is neither ours nor
// a container's, and has a mount below; nil if there is none. The pid is of a process in it.
func elsewhere(a *course.Attempt) (*mountinfo.Info, int, error) {
	all, err := course.All()
	ours := course.Namespace(os.Getpid(), "mnt")
	for _, p := range all {
		if n := course.Namespace(p.Pid, "mnt"); n == "" || n == ours {
			continue
		}
		list, err := course.Mounts(p.Pid)
		if err != nil {
			continue // it has ended
		}
		if m := course.MountAt(list, outer(a)); m != nil && course.MountAt(list, inner(a)) != nil {
			return m, p.Pid, nil
		}
	}
	return nil, 0, err
}

// volume looks at the container's mount of the same directory.
func volume(a *course.Attempt, pid int) course.Verdict {
	c, missing := a.Running("name", "minirun run -d --network none --name «name» -v /tmp/«dir»:/data busybox sleep 86400")
	if missing != nil {
		return *missing
	}
	list, err := course.Mounts(c.Pid)
	if err != nil {
		return course.IsCannot("%v", "%v", err)
	}
	see, read := fmt.Sprintf("grep /data /proc/%d/mountinfo", c.Pid), fmt.Sprintf("/proc/%d/mountinfo", c.Pid)
	data := course.MountAt(list, "/data")
	if data == nil || data.Source != a.Values["dir"] {
		return course.IsWrong("%s runs without the volume: -v %s:/data.", "%s가 볼륨 없이 돌고 있습니다: -v %s:/data.", c.Name, outer(a)).From(see, read)
	}
	if data.Optional != "" {
		return course.IsWrong("/data of the container is %q: what is mounted in there leaks to the host.", "컨테이너의 /data가 %q입니다. 거기서 마운트하면 호스트로 새어 나옵니다.", data.Optional).From(see, read)
	}
	none := course.Text{}
	v := course.IsRight().
		Fact(course.T("the leak", "새어 나온 것"), course.T("seen on the host, along peer group %s; now gone", "호스트에서 피어 그룹 %s을 따라 보였고, 이제 없습니다", a.Seen["leak"]), none).
		Fact(course.T("process %d", "프로세스 %d", pid), course.T("has a mount on %s; the host has none", "%s에 마운트가 있고, 호스트에는 없습니다", inner(a)), none).
		Fact(course.T("/data of %s", "%s의 /data", c.Name), course.T("in no peer group", "피어 그룹이 없습니다"), none)
	if a.Prediction != nil {
		v = v.Fact(course.T("you predicted", "예상"), course.T("%s", "%s", a.Prediction[0]), none)
	}
	return v.From(see, "/proc/self/mountinfo", fmt.Sprintf("/proc/%d/mountinfo", pid), read)
}

// clean ends the shells that have the lab's mounts in namespaces of their own, and
// removes the host's.
func clean(a *course.Attempt) error {
	ours := course.Namespace(os.Getpid(), "mnt")
	err := course.End(func(p *procfs.Process) bool {
		if n := course.Namespace(p.Pid, "mnt"); n == "" || n == ours {
			return false
		}
		list, err := course.Mounts(p.Pid)
		return err == nil && course.MountAt(list, outer(a)) != nil
	})
	if err != nil {
		return err
	}
	for _, path := range []string{inner(a), outer(a)} {
		for err = error(nil); err == nil; { // as often as something is mounted
			err = unix.Unmount(path, unix.UMOUNT_NOFOLLOW)
		}
		if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("umount %s: %w", path, err)
		}
	}
	if err := unix.Rmdir(outer(a)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("rmdir %s: %w", outer(a), err)
	}
	return nil
}
