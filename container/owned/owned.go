// Package owned finds a container's cgroup again, in a command that is later than create.
//
// Between the two, much can have happened to the group:
//
//	the container has ended, and another has the group, or one with its path
//	an administrator has moved the processes elsewhere, and removed the group
//	the container has divided the group, and moved its processes to groups below
//	the container can write to the group, and has changed the mark in it
//
// So a group is the container's only if it has the container's mark (package owner), or if
// the container process is in it or below it. A command that acts on a group that is neither
// would harm others.
package owned

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/cgroups"
	"minirun/cgroups/owner"
	"minirun/cgroups/signals"
	"minirun/container/pidfd"
)

// Group is the container's own group; nil if it has none, or none any more. dir is its path,
// "" for none; first is the container process.
func Group(dir string, mark owner.Mark, first pidfd.Identity) (*cgroups.Group, error) {
	if dir == "" {
		return nil, nil
	}
	is, err := mark.On(dir)
	if err == nil && !is {
		is, err = holds(dir, first)
	}
	if !is || err != nil {
		return nil, err
	}
	return cgroups.Open(dir), nil
}

// holds says whether a process is in the group, or in one below it.
func holds(dir string, first pidfd.Identity) (bool, error) {
	at, err := first.Cgroup()
	if errors.Is(err, pidfd.ErrEnded) {
		return false, nil
	}
	return err == nil && within(at, dir), err
}

// within says whether a path is dir or below it.
func within(path, dir string) bool { return strings.HasPrefix(path+"/", dir+"/") }

// ToJoin is the directory of the group in which one more process of the container is
// born: the one below its own that was asked for, or else its own, or the one that the
// container process is in. It is "" if the container never had a group of its own.
//
// Why not always its own? A group that hands controllers down cannot have processes
// (cgroup-v2.rst, "No Internal Process Constraint"): a container that divides its group
// has moved its processes to groups below. Nor can it be a threaded group, in which only
// the threads of processes that are in it already can be.
func ToJoin(dir string, mark owner.Mark, first pidfd.Identity, below string) (string, error) {
	own, err := Group(dir, mark, first)
	switch {
	case err != nil || dir == "" && below == "":
		return "", err
	case own == nil && below != "":
		return "", errors.New("it has no cgroup of its own, and so none below that")
	case own == nil:
		return first.Cgroup()
	case below != "":
		if path := filepath.Join(dir, below); within(path, dir) {
			return path, nil
		}
		return "", fmt.Errorf("cgroup %s: not below the container's own, %s", below, dir)
	}
	enabled, err := own.Read("cgroup.subtree_control")
	if err != nil || strings.TrimSpace(enabled) == "" { // the usual case: one small file to read
		return dir, err
	}
	at, err := first.Cgroup()
	if kind, _ := cgroups.Open(at).Read("cgroup.type"); strings.TrimSpace(kind) == "threaded" { // ENOENT: the group at the top
		at = dir
	}
	return at, err
}

// Signal sends a signal to all processes of a container: those in its group or, if it has
// none any more, those in its own pid namespace. false says that it has neither.
func Signal(dir string, mark owner.Mark, first pidfd.Identity, ownPids bool, sig unix.Signal) (sent bool, err error) {
	group, err := Group(dir, mark, first)
	switch {
	case err != nil:
		return false, err
	case group != nil:
		return true, signals.Send(group, sig)
	case !ownPids:
		return false, nil
	}
	err = toNamespace(first, sig)
	if errors.Is(err, pidfd.ErrEnded) { // then all the others have, too
		return true, nil
	}
	return true, err
}

// toNamespace sends a signal to all processes in the pid namespace of a process.
func toNamespace(first pidfd.Identity, sig unix.Signal) error {
	fd, err := first.Open()
	if err != nil {
		return err
	}
	defer unix.Close(fd) // EIO is impossible for a pidfd
	namespace, err := namespaceOf(first.Pid)
	if unix.PidfdSendSignal(fd, 0, nil, 0) == unix.ESRCH {
		return pidfd.ErrEnded
	} else if err != nil {
		return err
	}
	inside := func(pid int) (bool, error) {
		is, err := namespaceOf(pid)
		return is == namespace, err
	}
	return signals.Each(func() (pids []int, err error) {
		entries, err := os.ReadDir("/proc")
		for _, e := range entries {
			pid, notProcess := strconv.Atoi(e.Name())
			if notProcess != nil {
				continue
			}
			if is, err := inside(pid); is && err == nil { // err: it has ended, or we have no right to know, so it is none of ours
				pids = append(pids, pid)
			}
		}
		return pids, err
	}, inside, sig)
}

// namespaceOf is the pid namespace of a process, as the kernel writes it: "pid:[4026531836]".
func namespaceOf(pid int) (string, error) {
	return os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
}
