// Package pidfd holds on to processes by descriptors.
//
// A process id is used again once its process has ended and its parent has waited
// for it: a signal to a number may hit a stranger. A pidfd is a descriptor that
// refers to one process for ever; after the end of that process a signal through it
// is ESRCH, and poll(2) reports it readable.
//
// Two things can be known about a process whose id was written down earlier: the
// id, and the time at which the kernel started it. Open compares both, after it has
// the descriptor: then the comparison is about the process that it holds.
//
// Linux 5.3. Man pages: [pidfd_open(2)], [pidfd_send_signal(2)].
//
// [pidfd_open(2)]: https://man7.org/linux/man-pages/man2/pidfd_open.2.html
// [pidfd_send_signal(2)]: https://man7.org/linux/man-pages/man2/pidfd_send_signal.2.html
package pidfd

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"golang.org/x/sys/unix"

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

// Stat looks at the process that was started at a time in clock ticks after boot.
// It is [ErrEnded] if the process has ended, also if it is a zombie, or if its id is
// another process's by now. What cannot be looked at (EMFILE, EIO) is another error.
func Stat(pid int, start uint64) (procfs.Stat, error) {
	if pid <= 0 { // nobody's, or for kill(2) many
		return procfs.Stat{}, ErrEnded
	}
	s, err := procfs.ReadStat("/proc", pid)
	if isGone(err) || err == nil && (s.Start != start || s.Ended()) {
		return s, ErrEnded
	}
	return s, err
}

// Open returns a pidfd of the process that was started at that time, or
// [ErrEnded].
func Open(pid int, start uint64) (int, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if isGone(err) {
		return -1, ErrEnded
	} else if err != nil {
		return -1, fmt.Errorf("pidfd_open %d: %w", pid, err)
	}
	if _, err := Stat(pid, start); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
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
