package cgroups

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// This file is about all processes of a group at once, those of the groups
// below it included. The kernel's events are in cgroup.events, one a line:
//
//	populated 1     there is a process in it
//	frozen 0        all of them are stopped
//
// A change of it makes poll(2) on the file return with POLLPRI.

// patience is how long the kernel may take to freeze or to end the processes
// of a group: some system calls, on a dead network disk for instance, take no
// signal.
const patience = 10 * time.Second

// ErrTimeout says that the kernel took too long.
var ErrTimeout = errors.New("timed out after " + patience.String())

// Procs lists the process ids, as seen from our pid namespace. A group that is
// gone has none.
func (g *Group) Procs() ([]int, error) {
	var all []int
	err := descend(g.Dir, func(dir string) error {
		pids, err := numbers(dir, "cgroup.procs")
		if errors.Is(err, unix.EOPNOTSUPP) || gone(err) {
			return nil // a threaded group: those above list its processes
		}
		for _, pid := range pids {
			if pid != 0 { // outside our pid namespace; and kill(0) would be us
				all = append(all, pid)
			}
		}
		return err
	})
	return all, err
}

// Home is the directory of the group in which another process can be born
// beside pid: this one. But one that hands controllers down can have no
// processes of its own (cgroup-v2.rst, "No Internal Process Constraint"): a
// container that divides its group has moved its processes into those below,
// and then it is the one that pid is in.
func (g *Group) Home(pid int) (string, error) {
	given, err := fields(g.Dir, "cgroup.subtree_control")
	if err != nil || len(given) == 0 {
		return g.Dir, err
	}
	home := g.Dir
	err = descend(g.Dir, func(dir string) error {
		pids, err := numbers(dir, "cgroup.procs")
		if err == nil && slices.Contains(pids, pid) {
			home = dir
		}
		return nil // EOPNOTSUPP: a threaded group; ENOENT, ENODEV: gone
	})
	return home, err
}

// descend visits a group and all below it. Groups that go away meanwhile are
// skipped, and those that lie deeper than any path can say: a container makes
// them to be in the way. What kills and removes needs no paths.
func descend(dir string, visit func(dir string) error) error {
	if len(dir)+len("/cgroup.subtree_control") >= unix.PathMax {
		return nil
	}
	if err := visit(dir); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !gone(err) {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := descend(filepath.Join(dir, e.Name()), visit); err != nil {
				return err
			}
		}
	}
	return nil
}

// gone says whether a group was removed before (ENOENT) or after (ENODEV) we opened its file.
func gone(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) }

// Signal sends a signal to all processes. Those that are forked meanwhile get
// it too: the list is read again until it has nobody new, or ten times, which
// only a fork bomb reaches. SIGKILL is [Group.Kill], which nothing outruns.
func (g *Group) Signal(sig unix.Signal) error {
	if sig == unix.SIGKILL {
		return g.Kill()
	}
	sent := map[int]bool{}
	for range 10 {
		before := len(sent)
		pids, err := g.Procs()
		if err != nil {
			return err
		}
		for _, pid := range pids {
			if sent[pid] {
				continue
			}
			if err := unix.Kill(pid, sig); err != nil && err != unix.ESRCH { // ESRCH: it ended
				return fmt.Errorf("kill %d %s: %w", pid, unix.SignalName(sig), err)
			}
			sent[pid] = true
		}
		if len(sent) == before {
			return nil
		}
	}
	return nil
}

// Kill ends all processes, frozen ones too, and waits until none is left, at
// most ten seconds. No fork escapes: the kernel counts the kills of a group and
// looks after each fork whether there was one. Who comes from outside meanwhile,
// as an exec does, is ended, too. A group that is gone is success. Linux 5.14.
//
// Start nothing in the group afterwards. Since 6.14 (still in 6.18, and in older
// kernels that got the same fix) clone3 compares the new group's count with
// that of the caller's group, and CLONE_INTO_CGROUP ends in SIGKILL.
func (g *Group) Kill() error {
	for end := time.Now().Add(patience); ; {
		err := writeFile(g.Dir, "cgroup.kill", "1")
		if gone(err) {
			if unix.Access(g.Dir, unix.F_OK) == unix.ENOENT {
				return nil
			}
			return fmt.Errorf("%w: cgroup.kill needs Linux 5.14", err)
		}
		if err != nil {
			return err
		}
		if err := g.wait("populated", 0, patience/100); !errors.Is(err, ErrTimeout) || time.Now().After(end) {
			return err
		}
	}
}

// Freeze stops all processes and waits until they are stopped, at most ten
// seconds; after that it lets them go on, and the error is [ErrTimeout].
// Linux 5.2.
func (g *Group) Freeze() error {
	if err := writeFile(g.Dir, "cgroup.freeze", "1"); err != nil {
		return err
	}
	if err := g.wait("frozen", 1, patience); err != nil {
		return errors.Join(err, g.Thaw())
	}
	return nil
}

// Thaw lets them go on. It does not wait: from now on the kernel schedules them.
func (g *Group) Thaw() error { return writeFile(g.Dir, "cgroup.freeze", "0") }

// Frozen says whether all processes are stopped, by this group's freezer or by
// that of one above it.
func (g *Group) Frozen() (bool, error) {
	events, err := pairs(g.Dir, "cgroup.events")
	return events["frozen"] == 1, err
}

// wait waits until an event has a value, for so long. Why poll with a short time limit that
// grows? The kernel tells of at most one change in 10 ms, so that the end of a
// container that lived shorter would be told late.
func (g *Group) wait(event string, want uint64, limit time.Duration) error {
	f, err := os.Open(filepath.Join(g.Dir, "cgroup.events"))
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	fds := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLPRI}}
	buffer := make([]byte, 256)
	end := time.Now().Add(limit)
	for pause := 1; time.Now().Before(end); pause = min(2*pause, 100) {
		n, err := unix.Pread(int(fds[0].Fd), buffer, 0)
		if err == unix.ENODEV {
			return nil // removed
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", f.Name(), err)
		}
		if events, err := parsePairs(string(buffer[:n])); err != nil || events[event] == want {
			return err
		}
		unix.Poll(fds, pause) // EINTR: look again
	}
	return fmt.Errorf("cgroup %s: %s %d: %w", g.Dir, event, want, ErrTimeout)
}

// Clear is Kill and Remove, and both again as long as somebody comes in between,
// for about a second.
func (g *Group) Clear() error {
	for pause := time.Millisecond; ; pause *= 2 {
		if err := g.Kill(); err != nil {
			return err
		}
		if err := remove(g.Dir); !errors.Is(err, unix.EBUSY) || pause > 512*time.Millisecond {
			return err
		}
		time.Sleep(pause)
	}
}

// Remove removes the group and all groups below it. It does not kill: a group
// with processes is an error, but those that are just ending are waited for,
// for about a second. A group that is gone is success.
func (g *Group) Remove() error {
	for pause := time.Millisecond; ; pause *= 2 {
		err := remove(g.Dir)
		if !errors.Is(err, unix.EBUSY) || pause > 512*time.Millisecond {
			return err
		}
		time.Sleep(pause)
	}
}

// remove removes a group, with those below it first if there are any (EBUSY).
func remove(dir string) error {
	err := unix.Rmdir(dir)
	if err == unix.EBUSY {
		if err := removeBelow(dir); err != nil {
			return fmt.Errorf("remove the groups below %s: %w", dir, err)
		}
		err = unix.Rmdir(dir)
	}
	if err == nil || err == unix.ENOENT {
		return nil
	}
	return fmt.Errorf("rmdir %s: %w", dir, err)
}

// removeBelow removes all groups below one. Why not by their paths? A container
// that may make groups makes them so deep that no path reaches the last
// (ENAMETOOLONG), or as deep as there are descriptors. So it goes down and up
// with one descriptor, a name at a time; nobody renames a group.
func removeBelow(top string) error {
	dir, err := unix.Open(top, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	var way []string // from top to dir
	for err == nil {
		var busy string
		if busy, err = removeEmpty(dir); err != nil {
			break
		}
		if busy != "" {
			way = append(way, busy)
			dir, err = step(dir, busy)
			continue
		}
		if len(way) == 0 {
			return unix.Close(dir)
		}
		if dir, err = step(dir, ".."); err == nil {
			err = unix.Unlinkat(dir, way[len(way)-1], unix.AT_REMOVEDIR) // EBUSY: now that means processes
			way = way[:len(way)-1]
		}
	}
	if dir >= 0 {
		unix.Close(dir) // EIO cannot be for a directory
	}
	if gone(err) {
		return nil // somebody else has removed it
	}
	return err
}

// removeEmpty removes the groups in a directory, up to the first that has
// others in it, or processes, whose name it returns; "" if none is left.
func removeEmpty(dir int) (busy string, err error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/self/fd/%d", dir))
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		switch err := unix.Unlinkat(dir, e.Name(), unix.AT_REMOVEDIR); err {
		case nil, unix.ENOENT:
		case unix.EBUSY:
			return e.Name(), nil
		default:
			return "", err
		}
	}
	return "", err
}

// step opens a directory relative to another, which it closes.
func step(dir int, name string) (int, error) {
	next, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	unix.Close(dir) // EIO cannot be for a directory
	return next, err
}
