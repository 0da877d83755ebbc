package container

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"minirun/container/pidfd"
)

// An Exit is how a container ended.
type Exit struct {
	Code int       // the program's, or 128 + the signal that ended it
	At   time.Time // when
}

// Exit says how the container ended; false if it has not, or if no monitor was
// there to see it. Why does it wait? We can see the end of a process before its
// monitor, on a busy machine, has written it down.
func (c *Container) Exit() (Exit, bool) {
	f, err := os.Open(c.path("exit"))
	if err != nil {
		return Exit{}, false
	}
	defer f.Close()
	for left := waitMillis; ; left-- {
		e, ok := readExit(f)
		s, err := pidfd.Stat(c.Pid, c.StartTime)
		if ok || left <= 0 || !errors.Is(err, pidfd.ErrEnded) {
			return e, ok
		}
		if s.Start != c.StartTime { // it is no zombie any more: its monitor has waited for it
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

// The exit file holds the siginfo_t that waitid(2) filled, as the kernel left
// it: the monitor of a detached container is a plan, and a plan cannot compute.
//
//	offset 0   si_signo   SIGCHLD
//	offset 8   si_code    CLD_EXITED, CLD_KILLED or CLD_DUMPED
//	offset 24  si_status  the exit status or the signal
const exitSize = 128

// readExit reads how a process ended, and when that was written.
func readExit(f *os.File) (Exit, bool) {
	info, err := f.Stat()
	b := make([]byte, exitSize)
	if _, readErr := io.ReadFull(f, b); err != nil || readErr != nil {
		return Exit{}, false
	}
	code, status := binary.NativeEndian.Uint32(b[8:]), int(binary.NativeEndian.Uint32(b[24:]))
	if code != cldExited {
		status += 128
	}
	return Exit{Code: status, At: info.ModTime()}, true
}

const cldExited = 1

// WriteExit writes what the monitor would have written.
func (c *Container) WriteExit(status unix.WaitStatus) error {
	b := make([]byte, exitSize)
	binary.NativeEndian.PutUint32(b, uint32(unix.SIGCHLD))
	binary.NativeEndian.PutUint32(b[8:], cldExited)
	binary.NativeEndian.PutUint32(b[24:], uint32(status.ExitStatus()))
	if status.Signaled() {
		binary.NativeEndian.PutUint32(b[8:], cldExited+1)
		binary.NativeEndian.PutUint32(b[24:], uint32(status.Signal()))
	}
	return writeFile(c.path("exit"), b, 0o600)
}

// ExitCode is what a shell makes of a wait status.
func ExitCode(status unix.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}
