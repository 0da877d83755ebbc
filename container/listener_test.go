package container

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestListener: an agent outside answers for a system call of the container's
// program, and of one that was executed in it later.
func TestListener(t *testing.T) {
	needRoot(t)
	b := newBox(t, "mkdir /tmp/forbidden", "print on", "trap SIGTERM 0")
	path := filepath.Join(t.TempDir(), "agent")
	server, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(server)
	must(t, unix.Bind(server, &unix.SockaddrUnix{Name: path}))
	must(t, unix.Listen(server, 2))
	b.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, ListenerPath: path, ListenerMetadata: "hello",
		Syscalls: []specs.LinuxSyscall{{Names: []string{"mkdirat"}, Action: specs.ActNotify}}}
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()

	states := make(chan specs.ContainerProcessState, 2)
	go func() {
		for range 2 {
			states <- answerOnce(t, server, unix.ENOTUNIQ)
		}
	}()
	c, p, err := b.start(Options{Stdout: w})
	w.Close()
	must(t, err)
	waitLine(t, r, "error: mkdir /tmp/forbidden: name not unique on network\non\nready")
	s := <-states
	if s.Pid != p.Pid || s.State.Pid != p.Pid || s.State.ID != b.id || s.State.Status != specs.StateCreating || s.Metadata != "hello" || len(s.Fds) != 1 || s.Fds[0] != "seccompFd" {
		t.Errorf("the agent got %+v, want pid %d, id %s, creating, hello, seccompFd", s, p.Pid, b.id)
	}
	out, w, err := os.Pipe()
	must(t, err)
	defer out.Close()
	x, err := c.Exec(&specs.Process{Args: []string{"/bin/program", "mkdir /tmp/x"}, Cwd: "/"}, b.Linux, Options{Stdout: w})
	w.Close()
	must(t, err)
	if text := read(t, out); text != "error: mkdir /tmp/x: name not unique on network" {
		t.Errorf("exec = %q, want the agent's error", text)
	}
	x.Wait()
	if s := <-states; s.Pid == p.Pid || s.State.Pid != p.Pid || s.State.Status != specs.StateRunning {
		t.Errorf("the agent got %+v for exec, want another pid than %d, and the container running", s, p.Pid)
	}
	must(t, c.Kill(unix.SIGTERM, false))
	p.Wait()
}

// answerOnce is an agent: it takes a listener from a connection and answers the
// first call with an errno.
func answerOnce(t *testing.T, server int, errno unix.Errno) (state specs.ContainerProcessState) {
	connection, _, err := unix.Accept4(server, unix.SOCK_CLOEXEC)
	if err != nil {
		t.Error(err)
		return state
	}
	defer unix.Close(connection)
	text, control := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	n, size, _, _, err := unix.Recvmsg(connection, text, control, unix.MSG_CMSG_CLOEXEC)
	if err != nil || json.Unmarshal(text[:n], &state) != nil {
		t.Errorf("the agent got %q, %v", text[:n], err)
		return state
	}
	messages, _ := unix.ParseSocketControlMessage(control[:size])
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		t.Error(err)
		return state
	}
	defer unix.Close(fds[0])
	const receive, send = 0xc0502100, 0xc0182101 // SECCOMP_IOCTL_NOTIF_RECV, _SEND: 80 and 24 bytes
	call, answer := make([]byte, 80), make([]byte, 24)
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fds[0]), receive, uintptr(unsafe.Pointer(&call[0]))); e != 0 {
		t.Errorf("receive a notification: %v", e)
	}
	copy(answer, call[:8]) // its id
	binary.NativeEndian.PutUint32(answer[16:], uint32(-int32(errno)))
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fds[0]), send, uintptr(unsafe.Pointer(&answer[0]))); e != 0 {
		t.Errorf("answer a notification: %v", e)
	}
	return state
}

// TestNoAgent: without an agent there is no container, and nothing is left.
func TestNoAgent(t *testing.T) {
	needRoot(t)
	b := newBox(t, "exit 0")
	b.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, ListenerPath: "/nowhere/agent",
		Syscalls: []specs.LinuxSyscall{{Names: []string{"mkdirat"}, Action: specs.ActNotify}}}
	if _, _, err := b.start(Options{}); err == nil || err.Error() != "seccomp listener /nowhere/agent: no such file or directory" {
		t.Errorf("New() = %v, want a mention of the agent's socket", err)
	}
	if _, err := b.root.Load(b.id); !errors.Is(err, ErrNotExist) {
		t.Errorf("Load() = %v, want %v", err, ErrNotExist)
	}
}

// TestManyDescriptors: a caller with many open descriptors, none of which the
// container may see.
func TestManyDescriptors(t *testing.T) {
	needRoot(t)
	for n := range 80 {
		fd, err := unix.Dup(2)
		must(t, err)
		if n%3 == 0 { // holes
			unix.Close(fd)
			fd, err = unix.FcntlInt(2, unix.F_DUPFD, fd+5)
			must(t, err)
		}
		defer unix.Close(fd)
	}
	b := newBox(t, "fds", "exit 4")
	if got, code := b.run(Options{}); got != "0 1 2" || code != 4 {
		t.Errorf("run = %q, %d; want 0 1 2, 4", got, code)
	}
	b = newBox(t, "fds")
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	c, p, err := b.start(Options{Wait: true, Stdout: w})
	w.Close()
	must(t, err)
	must(t, c.Start())
	if text := read(t, r); text != "0 1 2" {
		t.Errorf("create and start = %q, want 0 1 2", text)
	}
	p.Wait()
}
