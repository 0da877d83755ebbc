// Package exit says how a container ended.
//
// The kernel tells how a process ended only to its parent, and only once. The parent
// of a detached container is its monitor, which is a plan; and a plan cannot compute.
// So the monitor writes down the siginfo_t as waitid(2) has filled it:
//
//	offset 0   si_signo   SIGCHLD
//	offset 8   si_code    CLD_EXITED, CLD_KILLED or CLD_DUMPED
//	offset 24  si_status  the exit status or the signal
//
// Until then the file is as long already, but only zeros: see [Open].
//
// Man page: [waitid(2)].
//
// [waitid(2)]: https://man7.org/linux/man-pages/man2/waitid.2.html
package exit

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"minirun/container/pidfd"
)

// File is the name of the file, in the directory of a container's state, and Size
// its length, sizeof(siginfo_t).
const (
	File = "exit"
	Size = 128
)

// A Status is how a container ended.
type Status struct {
	Code int       // the program's, or 128 + the signal that ended it
	At   time.Time // when
}

// Read says how the container whose state is in dir ended, and whose process that was. It is false if the container has not ended, or if no monitor was
// there to see it. Why does it wait? We can see the end of a process before its
// monitor, on a busy machine, has written it down.
func Read(dir string, process pidfd.Identity) (Status, bool) {
	f, err := os.OpenFile(filepath.Join(dir, File), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0) // a FIFO would make us wait
	if err != nil {
		return Status{}, false
	}
	defer f.Close()
	for left := waitMillis; ; left-- {
		e, ok := parse(f)
		s, err := process.Stat()
		if ok || left <= 0 || !errors.Is(err, pidfd.ErrEnded) {
			return e, ok
		}
		if s.Start != process.StartTime { // it is no zombie any more: its monitor has waited for it
			left = min(left, writeMillis)
		}
		time.Sleep(time.Millisecond)
	}
}

// How long a monitor may take to write down how the container ended: in all, and
// from its wait(2) on. A monitor that was killed never will.
const (
	waitMillis  = 1000
	writeMillis = 100
)

// parse reads how a process ended, and when that was written.
func parse(f *os.File) (Status, bool) {
	info, err := f.Stat()
	b := make([]byte, Size)
	if _, readErr := f.ReadAt(b, 0); err != nil || readErr != nil || binary.NativeEndian.Uint32(b) == 0 { // no si_signo: it is not written yet
		return Status{}, false
	}
	code, status := binary.NativeEndian.Uint32(b[8:]), int(binary.NativeEndian.Uint32(b[24:]))
	if code != cldExited {
		status += 128
	}
	return Status{Code: status, At: info.ModTime()}, true
}

const cldExited = 1

// Open opens the file, and writes as much as will be written into it: how the container
// ended must not be lost because the disk is full by then.
func Open(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, File), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err := f.WriteAt(make([]byte, Size), 0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Write writes what a monitor would have written.
func Write(dir string, status unix.WaitStatus) error {
	b := make([]byte, Size)
	binary.NativeEndian.PutUint32(b, uint32(unix.SIGCHLD))
	binary.NativeEndian.PutUint32(b[8:], cldExited)
	binary.NativeEndian.PutUint32(b[24:], uint32(status.ExitStatus()))
	if status.Signaled() {
		binary.NativeEndian.PutUint32(b[8:], cldExited+1)
		binary.NativeEndian.PutUint32(b[24:], uint32(status.Signal()))
	}
	f, err := os.OpenFile(filepath.Join(dir, File), os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600) // not truncated: it has its room on the disk
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}

// Code is what a shell makes of a wait status.
func Code(status unix.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}
