package container

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A service manager learns from the service itself when it is ready: by a
// datagram to the socket that NOTIFY_SOCKET names (sd_notify(3)). A program in a
// container cannot reach that socket, and the manager would not listen to it.
// So it gets one of ours, and we tell the manager.
//
//	program                          runtime                      service manager
//	READY=1      -> /run/notify/notify.sock
//	                                 READY=1                 ->
//	                                 MAINPID=4711            ->   watches the container process
//	                                 BARRIER=1, a pipe       ->   closes it when all that came
//	                                 the pipe's end: leaves       before is done
//
// The socket's directory is mounted, not the socket: the one of create is not
// that of start, which is another process.

const (
	notifyFile   = "notify.sock"
	notifyInside = "/run/notify"
)

// barrierPatience is how long the manager may take; one that does not know of
// barriers takes for ever.
const barrierPatience = 30 * time.Second

func (c *Container) notifyDir() string { return c.path("notify") }

// announced makes the socket's directory and returns the spec with it.
func (c *Container) announced(spec *specs.Spec) (*specs.Spec, error) {
	if err := os.Mkdir(c.notifyDir(), 0o755); err != nil {
		return nil, err
	}
	with, process := *spec, *spec.Process
	with.Mounts = append(spec.Mounts[:len(spec.Mounts):len(spec.Mounts)], specs.Mount{
		Destination: notifyInside, Source: c.notifyDir(), Options: []string{"bind", "nosuid", "noexec", "nodev", "ro"}})
	process.Env = append(process.Env[:len(process.Env):len(process.Env)], "NOTIFY_SOCKET="+notifyInside+"/"+notifyFile)
	with.Process = &process
	return &with, nil
}

// listen makes the socket, if create was asked for one. The name of a socket
// has room for 107 bytes, the path of a state may be longer: it is made below
// the directory's descriptor.
func (c *Container) listen() error {
	dir, err := unix.Open(c.notifyDir(), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", c.notifyDir(), err)
	}
	defer unix.Close(dir)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("notify socket: %w", err)
	}
	path := fmt.Sprintf("/proc/self/fd/%d/%s", dir, notifyFile)
	os.Remove(path) // ENOENT, mostly
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), os.Chmod(path, 0o777)); err != nil {
		unix.Close(fd)
		return fmt.Errorf("notify socket in %s: %w", c.notifyDir(), err)
	}
	c.notify = os.NewFile(uintptr(fd), filepath.Join(c.notifyDir(), notifyFile))
	return nil
}

func (c *Container) stopListening() error {
	if c.notify == nil {
		return nil
	}
	return c.notify.Close()
}

// TellReady waits until the program is ready, and tells it to the service
// manager that listens at an address, NOTIFY_SOCKET's; with mainPid as the
// process to watch. It returns at once if the container was not made to tell, or
// when it has ended. c must not be locked: it may take long.
func (c *Container) TellReady(address string, mainPid int) error {
	if c.notify == nil {
		return nil
	}
	defer c.stopListening()
	manager, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("notify %s: %w", address, err)
	}
	defer unix.Close(manager)
	if err := unix.Connect(manager, &unix.SockaddrUnix{Name: address}); err != nil {
		return fmt.Errorf("notify %s: %w", address, err)
	}
	ready, err := c.ready()
	if err != nil || ready == nil {
		return err
	}
	for _, message := range [][]byte{append(ready, '\n'), fmt.Appendf(nil, "MAINPID=%d\n", mainPid)} {
		if err := unix.Send(manager, message, unix.MSG_NOSIGNAL); err != nil {
			return fmt.Errorf("notify %s: %w", address, err)
		}
	}
	return barrier(manager, address)
}

// ready waits for the program's line that begins with READY=; nil if it ended
// without one.
func (c *Container) ready() ([]byte, error) {
	pidfd, err := c.open()
	if errors.Is(err, ErrNotRunning) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer unix.Close(pidfd)
	fds := []unix.PollFd{{Fd: int32(c.notify.Fd()), Events: unix.POLLIN}, {Fd: int32(pidfd), Events: unix.POLLIN}}
	for buffer := make([]byte, 4096); ; {
		if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
			return nil, fmt.Errorf("notify socket: poll: %w", err)
		}
		if fds[0].Revents&unix.POLLIN != 0 {
			n, err := unix.Read(int(fds[0].Fd), buffer)
			if err != nil {
				return nil, fmt.Errorf("notify socket: %w", err)
			}
			for line := range bytes.Lines(buffer[:n]) {
				if bytes.HasPrefix(line, []byte("READY=")) {
					return bytes.TrimSpace(line), nil
				}
			}
		} else if fds[1].Revents != 0 {
			return nil, nil
		}
	}
}

// barrier waits until the manager has read what was sent before: it then closes
// its copy of a pipe's end (sd_notify_barrier(3)).
func barrier(manager int, address string) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	err = unix.Sendmsg(manager, []byte("BARRIER=1"), unix.UnixRights(int(w.Fd())), nil, unix.MSG_NOSIGNAL)
	w.Close()
	if err != nil {
		return fmt.Errorf("notify %s: %w", address, err)
	}
	ended(int(r.Fd()), barrierPatience) // true or false: it has been told
	return nil
}
