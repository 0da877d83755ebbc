package container

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"minirun/plan"
)

// DialPidFD connects to the socket of an engine that wants a pidfd of the
// process: a descriptor that goes on meaning this one, whoever gets its number.
func DialPidFD(path string) (*os.File, error) { return dial("pidfd socket", path) }

// sendPidFD sends it, if it is wanted; kind is what runc calls the process:
// "standard" for a container's, "setns" for one more in it.
func (b *builder) sendPidFD(p *plan.Process, kind string) error {
	to := b.options.PidFD
	if to == nil {
		return nil
	}
	fd, err := unix.PidfdOpen(p.Pid, 0) // not p.PidFD: a child of its monitor's has none
	if err != nil {
		return fmt.Errorf("pidfd_open %d: %w", p.Pid, err)
	}
	defer unix.Close(fd)
	if err := unix.Sendmsg(int(to.Fd()), []byte(kind), unix.UnixRights(fd), nil, unix.MSG_NOSIGNAL); err != nil {
		return fmt.Errorf("send the pidfd to %s: %w", to.Name(), err)
	}
	return nil
}
