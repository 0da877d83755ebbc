// Package signals sends a signal to every process of a group.
//
// The kernel kills a group as a whole (cgroup.kill), but no other signal has a file:
// the processes must be read from cgroup.procs, as numbers, and signalled one by one.
// Between the two a process may end, and its number may become that of a process of
// the host's. A container with short-lived processes makes that likely. So each number
// is used only like this:
//
//	pidfd_open(P)          a descriptor of one process, whoever has the number now
//	read /proc/P/cgroup    is it in the group?
//	pidfd_send_signal      to the process of the descriptor
//
// Why is this free of races? Suppose that the process of the descriptor is not of the
// container. If it still runs at the last call, then it had the number all the time,
// and so it was the process that /proc told of: it was in the group, where only the
// container's processes are. If it has ended before, the last call is ESRCH and
// reaches nobody. A process that leaves the group after it was looked at was still the
// container's.
//
// Why not freeze, list, signal and thaw? A process in a system call on a dead network
// disk does not freeze; and a container that can write to its group thaws itself.
//
// Linux 5.3. Man pages: [pidfd_open(2)], [pidfd_send_signal(2)], [cgroups(7)].
//
// [pidfd_open(2)]: https://man7.org/linux/man-pages/man2/pidfd_open.2.html
// [pidfd_send_signal(2)]: https://man7.org/linux/man-pages/man2/pidfd_send_signal.2.html
// [cgroups(7)]: https://man7.org/linux/man-pages/man7/cgroups.7.html
package signals

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"minirun/cgroups"
)

// errElsewhere says that a process is not in the group.
var errElsewhere = errors.New("it is not in the group that lists it")

// Send sends a signal to all processes of a group and of the groups below it, also to
// those that are forked meanwhile: it reads the list again until there is no new
// process in it, or ten times, which only a fork bomb needs. For SIGKILL it calls
// [cgroups.Group.Kill], which no fork escapes.
func Send(g *cgroups.Group, sig unix.Signal) error {
	if sig == unix.SIGKILL {
		return g.Kill()
	}
	path, err := pathOf(g.Dir)
	if err != nil {
		return err
	}
	err = Each(g.Procs, func(pid int) (bool, error) { return isIn(pid, path) }, sig)
	if err != nil {
		return fmt.Errorf("processes of %s: %w", g.Dir, err)
	}
	return nil
}

// Each sends a signal to all processes of a list that changes, as Send does. inside says
// whether the process that has a number now is one of those that are meant.
func Each(list func() ([]int, error), inside func(pid int) (bool, error), sig unix.Signal) error {
	sent := map[int]bool{}
	elsewhere := map[int]int{} // how often a process was not inside
	for range rounds {
		pids, err := list()
		if err != nil {
			return err
		}
		again := false
		for _, pid := range pids {
			if sent[pid] {
				continue
			}
			again = true
			err := send(pid, sig, inside)
			if errors.Is(err, errElsewhere) && elsewhere[pid] < rounds-1 { // the next list will not have it
				elsewhere[pid]++
				continue
			}
			if err != nil {
				return fmt.Errorf("send %s to process %d: %w", unix.SignalName(sig), pid, err)
			}
			sent[pid] = true
		}
		if !again {
			return nil
		}
	}
	return nil
}

// rounds is how often Send reads the list.
const rounds = 10

// send signals a process that is inside. That the process has ended is no error.
func send(pid int, sig unix.Signal, inside func(pid int) (bool, error)) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err == unix.ESRCH || err == unix.EINVAL { // EINVAL: the number is a thread's now
		return nil
	} else if err != nil {
		return err
	}
	defer unix.Close(fd) // EIO is impossible for a pidfd
	is, err := inside(pid)
	if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ESRCH) {
		return err
	}
	if !is {
		sig = 0 // only asks whether the process has ended
	}
	err = unix.PidfdSendSignal(fd, sig, nil, 0)
	switch {
	case err == unix.ESRCH:
		return nil
	case !is:
		return errElsewhere
	}
	return err
}

// isIn says whether a process is in the group that /proc shows with this path, or below.
func isIn(pid int, path string) (bool, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return false, err
	}
	at, ok := cgroups.ParsePath(string(text))
	return ok && isBelow(at, path), nil
}

// pathOf is the path of a group as /proc/PID/cgroup prints it: counted from the root
// of our cgroup namespace, and not from where cgroup2 is mounted.
func pathOf(dir string) (string, error) {
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		return m.FSType != "cgroup2" || !isBelow(dir, m.Mountpoint), false
	})
	if err != nil {
		return "", err
	}
	if len(mounts) == 0 {
		return "", fmt.Errorf("signal the processes of %s: %w there", dir, cgroups.ErrNotMounted)
	}
	// The last of the longest counts: it covers the others.
	slices.SortStableFunc(mounts, func(a, b *mountinfo.Info) int { return len(a.Mountpoint) - len(b.Mountpoint) })
	m := mounts[len(mounts)-1]
	// Not filepath.Join: the root may begin with "/..", outside our cgroup namespace.
	return strings.TrimSuffix(m.Root, "/") + strings.TrimPrefix(dir, strings.TrimSuffix(m.Mountpoint, "/")), nil
}

// isBelow says whether a path is dir or below it.
func isBelow(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
