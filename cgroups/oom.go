package cgroups

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// An OOMWatch looks for kills for want of memory, in a group and those below it.
// Every change of memory.events makes poll(2) return with POLLPRI, until it is
// read again:
//
//	max 17          allocations that hit memory.max
//	oom_kill 1      processes that the kernel killed
type OOMWatch struct {
	file *os.File // nil: the group has no memory controller, and so no such kills
	seen uint64   // oom_kill, when it was last read
}

// WatchOOM begins to watch: what has been before does not count.
func (g *Group) WatchOOM() (*OOMWatch, error) {
	f, err := os.Open(filepath.Join(g.Dir, "memory.events"))
	if gone(err) {
		return &OOMWatch{}, nil
	}
	if err != nil {
		return nil, err
	}
	w := &OOMWatch{file: f}
	if _, err := w.Killed(); err != nil {
		f.Close()
		return nil, err
	}
	return w, nil
}

// Heard waits, if the kernel has killed for want of memory in the group, until
// whoever watches its memory.events may know: they are told at most every 10 ms
// (CGROUP_FILE_NOTIFY_MIN_INTV in the kernel), and cannot read what is removed.
// Engines say OOMKilled, or do not, by that.
func (g *Group) Heard() {
	const interval, toRead = 10 * time.Millisecond, 10 * time.Millisecond
	if events, err := pairs(g.Dir, "memory.events"); err == nil && events["oom_kill"] > 0 {
		time.Sleep(interval + toRead)
	}
}

// FD is for poll(2), which ignores it if it is -1.
func (w *OOMWatch) FD() int {
	if w.file == nil {
		return -1
	}
	return int(w.file.Fd())
}

// Killed says whether there were kills since the last call.
func (w *OOMWatch) Killed() (bool, error) {
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
	events, err := parsePairs(string(buffer[:n]))
	if err != nil {
		return false, fmt.Errorf("read %s: %w", w.file.Name(), err)
	}
	before := w.seen
	w.seen = events["oom_kill"]
	return w.seen > before, nil
}

// Close ends the watch.
func (w *OOMWatch) Close() {
	if w.file != nil {
		w.file.Close() // EIO cannot be: nothing was written
	}
}
