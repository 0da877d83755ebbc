package cgroups

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// This file lists, freezes and kills all processes of a group and of the
// groups below it, and removes the group. The kernel tells the state of a group in
// its file cgroup.events, one event a line:
//
//	populated 1     1 if it has processes
//	frozen 0        1 if all of its processes are stopped
//
// The kernel kills and freezes a group as a whole. So no process escapes by
// forking, and no process id is used that may belong to another process by now.
// For other signals see package signals.

// timeout is how long the kernel may take to freeze or to end the processes of a
// group. A process in a system call on a dead network disk, for example, does
// not react to either.
const timeout = 10 * time.Second

var errTimeout = errors.New("timed out after " + timeout.String())

// Procs lists the process ids, as seen from our pid namespace. A group that was
// removed has none.
func (g *Group) Procs() ([]int, error) {
	var all []int
	err := walk(g.Dir, func(dir string) error {
		pids, err := readPids(dir, "cgroup.procs")
		if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOENT) {
			return nil // EOPNOTSUPP: a threaded group; the group above it lists its processes
		}
		for _, pid := range pids {
			if pid != 0 { // 0: outside our pid namespace; and kill(0) would signal the runtime
				all = append(all, pid)
			}
		}
		return err
	})
	return all, err
}

// walk visits a group and all groups below it. It skips groups that are removed
// meanwhile, and groups too deep for a path: a container makes those to be in the
// way. Kill and Destroy reach them nevertheless, because they need no paths.
func walk(dir string, visit func(dir string) error) error {
	if len(dir)+len("/cgroup.subtree_control") >= unix.PathMax {
		return nil
	}
	if err := visit(dir); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !isRemoved(err) {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := walk(filepath.Join(dir, e.Name()), visit); err != nil {
				return err
			}
		}
	}
	return nil
}

// Kill ends all processes, also frozen ones, and waits until none is left, at most
// ten seconds. No fork escapes: the kernel counts the kills of a group and checks
// after each fork whether there was one. Kill repeats the kill for processes that
// join from outside meanwhile, as an exec does. A group that was removed is a
// success. Linux 5.14.
//
// Start nothing in the group afterwards. Since 6.14 (still in 6.18, and in older
// kernels that got the same fix) clone3 compares the new group's count with that
// of the caller's group, and CLONE_INTO_CGROUP ends in SIGKILL (package birth).
func (g *Group) Kill() error {
	for end := time.Now().Add(timeout); ; {
		err := write(g.Dir, "cgroup.kill", "1")
		if isRemoved(err) {
			// Is the group missing, or only its file?
			if unix.Access(g.Dir, unix.F_OK) == unix.ENOENT {
				return nil
			}
			return fmt.Errorf("%w: cgroup.kill needs Linux 5.14", err)
		}
		if err != nil {
			return err
		}
		// A short wait, then another kill: processes may have joined after the first.
		if err := g.waitFor("populated", 0, timeout/100); !errors.Is(err, errTimeout) || time.Now().After(end) {
			return err
		}
	}
}

// Freeze stops all processes and waits until they are stopped, at most ten
// seconds. After that it thaws them and returns an error. Linux 5.2.
func (g *Group) Freeze() error {
	if err := write(g.Dir, "cgroup.freeze", "1"); err != nil {
		return err
	}
	if err := g.waitFor("frozen", 1, timeout); err != nil {
		// A group that is half frozen would be worse than one that runs.
		return errors.Join(err, g.Thaw())
	}
	return nil
}

// Thaw lets the processes continue. It does not wait.
func (g *Group) Thaw() error { return write(g.Dir, "cgroup.freeze", "0") }

// Frozen says whether all processes are stopped, by the freezer of this group or
// of one above it.
func (g *Group) Frozen() (bool, error) {
	events, err := g.ReadFlatKeyed("cgroup.events")
	return events["frozen"] == 1, err
}

// waitFor waits at most limit until an event has a value. Why not with poll(2)? The
// kernel reports at most one change in 10 ms, so it would report the end of a
// short-lived container later than this loop sees it.
func (g *Group) waitFor(event string, want uint64, limit time.Duration) error {
	end := time.Now().Add(limit)
	for pause := 200 * time.Microsecond; ; pause = min(2*pause, 10*time.Millisecond) {
		events, err := g.ReadFlatKeyed("cgroup.events")
		switch {
		case errors.Is(err, unix.ENOENT):
			return nil // the group was removed
		case err != nil || events[event] == want:
			return err
		case time.Now().After(end):
			return fmt.Errorf("cgroup %s: %s %d: %w", g.Dir, event, want, errTimeout)
		}
		time.Sleep(pause)
	}
}

// Destroy ends all processes and removes the group with all groups below it. A
// group that was removed is a success.
func (g *Group) Destroy() error {
	return retryBusy(func() error {
		if err := g.Kill(); err != nil {
			return err
		}
		return remove(g.Dir)
	})
}

// Remove removes the group and all groups below it, and ends no process: with
// processes it is an error (EBUSY). It is also the undo of [Group.Add].
func (g *Group) Remove() error { return retryBusy(func() error { return remove(g.Dir) }) }

// retryBusy repeats a removal that fails because of processes (EBUSY), for about a
// second: they may be about to end.
func retryBusy(remove func() error) error {
	for pause := time.Millisecond; ; pause *= 2 {
		err := remove()
		if !errors.Is(err, unix.EBUSY) || pause > 512*time.Millisecond {
			return err
		}
		time.Sleep(pause)
	}
}

// remove removes a group. If it has groups below (EBUSY), those are removed first.
func remove(dir string) error {
	// Most often there are no groups below, so rmdir alone is enough.
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
// that can make groups makes them so deep that no path reaches the last one
// (ENAMETOOLONG), or deeper than a process can open descriptors. So removeBelow
// goes down and up with one descriptor, one name at a time, and reads each
// directory once. ".." is safe here, because groups are never moved.
func removeBelow(top string) error {
	dir, err := unix.Open(top, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ignoreRemoved(err)
	}
	way := make([]visit, 1) // from top to dir
	way[0].children, err = childrenOf(dir)
	for err == nil {
		at := &way[len(way)-1]
		switch n := len(at.children); {
		case n > 0:
			name := at.children[n-1]
			at.children = at.children[:n-1]
			err = unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
			if err == unix.ENOENT {
				err = nil
			} else if err == unix.EBUSY { // it has groups or processes
				if dir, err = moveTo(dir, name); err == nil {
					below := visit{name: name}
					below.children, err = childrenOf(dir)
					way = append(way, below)
				}
			}
		case len(way) == 1:
			return unix.Close(dir)
		default:
			if dir, err = moveTo(dir, ".."); err == nil {
				err = unix.Unlinkat(dir, at.name, unix.AT_REMOVEDIR) // EBUSY: it has processes
			}
			way = way[:len(way)-1]
		}
	}
	if dir >= 0 {
		unix.Close(dir) // EIO is impossible for a directory
	}
	return ignoreRemoved(err)
}

// A visit is to a group whose children are being removed.
type visit struct {
	name     string
	children []string // those that are left
}

// childrenOf reads the names of the groups in a directory. Why by /proc/self/fd? A
// descriptor has no path of its own here; os.ReadDir wants one.
func childrenOf(dir int) (names []string, err error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/self/fd/%d", dir))
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// ignoreRemoved drops the error for a group that another process has removed.
func ignoreRemoved(err error) error {
	if isRemoved(err) {
		return nil
	}
	return err
}

// moveTo opens a directory relative to another one and closes that.
func moveTo(dir int, name string) (int, error) {
	next, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	unix.Close(dir) // EIO is impossible for a directory
	return next, err
}
