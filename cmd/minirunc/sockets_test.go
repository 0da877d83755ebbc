package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"minirun/cmd/testbed"
)

// These tests stand at the other end of the sockets that engines and service
// managers hand to minirun.

// newBundle makes a bundle of the tests' programs; what is left in the end is an
// error.
func newBundle(t *testing.T, args ...string) string {
	t.Helper()
	testbed.NeedRoot(t)
	testbed.Programs = testbed.ImageTar(t)
	dir := filepath.Join(t.TempDir(), "b")
	testbed.Must(t, testbed.WriteBundle(dir, args))
	t.Cleanup(func() { testbed.NothingLeft(t) })
	return dir
}

// called is minirunc with standard files that containers may keep, and more
// variables.
func called(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("minirunc", args...)
	out, err := os.CreateTemp(t.TempDir(), "")
	testbed.Must(t, err)
	t.Cleanup(func() { out.Close() })
	cmd.Stdout, cmd.Stderr, cmd.Env = out, out, append(os.Environ(), env...)
	return cmd
}

func minirunc(t *testing.T, env []string, args ...string) string {
	t.Helper()
	cmd := called(t, env, args...)
	if err := cmd.Run(); err != nil {
		t.Fatalf("minirunc %s: %v: %s", strings.Join(args, " "), err, printed(t, cmd))
	}
	return printed(t, cmd)
}

func printed(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	text, err := os.ReadFile(cmd.Stdout.(*os.File).Name())
	testbed.Must(t, err)
	return strings.TrimSpace(string(text))
}

// TestPidFDSocket: an engine gets a pidfd of the container's process, and of one
// that exec starts.
func TestPidFDSocket(t *testing.T) {
	b := newBundle(t, "sleep", "1000")
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	testbed.Must(t, err)
	defer listener.Close()
	minirunc(t, nil, "create", "--bundle", b, "--pidfd-socket", path, "--pid-file", b+"/pid", "c1")
	name, container := takePidFD(t, listener)
	defer unix.Close(container)
	if want := readFile(t, b+"/pid"); name != "standard" || pidOf(t, container) != want {
		t.Errorf("create sent %q, a pidfd of %s; want standard, of %s", name, pidOf(t, container), want)
	}
	minirunc(t, nil, "start", "c1")
	minirunc(t, nil, "exec", "-d", "--pidfd-socket", path, "--pid-file", b+"/pid2", "c1", "sleep", "2000")
	name, more := takePidFD(t, listener)
	defer unix.Close(more)
	if want := readFile(t, b+"/pid2"); name != "setns" || pidOf(t, more) != want {
		t.Errorf("exec sent %q, a pidfd of %s; want setns, of %s", name, pidOf(t, more), want)
	}
	testbed.Must(t, unix.PidfdSendSignal(container, unix.SIGKILL, nil, 0))
	fds := []unix.PollFd{{Fd: int32(container), Events: unix.POLLIN}}
	if n, err := unix.Poll(fds, 10_000); n != 1 || err != nil {
		t.Errorf("poll of the pidfd after SIGKILL = %d, %v; want 1", n, err)
	}
	minirunc(t, nil, "delete", "--force", "c1")

	// Nobody listens: nothing is made.
	listener.Close()
	cmd := called(t, nil, "create", "--bundle", b, "--pidfd-socket", path, "c2")
	if err := cmd.Run(); err == nil || !strings.HasPrefix(printed(t, cmd), "minirunc: pidfd socket "+path) {
		t.Errorf("create without a listener = %v, %s", err, printed(t, cmd))
	}
}

// takePidFD accepts a connection and what comes over it.
func takePidFD(t *testing.T, l net.Listener) (name string, fd int) {
	t.Helper()
	testbed.Must(t, l.(*net.UnixListener).SetDeadline(time.Now().Add(10*time.Second)))
	c, err := l.Accept()
	testbed.Must(t, err)
	defer c.Close()
	testbed.Must(t, c.SetDeadline(time.Now().Add(10*time.Second)))
	data, control := make([]byte, 64), make([]byte, unix.CmsgSpace(4))
	n, size, _, _, err := c.(*net.UnixConn).ReadMsgUnix(data, control)
	testbed.Must(t, err)
	messages, err := unix.ParseSocketControlMessage(control[:size])
	testbed.Must(t, err)
	if len(messages) != 1 {
		t.Fatalf("%q came with %d control messages, want 1", data[:n], len(messages))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	testbed.Must(t, err)
	return string(data[:n]), fds[0]
}

// pidOf is the process of a pidfd.
func pidOf(t *testing.T, fd int) string {
	t.Helper()
	for line := range strings.Lines(readFile(t, fmt.Sprintf("/proc/self/fdinfo/%d", fd))) {
		if pid, ok := strings.CutPrefix(line, "Pid:"); ok {
			return strings.TrimSpace(pid)
		}
	}
	return ""
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	testbed.Must(t, err)
	return string(text)
}

// A manager is a service manager's end of NOTIFY_SOCKET.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
	path string
}

func newManager(t *testing.T) *manager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "n")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path})
	testbed.Must(t, err)
	t.Cleanup(func() { conn.Close() })
	return &manager{t, conn, path}
}

func (m *manager) env() []string { return []string{"NOTIFY_SOCKET=" + m.path} }

// hears reads datagrams: those wanted, in order. A descriptor that comes along
// is closed: who waits for that may go on.
func (m *manager) hears(want ...string) {
	m.t.Helper()
	testbed.Must(m.t, m.conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	for _, w := range want {
		data, control := make([]byte, 256), make([]byte, unix.CmsgSpace(4))
		n, size, _, _, err := m.conn.ReadMsgUnix(data, control)
		testbed.Must(m.t, err)
		if got := string(data[:n]); got != w {
			m.t.Errorf("the manager hears %q, want %q", got, w)
		}
		if messages, err := unix.ParseSocketControlMessage(control[:size]); err == nil && len(messages) == 1 {
			fds, err := unix.ParseUnixRights(&messages[0])
			testbed.Must(m.t, err)
			unix.Close(fds[0])
		}
	}
	testbed.Must(m.t, m.conn.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
	if n, _, err := m.conn.ReadFromUnix(make([]byte, 256)); !errors.Is(err, os.ErrDeadlineExceeded) {
		m.t.Errorf("the manager hears %d bytes more, %v", n, err)
	}
}

// TestNotify: start, and a detached run, end when the program is ready; the
// manager then knows which process to watch.
func TestNotify(t *testing.T) {
	b := newBundle(t, "notify", "STATUS=warming up", "STATUS=almost;READY=1;STATUS=done", "WATCHDOG=1")
	m := newManager(t)
	minirunc(t, m.env(), "create", "--bundle", b, "--pid-file", b+"/pid", "c1")
	m.hears()
	start := called(t, m.env(), "start", "c1")
	testbed.Must(t, start.Start())
	m.hears("READY=1\n", "MAINPID="+readFile(t, b+"/pid")+"\n", "BARRIER=1")
	testbed.Must(t, start.Wait())
	minirunc(t, nil, "delete", "--force", "c1")

	testbed.Must(t, os.Remove(b+"/pid"))
	run := called(t, m.env(), "run", "--detach", "--bundle", b, "--pid-file", b+"/pid", "c2")
	testbed.Must(t, run.Start())
	m.hears("READY=1\n", "MAINPID="+waitFile(t, b+"/pid")+"\n", "BARRIER=1")
	testbed.Must(t, run.Wait())
	minirunc(t, nil, "delete", "--force", "c2")

	// Attached, minirunc itself is the process that ends with the container.
	run = called(t, m.env(), "run", "--bundle", b, "c3")
	testbed.Must(t, run.Start())
	m.hears("READY=1\n", "MAINPID="+strconv.Itoa(run.Process.Pid)+"\n", "BARRIER=1")
	minirunc(t, nil, "kill", "c3", "KILL")
	var exit *exec.ExitError
	if err := run.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 137 {
		t.Errorf("run of a container that was killed = %v, want exit code 137: %s", err, printed(t, run))
	}
}

func waitFile(t *testing.T, path string) string {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if text, err := os.ReadFile(path); err == nil && len(text) > 0 {
			return string(text)
		}
	}
	t.Fatalf("%s: not there after 10 s", path)
	return ""
}

// TestNotifyEnds: a program that ends without a word keeps nobody waiting, and a
// container that was not made to tell does not either.
func TestNotifyEnds(t *testing.T) {
	b := newBundle(t, "true")
	m := newManager(t)
	minirunc(t, m.env(), "run", "--detach", "--bundle", b, "c1")
	m.hears()
	minirunc(t, nil, "delete", "c1")
	minirunc(t, nil, "create", "--bundle", b, "c2")
	minirunc(t, m.env(), "start", "c2")
	m.hears()
	minirunc(t, nil, "delete", "--force", "c2")
}

// TestFullBacklog: an agent of a seccomp filter that accepts nobody keeps its own create
// waiting, for a bounded time, and no other command.
func TestFullBacklog(t *testing.T) {
	b := newBundle(t, "sleep", "100")
	path := filepath.Join(t.TempDir(), "agent")
	server, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	testbed.Must(t, err)
	defer unix.Close(server)
	testbed.Must(t, errors.Join(unix.Bind(server, &unix.SockaddrUnix{Name: path}), unix.Listen(server, 0)))
	for err == nil { // until its queue is full
		var fd int
		fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		testbed.Must(t, err)
		defer unix.Close(fd)
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
	}
	config := filepath.Join(b, "config.json")
	filter := fmt.Sprintf(`"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": %q, "syscalls": [{"names": ["mkdirat"], "action": "SCMP_ACT_NOTIFY"}]},`, path)
	text := strings.Replace(readFile(t, config), `"linux": {`, `"linux": {`+filter, 1)
	testbed.Must(t, os.WriteFile(config, []byte(text), 0o600))
	if !strings.Contains(text, "listenerPath") {
		t.Fatalf("no linux in %s", text)
	}
	create := called(t, nil, "create", "--bundle", b, "waits")
	start := time.Now()
	testbed.Must(t, create.Start())
	time.Sleep(300 * time.Millisecond) // it waits by now
	minirunc(t, nil, "delete", "--force", "waits")
	minirunc(t, nil, "list")
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("delete --force took %v while create waits for an agent", took)
	}
	err = create.Wait()
	if out := printed(t, create); err == nil || !strings.Contains(out, "seccomp listener "+path+": resource temporarily unavailable") {
		t.Errorf("create = %v, %s; want that the agent does not accept", err, out)
	}
}
