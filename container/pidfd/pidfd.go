// Package pidfd holds on to processes by descriptors.
//
// A process id is used again once its process has ended and its parent has waited
// for it: a signal to a number may hit a stranger. A pidfd is a descriptor that
// refers to one process for ever; after the end of that process a signal through it
// is ESRCH, and poll(2) reports it readable.
//
// A number that was written down is somebody else's after a reboot, or once its process
// has ended. So an [Identity] is written down instead: the number, and what tells its
// process from every other that has had, or will have, the same number:
//
//	the boot          a random number that the kernel draws when it starts
//	the start time    in clock ticks, usually of 10 ms: two processes can share one
//	the pidfd's inode since Linux 6.9 (pidfs) no two processes of one boot share it;
//	                  before, all pidfds have the same, and the start time must do
//
// Open compares them after it has the descriptor: then the comparison is about the
// process that it holds.
//
// Linux 5.3. Man pages: [pidfd_open(2)], [pidfd_send_signal(2)], [proc_sys_kernel(5)].
//
// [pidfd_open(2)]: https://man7.org/linux/man-pages/man2/pidfd_open.2.html
// [pidfd_send_signal(2)]: https://man7.org/linux/man-pages/man2/pidfd_send_signal.2.html
// [proc_sys_kernel(5)]: https://man7.org/linux/man-pages/man5/proc_sys_kernel.5.html
package pidfd

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"minirun/cgroups"
	"minirun/container/procfs"
)

// ErrEnded says that the process has ended.
var ErrEnded = errors.New("process has ended")

// gone are the kernel's answers for a process that has ended: its directory in
// /proc is not there, or its file was opened before the end. pidfd_open(2) says
// EINVAL of a number that is a thread's, or that no process can have.
var gone = []error{fs.ErrNotExist, unix.ESRCH, unix.EINVAL}

func isGone(err error) bool {
	return slices.ContainsFunc(gone, func(e error) bool { return errors.Is(err, e) })
}

// An Identity is a process, in the form in which a container's state keeps it.
type Identity struct {
	Pid       int    `json:"pid"`             // 0: no process yet
	StartTime uint64 `json:"startTime"`       // in clock ticks after boot (proc_pid_stat(5))
	Inode     uint64 `json:"inode,omitempty"` // of its pidfd; 0: nobody has asked
	Boot      string `json:"boot,omitempty"`  // boot_id; "": nobody has asked
}

// Of is the identity of a process of which fd is a pidfd. If fd is -1, Of opens one: then
// the caller knows that nobody has waited for the process yet.
func Of(pid, fd int) (Identity, error) {
	s, err := procfs.ReadStat("/proc", pid)
	id := Identity{Pid: pid, StartTime: s.Start}
	if err == nil {
		if id.Boot, err = bootID(); errors.Is(err, fs.ErrNotExist) {
			err = nil // this /proc shows only processes (subset=pid): the rest must do
		}
	}
	if err == nil && fd < 0 {
		if fd, err = unix.PidfdOpen(pid, 0); err == nil {
			defer unix.Close(fd) // EIO is impossible for a pidfd
		}
	}
	if err == nil {
		id.Inode, err = inode(fd)
	}
	return id, err
}

// Stat looks at the process. It is [ErrEnded] if the process has ended, also if it is a
// zombie, or if its number is another process's by now. What cannot be looked at (EMFILE,
// EIO) is another error.
func (id Identity) Stat() (procfs.Stat, error) {
	fd, s, err := id.open()
	if err == nil {
		unix.Close(fd) // EIO is impossible for a pidfd
	}
	return s, err
}

// Open returns a pidfd of the process, or [ErrEnded].
func (id Identity) Open() (int, error) {
	fd, _, err := id.open()
	return fd, err
}

func (id Identity) open() (fd int, s procfs.Stat, err error) {
	if id.Pid <= 0 { // nobody's, or for kill(2) many
		return -1, s, ErrEnded
	}
	if fd, err = unix.PidfdOpen(id.Pid, 0); isGone(err) {
		return -1, s, ErrEnded
	} else if err != nil {
		return -1, s, fmt.Errorf("pidfd_open %d: %w", id.Pid, err)
	}
	if s, err = id.compare(fd); err != nil {
		unix.Close(fd) // EIO is impossible for a pidfd
		fd = -1
	}
	return fd, s, err
}

// compare is [ErrEnded] unless fd is a pidfd of this process, and it runs.
func (id Identity) compare(fd int) (procfs.Stat, error) {
	if boot, err := bootID(); id.Boot != "" && (err != nil || boot != id.Boot) {
		return procfs.Stat{}, cmp.Or(err, ErrEnded)
	}
	if is, err := inode(fd); id.Inode != 0 && (err != nil || is != id.Inode) {
		return procfs.Stat{}, cmp.Or(err, ErrEnded)
	}
	s, err := procfs.ReadStat("/proc", id.Pid)
	if isGone(err) || err == nil && (s.Start != id.StartTime || s.Ended()) {
		return s, ErrEnded
	}
	return s, err
}

// Cgroup is the directory of the group that the process is in now; [ErrEnded] if it has
// ended. That it still runs is asked last: so it had the number while we read.
func (id Identity) Cgroup() (string, error) {
	fd, err := id.Open()
	if err != nil {
		return "", err
	}
	defer unix.Close(fd) // EIO is impossible for a pidfd
	h, err := cgroups.Find()
	if err != nil {
		return "", err
	}
	path, err := h.PathOf(strconv.Itoa(id.Pid))
	if isGone(err) || unix.PidfdSendSignal(fd, 0, nil, 0) == unix.ESRCH {
		err = ErrEnded
	}
	return filepath.Join(h.Mount, path), err
}

// bootID is the random number of this boot.
var bootID = sync.OnceValues(func() (string, error) {
	text, err := procfs.ReadSmall("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(text), err
})

func inode(fd int) (uint64, error) {
	var s unix.Stat_t
	err := unix.Fstat(fd, &s)
	return s.Ino, err
}

// Wait waits until the process of a pidfd has ended, or anything else makes a
// descriptor readable. A limit of zero is no limit; false says that time ran out.
func Wait(fd int, limit time.Duration) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	milliseconds := -1
	for end := time.Now().Add(limit); ; {
		if limit > 0 {
			milliseconds = max(0, int(time.Until(end).Milliseconds()))
		}
		if n, err := unix.Poll(fds, milliseconds); err != unix.EINTR {
			return n == 1
		}
	}
}
