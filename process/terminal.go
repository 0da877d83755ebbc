package process

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"minirun/plan"
)

// Terminal records the container's terminal (pty(7)). ptmx is the multiplexer of
// the container's own devpts, opened: the master end. The slave end becomes
// descriptors 0, 1 and 2 and the controlling terminal. The master is sent over
// the Unix socket that is given as "console". Terminal returns the slave.
func (i *Identity) Terminal(p *plan.Plan, ptmx plan.FD) plan.FD {
	p.IoctlMemory(ptmx, unix.TIOCSPTLCK, make([]byte, 8), "[0]")
	p.Note("the slave end by its descriptor, not as /dev/pts/0: the container may have put anything there")
	slave := p.Ioctl(ptmx, unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC).As("terminal")
	if s := i.spec.ConsoleSize; s != nil {
		size := make([]byte, 8) // struct winsize
		binary.NativeEndian.PutUint16(size, uint16(s.Height))
		binary.NativeEndian.PutUint16(size[2:], uint16(s.Width))
		p.IoctlMemory(slave, unix.TIOCSWINSZ, size, fmt.Sprintf("{ws_row=%d, ws_col=%d}", s.Height, s.Width))
	}
	i.chown(p, slave)
	p.Sendmsg(plan.Inherited("console"), "/dev/ptmx", ptmx)
	p.Note("only the leader of a session may take a controlling terminal; Ctrl-C then reaches the session")
	p.Setsid()
	p.Ioctl(slave, unix.TIOCSCTTY, 0)
	for fd := range 3 {
		p.Dup3(slave, fd, 0)
	}
	return slave
}

// ChownStdio records that a standard file (0, 1 or 2) becomes the user's, who
// could otherwise not open it again as /dev/stdout. It is for pipes and sockets
// that only the container uses, never for a device of the host's.
func (i *Identity) ChownStdio(p *plan.Plan, fd int) {
	if i.spec.User.UID != 0 {
		i.chown(p, plan.Num(fd))
	}
}

// chown records a change of the owner, not of the group, which for a terminal is
// tty. The user namespace or the file system may have no such owner: then the
// file stays as it is.
func (i *Identity) chown(p *plan.Plan, fd plan.FD) {
	p.Fchownat(fd, "", i.spec.User.UID, unchanged, unix.AT_EMPTY_PATH).Tolerate(unix.EPERM, unix.EINVAL, unix.EROFS)
}
