package container

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The master of a container's terminal is opened in the container, from its
// own devpts, and sent out over a Unix socket: to the socket that an engine
// names (--console-socket), or to ourselves.

// DialConsole connects to the socket of an engine.
func DialConsole(path string) (*os.File, error) { return dial("console socket", path) }

// dial connects to a Unix socket; what says to whom, for errors.
func dial(what, path string) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", what, path, err)
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("%s %s: %w", what, path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// ConsolePair returns both ends of such a connection: one for [Options].Console,
// one for [ReceiveConsole].
func ConsolePair() (theirs, ours *os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair for the terminal: %w", err)
	}
	return os.NewFile(uintptr(pair[0]), "console"), os.NewFile(uintptr(pair[1]), "console"), nil
}

// ReceiveConsole takes the terminal's master out of the socket.
func ReceiveConsole(socket *os.File) (*os.File, error) {
	name, control := make([]byte, 64), make([]byte, unix.CmsgSpace(4))
	n, size, _, _, err := unix.Recvmsg(int(socket.Fd()), name, control, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("receive the terminal: %w", err)
	}
	messages, err := unix.ParseSocketControlMessage(control[:size])
	if err != nil || len(messages) != 1 {
		return nil, errors.Join(errors.New("receive the terminal: no descriptor came"), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, fmt.Errorf("receive the terminal: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), string(name[:n])), nil
}
