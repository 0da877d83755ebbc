// Package notify lets a program in a container tell a service manager that it is
// ready.
//
// A service manager learns from the service itself when it is ready: by a
// datagram to the socket that NOTIFY_SOCKET names ([sd_notify(3)]). A program in a
// container cannot reach that socket, and the manager does not listen to processes
// of other services. So the program gets a socket of ours, and we tell the manager.
//
//	program                          runtime                      service manager
//	READY=1      -> /run/notify/notify.sock
//	                                 READY=1                 ->
//	                                 MAINPID=4711            ->   watches the container process
//	                                 BARRIER=1, a pipe       ->   reads all of these, then
//	                                 the pipe's end          <-   closes its copy
//
// The directory of the socket is mounted in the container, not the socket itself:
// start is another process than create, and makes a new socket.
//
// [sd_notify(3)]: https://man7.org/linux/man-pages/man3/sd_notify.3.html
package notify

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"minirun/container/files"
	"minirun/container/pidfd"
	"minirun/container/sockets"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

const (
	file   = "notify.sock"
	inside = "/run/notify" // where the container finds the directory
)

// barrierLimit is how long the manager may take to read what was sent. A manager
// that does not know of barriers never closes the pipe.
const barrierLimit = 30 * time.Second

// A Socket is the one that the program writes to.
type Socket struct {
	Wanted bool // a service manager wants to know; else Announce and Listen do nothing

	dir    string   // on the host
	socket *os.File // nil before Listen
}

// At is the socket below a directory of the container's state. Nothing is made.
func At(dir string) Socket { return Socket{dir: dir} }

// Announce makes the socket's directory, and returns the spec with its mount and
// with NOTIFY_SOCKET.
func (s *Socket) Announce(spec *specs.Spec) (*specs.Spec, error) {
	if !s.Wanted {
		return spec, nil
	}
	if err := files.Mkdir(s.dir, 0o755); err != nil {
		return nil, err
	}
	with, process := *spec, *spec.Process
	with.Mounts = append(spec.Mounts[:len(spec.Mounts):len(spec.Mounts)], specs.Mount{
		Destination: inside, Source: s.dir, Options: []string{"bind", "nosuid", "noexec", "nodev", "ro"}})
	process.Env = append(process.Env[:len(process.Env):len(process.Env)], "NOTIFY_SOCKET="+inside+"/"+file)
	with.Process = &process
	return &with, nil
}

// Listen makes the socket, if create has made the directory for it. The program
// must not have started. The address of a Unix socket holds 107 bytes, and the path
// of a state may be longer: so the address goes through a descriptor of the directory.
func (s *Socket) Listen() error {
	if !s.Wanted {
		return nil
	}
	dir, err := unix.Open(s.dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", s.dir, err)
	}
	defer unix.Close(dir)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("notify socket: %w", err)
	}
	path := fmt.Sprintf("/proc/self/fd/%d/%s", dir, file)
	os.Remove(path) // ENOENT, mostly
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), os.Chmod(path, 0o777)); err != nil {
		unix.Close(fd)
		return fmt.Errorf("notify socket in %s: %w", s.dir, err)
	}
	s.socket = os.NewFile(uintptr(fd), filepath.Join(s.dir, file))
	return nil
}

// Close ends Listen.
func (s *Socket) Close() error {
	if s.socket == nil {
		return nil
	}
	return s.socket.Close()
}

// Tell waits until the program is ready, and tells it to the service manager that
// listens at an address, with mainPid as the process to watch; then it closes the
// socket. It returns without telling if there is no socket, or when the container
// process has ended. The container must not be
// locked: this may take long.
func (s *Socket) Tell(address string, mainPid int, process pidfd.Identity) error {
	if s.socket == nil {
		return nil
	}
	defer s.Close()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("notify %s: %w", address, err)
	}
	manager := os.NewFile(uintptr(fd), address)
	defer manager.Close()
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: address}); err != nil {
		return fmt.Errorf("notify %s: %w", address, err)
	}
	ready, err := s.ready(process)
	if err != nil || ready == nil {
		return err
	}
	for _, message := range [][]byte{append(ready, '\n'), fmt.Appendf(nil, "MAINPID=%d\n", mainPid)} {
		if err := unix.Send(fd, message, unix.MSG_NOSIGNAL); err != nil {
			return fmt.Errorf("notify %s: %w", address, err)
		}
	}
	return barrier(manager)
}

// ready waits for the program's line that begins with READY=; nil if the program
// ended without one.
func (s *Socket) ready(process pidfd.Identity) ([]byte, error) {
	held, err := process.Open()
	if errors.Is(err, pidfd.ErrEnded) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer unix.Close(held)
	fds := []unix.PollFd{{Fd: int32(s.socket.Fd()), Events: unix.POLLIN}, {Fd: int32(held), Events: unix.POLLIN}}
	for buffer := make([]byte, 4096); ; {
		if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
			return nil, fmt.Errorf("notify socket: poll: %w", err)
		}
		if fds[0].Revents&unix.POLLIN == 0 {
			if fds[1].Revents != 0 {
				return nil, nil
			}
			continue
		}
		n, err := unix.Read(int(fds[0].Fd), buffer)
		if err != nil {
			return nil, fmt.Errorf("notify socket: %w", err)
		}
		for line := range bytes.Lines(buffer[:n]) {
			if bytes.HasPrefix(line, []byte("READY=")) {
				return bytes.TrimSpace(line), nil
			}
		}
	}
}

// barrier waits until the manager has read what was sent before: it then closes
// its copy of a pipe's end (sd_notify_barrier(3)).
func barrier(manager *os.File) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	err = sockets.Send(manager, []byte("BARRIER=1"), int(w.Fd()))
	w.Close()
	if err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	pidfd.Wait(int(r.Fd()), barrierLimit) // the manager has been told, whatever this returns
	return nil
}
