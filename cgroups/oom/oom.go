// Package oom reports the processes that the kernel killed because a group
// reached its memory limit (OOM: out of memory).
//
// The kernel counts them in the group's file memory.events:
//
//	max 17          allocations that hit memory.max
//	oom_kill 1      processes that the kernel killed
//
// Each change makes poll(2) on the open file return with POLLPRI, until the file is
// read again. A group without the memory controller has no such file and no such
// kills.
//
// [Killed] asks once, [NewWatch] reports kills as they happen, and
// [WaitForReaders] gives engines, which watch the file as well, time to read it
// before the group is removed.
//
// Man page: [cgroups(7)]; the kernel's [cgroup-v2.rst], "memory.events".
//
// [cgroups(7)]: https://man7.org/linux/man-pages/man7/cgroups.7.html
// [cgroup-v2.rst]: https://docs.kernel.org/admin-guide/cgroup-v2.html
package oom

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"minirun/cgroups"
)

// Killed says whether the kernel has killed a process of the group because of its
// memory limit. It is false for a group without the memory controller, and for a
// group that was removed.
func Killed(g *cgroups.Group) (bool, error) {
	events, err := g.ReadFlatKeyed("memory.events")
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return events["oom_kill"] > 0, err
}

// WaitForReaders gives engines time to read memory.events before the group is
// removed: the kernel notifies them at most every 10 ms
// (CGROUP_FILE_NOTIFY_MIN_INTV), and whether they report a container as OOMKilled
// depends on it. Without a kill it does not wait.
func WaitForReaders(g *cgroups.Group) {
	const interval, toRead = 10 * time.Millisecond, 10 * time.Millisecond
	if killed, err := Killed(g); err == nil && killed {
		time.Sleep(interval + toRead)
	}
}

// A Watch reports kills in a group and in the groups below it.
type Watch struct {
	file *os.File // nil: the group has no memory controller
	seen uint64   // oom_kill, when it was last read
}

// NewWatch begins to watch. Earlier kills do not count.
func NewWatch(g *cgroups.Group) (*Watch, error) {
	f, err := os.Open(filepath.Join(g.Dir, "memory.events"))
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
		return &Watch{}, nil
	}
	if err != nil {
		return nil, err
	}
	w := &Watch{file: f}
	if _, err := w.Killed(); err != nil {
		f.Close()
		return nil, err
	}
	return w, nil
}

// FD is for poll(2), which ignores it if it is -1.
func (w *Watch) FD() int {
	if w.file == nil {
		return -1
	}
	return int(w.file.Fd())
}

// Killed says whether there were kills since the last call.
func (w *Watch) Killed() (bool, error) {
	if w.file == nil {
		return false, nil
	}
	buffer := make([]byte, 4096)
	n, err := unix.Pread(w.FD(), buffer, 0)
	if err == unix.ENODEV {
		return false, nil // the group was removed
	}
	if err != nil {
		return false, fmt.Errorf("read %s: %w", w.file.Name(), err)
	}
	events, err := cgroups.ParseFlatKeyed(string(buffer[:n]))
	if err != nil {
		return false, fmt.Errorf("read %s: %w", w.file.Name(), err)
	}
	before := w.seen
	w.seen = events["oom_kill"]
	return w.seen > before, nil
}

// Close ends the watch.
func (w *Watch) Close() {
	if w.file != nil {
		w.file.Close() // EIO is impossible: nothing was written
	}
}
