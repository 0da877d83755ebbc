// Package sockets passes open files to other processes.
//
// A descriptor is a number that means something only in its own process. A Unix
// socket can carry it to another one: the kernel takes the open file from the
// sender and gives the receiver a descriptor of its own for it (SCM_RIGHTS). A
// runtime hands over three things in this way:
//
//	what                          from               to
//	the terminal's master         the child          the engine (--console-socket), or ourselves
//	a pidfd of the process        the runtime        the engine (--pidfd-socket)
//	the seccomp filter's listener the child, by us   the agent (package listener)
//
// Man pages: [unix(7)], [cmsg(3)].
//
// [unix(7)]: https://man7.org/linux/man-pages/man7/unix.7.html
// [cmsg(3)]: https://man7.org/linux/man-pages/man3/cmsg.3.html
package sockets

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// patience is how long whoever listens may take to accept a connection, when its queue is
// full, and to read: connect(2) and sendmsg(2) then answer EAGAIN.
var patience = unix.Timeval{Sec: 10}

// Dial connects to a Unix socket. purpose is for errors, such as "console socket".
func Dial(purpose, path string) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", purpose, path, err)
	}
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &patience)
	if err := errors.Join(err, unix.Connect(fd, &unix.SockaddrUnix{Name: path})); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("%s %s: %w", purpose, path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// Pair returns two connected sockets: one for the child, one to call [Receive]
// with.
func Pair(purpose string) (theirs, ours *os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair for the %s: %w", purpose, err)
	}
	return os.NewFile(uintptr(pair[0]), purpose), os.NewFile(uintptr(pair[1]), purpose), nil
}

// Send sends a text with a descriptor, which the sender may then close.
func Send(to *os.File, text []byte, fd int) error {
	err := unix.Sendmsg(int(to.Fd()), text, unix.UnixRights(fd), nil, unix.MSG_NOSIGNAL)
	if err != nil {
		return fmt.Errorf("send to %s: %w", to.Name(), err)
	}
	return nil
}

// SendPidFD sends a pidfd of a process that is our child and that we have not waited
// for: its number is still its own.
func SendPidFD(to *os.File, kind string, pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("pidfd_open %d: %w", pid, err)
	}
	defer unix.Close(fd)
	return Send(to, []byte(kind), fd)
}

// Receive waits for a message of [Send], and returns the descriptor as a file that
// has the text for a name. sender is the sender's process id as the kernel knows
// it, or 0 if the socket does not have the option SO_PASSCRED.
func Receive(from *os.File) (file *os.File, sender int, err error) {
	text, control := make([]byte, 64), make([]byte, unix.CmsgSpace(4)+unix.CmsgSpace(unix.SizeofUcred))
	n, size, _, _, err := unix.Recvmsg(int(from.Fd()), text, control, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, 0, err
	}
	messages, err := unix.ParseSocketControlMessage(control[:size])
	if err != nil {
		return nil, 0, err
	}
	for _, m := range messages {
		if fds, err := unix.ParseUnixRights(&m); err == nil && file == nil {
			file = os.NewFile(uintptr(fds[0]), string(text[:n]))
			for _, unasked := range fds[1:] {
				unix.Close(unasked)
			}
		}
		if credentials, err := unix.ParseUnixCredentials(&m); err == nil {
			sender = int(credentials.Pid)
		}
	}
	if file == nil {
		return nil, 0, errors.New("no descriptor came")
	}
	return file, sender, nil
}
