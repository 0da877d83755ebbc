package container

import (
	"encoding/binary"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// The exit file holds the siginfo_t that waitid(2) filled, as the kernel left
// it: the monitor of a detached container can do no more than write it down.
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
