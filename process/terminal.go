package process

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"minirun/plan"
)

// Terminal records the container's terminal: the two ends of a pseudo-terminal
// of its own devpts, whose multiplexer ptmx is (pty(7)). The slave becomes
// descriptors 0, 1 and 2 and the controlling terminal; the master goes out over
// the Unix socket given as "console". It returns the slave.
func (i *Identity) Terminal(p *plan.Plan, ptmx plan.FD) plan.FD {
	p.IoctlMemory(ptmx, unix.TIOCSPTLCK, make([]byte, 8), "[0]")
	p.Note("the other end, by its descriptor: the container may have put anything at /dev/pts/0")
	slave := p.Ioctl(ptmx, unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC).As("terminal")
	if s := i.spec.ConsoleSize; s != nil {
		size := make([]byte, 8) // struct winsize
		binary.NativeEndian.PutUint16(size, uint16(s.Height))
		binary.NativeEndian.PutUint16(size[2:], uint16(s.Width))
		p.IoctlMemory(slave, unix.TIOCSWINSZ, size, fmt.Sprintf("{ws_row=%d, ws_col=%d}", s.Height, s.Width))
	}
	i.own(p, slave)
	p.Sendmsg(plan.Inherited("console"), "/dev/ptmx", ptmx)
	p.Note("a session's leader may take a terminal: then Ctrl-C reaches the session")
	p.Setsid()
	p.Ioctl(slave, unix.TIOCSCTTY, 0)
	for fd := range 3 {
		p.Dup3(slave, fd, 0)
	}
	return slave
}

// Own records that a standard file (0, 1 or 2) is given to the user, who could
// else not open it again as /dev/stdout. For pipes, sockets and files that are
// the container's alone: not for a device of the host's.
func (i *Identity) Own(p *plan.Plan, fd int) {
	if i.spec.User.UID != 0 {
		i.own(p, plan.Num(fd))
	}
}

// own records a change of the owner, not the group (a terminal's is tty). It
// fails, and may, where the user namespace or the file system has no such owner.
func (i *Identity) own(p *plan.Plan, fd plan.FD) {
	p.Fchownat(fd, "", i.spec.User.UID, none, unix.AT_EMPTY_PATH).Tolerate(unix.EPERM, unix.EINVAL, unix.EROFS)
}
