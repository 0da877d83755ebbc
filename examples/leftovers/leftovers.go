// Package leftovers fails a package whose tests leave something behind:
// descriptors, mounts, network devices, children, processes that nobody's child
// is any more, or cgroups. Its own test leaks one of each.
//
//	func TestMain(m *testing.M) { os.Exit(leftovers.Guard(m.Run)) }
package leftovers

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Guard runs tests and returns their exit status: not 0 if they failed, or if
// what [List] sees is not what it was. What was killed has two seconds to end.
//
// Root's tests run in a mount namespace of their own: what other processes of the
// machine mount meanwhile, other tests among them, is not seen as theirs.
func Guard(run func() int) int {
	if err := withdraw(); err != nil {
		fmt.Println(err)
		return 1
	}
	return guard(run, 2*time.Second)
}

// withdraw executes the test binary again in a mount namespace of its own, unless it
// has one. Why execute? [unshare(2)] moves one thread only, and the others cannot
// follow; but the thread that executes a program becomes the only one.
//
// [unshare(2)]: https://man7.org/linux/man-pages/man2/unshare.2.html
func withdraw() error {
	ours, err := os.Readlink("/proc/self/ns/mnt")
	parents, hidden := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", os.Getppid()))
	if err != nil || hidden != nil || ours != parents {
		return nil // it has one, or another user's process has started it
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); errors.Is(err, unix.EPERM) {
		return nil // no root: then it cannot mount anything here either
	} else if err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	return fmt.Errorf("execute %s again: %w", os.Args[0], unix.Exec("/proc/self/exe", os.Args, os.Environ()))
}

func guard(run func() int, patience time.Duration) int {
	if r, w, err := os.Pipe(); err == nil { // Go's poller opens two descriptors at the first use, for good
		r.Close()
		w.Close()
	}
	before := List()
	status := run()
	after := List()
	for end := time.Now().Add(patience); after != before && time.Now().Before(end); after = List() {
		time.Sleep(10 * time.Millisecond)
	}
	if after != before {
		fmt.Printf("left behind:\n%s\n", Changes(before, after))
		return max(status, 1)
	}
	return status
}

// List is what tests may not change: the descriptors, mounts, network devices
// and children of this process, the cgroups below [Group], and the processes of
// this program that have lost their parent. One line each.
func List() string {
	return strings.Join(slices.Concat(descriptors(), Mounts(), links(), children(), groups(), orphans()), "\n")
}

// Changes are the lines that are new (+) or gone (-).
func Changes(before, after string) string {
	old, now := strings.Split(before, "\n"), strings.Split(after, "\n")
	var list []string
	for _, l := range now {
		if !slices.Contains(old, l) {
			list = append(list, "+ "+l)
		}
	}
	for _, l := range old {
		if !slices.Contains(now, l) {
			list = append(list, "- "+l)
		}
	}
	return strings.Join(list, "\n")
}

// Group is how the names of all cgroups begin that the tests of this process
// make at the root: others may run at the same time.
var Group = sync.OnceValue(func() string { return "minirun-test-" + strconv.FormatUint(rand.Uint64(), 36) })

// GroupRoot is where cgroup v2 is mounted; "" if it is not.
func GroupRoot() string {
	for _, m := range Mounts() {
		if fields := strings.Fields(m); strings.Contains(m, " - cgroup2 ") {
			return fields[5] // behind the word mount, proc_pid_mountinfo(5)
		}
	}
	return ""
}

func descriptors() (list []string) {
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		link, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || strings.HasPrefix(link, "/proc/") || strings.HasPrefix(link, "anon_inode:[event") {
			continue // the directory that we are reading, and Go's poller
		}
		list = append(list, "descriptor "+e.Name()+" "+link)
	}
	return list
}

// Mounts are those of this process: the lines of /proc/self/mountinfo.
func Mounts() (list []string) {
	text, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(text)) {
		list = append(list, "mount "+strings.TrimSpace(line))
	}
	return list
}

func links() (list []string) {
	text, _ := os.ReadFile("/proc/self/net/dev")
	for line := range strings.Lines(string(text)) {
		if name, _, ok := strings.Cut(line, ":"); ok {
			list = append(list, "link "+strings.TrimSpace(name))
		}
	}
	return list
}

func children() (list []string) {
	tasks, _ := filepath.Glob("/proc/self/task/*/children")
	for _, task := range tasks {
		text, _ := os.ReadFile(task)
		for _, pid := range strings.Fields(string(text)) {
			list = append(list, "child "+pid)
		}
	}
	return list
}

func groups() (list []string) {
	made, _ := filepath.Glob(filepath.Join(GroupRoot(), Group()+"*"))
	for _, group := range made {
		filepath.WalkDir(group, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				list = append(list, "cgroup "+path)
			}
			return nil // ENOENT: it has just gone
		})
	}
	return list
}

// Programs are files, besides this binary, whose processes are ours.
var Programs []string

// orphans are the processes that our own tests have started and lost.
func orphans() (list []string) {
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, proc := range processes {
		exe, err := os.Stat(proc + "/exe")
		if err != nil || parentOf(proc) != 1 {
			continue // it has ended; or another run of these tests, at the same time, is its parent
		}
		for _, path := range append(Programs, "/proc/self/exe") {
			if program, err := os.Stat(path); err == nil && os.SameFile(program, exe) {
				ns, _ := os.Readlink(proc + "/ns/mnt")
				list = append(list, "process "+proc+" "+ns)
			}
		}
	}
	return list
}

func parentOf(proc string) (ppid int) {
	text, _ := os.ReadFile(proc + "/status")
	_, after, _ := strings.Cut(string(text), "PPid:")
	fmt.Sscan(after, &ppid)
	return ppid
}
