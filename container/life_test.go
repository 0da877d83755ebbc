package container

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"minirun/cgroups"
	"minirun/container/exit"
	"minirun/container/failure"
	"minirun/container/pidfd"
	"minirun/container/procfs"
	"minirun/container/sockets"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"minirun/examples/leftovers"
	"minirun/plan"
)

// TestRun: one program, its output, its exit code.
func TestRun(t *testing.T) {
	needRoot(t)
	b := newBox(t, "print hello", "pid", "cwd", "fds", "status SigBlk", "hostname", "exit 3")
	b.Hostname = "box"
	if got, code := b.run(Options{}); got != "hello\n1\n/\n0 1 2\n0000000000000000\nbox" || code != 3 {
		t.Errorf("run = %q, %d; want …, 3", got, code)
	}
}

// TestExitCodes: 128 and the number of the signal that ended the program.
func TestExitCodes(t *testing.T) {
	needRoot(t)
	for commands, want := range map[string]int{"exit 0": 0, "exit 255": 255, "die SIGKILL": 137} {
		b := newBox(t, commands)
		b.Linux.Namespaces = b.Linux.Namespaces[1:] // as process 1 it could not end itself
		if _, code := b.run(Options{}); code != want {
			t.Errorf("exit code of %q = %d, want %d", commands, code, want)
		}
	}
}

// TestLife: create, state, start, kill, delete, and what each refuses when.
func TestLife(t *testing.T) {
	needRoot(t)
	b := newBox(t, "print started", "trap SIGTERM 7")
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	pidFile := filepath.Join(b.bundle, "pid")
	c, p, err := b.start(Options{Wait: true, Stdout: w, PidFile: pidFile})
	w.Close()
	must(t, err)
	b.is(specs.StateCreated)
	if text, err := os.ReadFile(pidFile); err != nil || string(text) != strconv.Itoa(p.Pid) {
		t.Errorf("pid file = %q, %v; want %d without a newline", text, err, p.Pid)
	}
	if s, err := c.OCI(); err != nil || s.Pid != p.Pid || s.ID != "box" || s.Bundle != b.bundle || s.Version != specs.Version {
		t.Errorf("OCI() = %+v, want the container's pid %d", s, p.Pid)
	}
	b.refuses("a second create", ErrExist, func() error { _, _, err := b.root.New(b.id, b.bundle, b.Spec, Options{}); return err })
	must(t, c.Start())
	b.is(specs.StateRunning)
	b.refuses("a second start", nil, c.Start)
	b.refuses("delete of a running container", nil, func() error { return c.Delete(false) })
	waitLine(t, r, "started\nready")
	must(t, c.Kill(unix.SIGTERM, false))
	status, err := p.Wait()
	if must(t, err); exit.Code(status) != 7 {
		t.Errorf("exit code after SIGTERM = %d, want 7", exit.Code(status))
	}
	b.is(specs.StateStopped)
	b.refuses("kill of a stopped container", ErrNotRunning, func() error { return c.Kill(unix.SIGTERM, false) })
	b.refuses("start of a stopped container", nil, c.Start)
	must(t, c.Delete(false))
	b.refuses("load after delete", ErrNotExist, func() error { _, err := b.root.Load(b.id); return err })
}

// is compares the status, as another process would read it.
func (b *box) is(want specs.ContainerState) {
	b.t.Helper()
	c, err := b.root.Load(b.id)
	must(b.t, err)
	if got, err := c.Status(); got != want || err != nil {
		b.t.Errorf("Status() = %s, %v, want %s", got, err, want)
	}
}

// refuses: what is done must fail, with a certain error if one is given, and
// change nothing.
func (b *box) refuses(what string, want error, do func() error) {
	b.t.Helper()
	before := fingerprint(string(b.root))
	if err := do(); err == nil || want != nil && !errors.Is(err, want) {
		b.t.Errorf("%s = %v, want %v", what, err, want)
	}
	if after := fingerprint(string(b.root)); after != before {
		b.t.Errorf("%s changed the host:\n%s", what, leftovers.Changes(before, after))
	}
}

// waitLine reads until the text has come.
func waitLine(t testing.TB, f *os.File, want string) {
	t.Helper()
	defer time.AfterFunc(10*time.Second, func() { f.Close() }).Stop()
	got := ""
	for b := make([]byte, 256); !strings.Contains(got, want); {
		n, err := f.Read(b)
		if got += string(b[:n]); err != nil {
			t.Fatalf("read = %q, %v; want %q", got, err, want)
		}
	}
}

// TestSharedMounts: where the host's mounts are shared, as systemd makes them,
// nothing that a container mounts appears on the host; and its root directory
// may be shared with what it starts itself.
func TestSharedMounts(t *testing.T) {
	needRoot(t)
	for _, propagation := range []string{"", "rprivate", "rslave", "rshared"} {
		b := full(t)
		b.commands("sleep")
		b.Linux.RootfsPropagation = propagation
		b.save()
		r := b.request("run")
		r.Shared, r.Monitor = true, true
		cmd := r.command(t)
		cmd.SysProcAttr = &unix.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
		if out, err := outcome(t, cmd); err != nil || out != "" {
			t.Errorf("with propagation %q: %v, and the host has these mounts:\n%s", propagation, err, out)
		}
		b.remove()
	}
}

// outcome is what a command prints, without waiting for the containers that it
// starts, which could write to a pipe for ever.
func outcome(t testing.TB, cmd *exec.Cmd) (string, error) {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	must(t, err)
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	err = cmd.Run()
	text, readErr := os.ReadFile(f.Name())
	must(t, readErr)
	return strings.TrimSpace(string(text)), err
}

// TestIDs: an id becomes a file name.
func TestIDs(t *testing.T) {
	b := &box{t: t, root: Root(t.TempDir())}
	for _, id := range []string{"", ".", "..", "a/b", "../x", "a b", "a\x00b", "a\nb", "ä", strings.Repeat("x", 256)} {
		b.refuses(fmt.Sprintf("New(%q)", id), nil, func() error { _, _, err := b.root.New(id, "/", &specs.Spec{}, Options{}); return err })
		b.refuses(fmt.Sprintf("Load(%q)", id), nil, func() error { _, err := b.root.Load(id); return err })
	}
	for _, id := range []string{"a", "a.b", "A_b+c-1", "...", strings.Repeat("x", 255)} {
		if err := CheckID(id); err != nil {
			t.Errorf("CheckID(%q) = %v, want nil", id, err)
		}
	}
}

// TestNoProgram: what cannot be executed is said so at run and at create, as
// engines expect it, and leaves nothing.
func TestNoProgram(t *testing.T) {
	needRoot(t)
	for args, c := range map[string]struct {
		want  string
		errno unix.Errno
	}{
		"/bin/missing": {`exec: "/bin/missing": no such file or directory`, unix.ENOENT},
		"missing":      {`exec: "missing": executable file not found in $PATH`, unix.ENOENT},
		"/tmp/text":    {`exec: "/tmp/text": permission denied`, unix.EACCES},
		"/tmp":         {`exec: "/tmp": permission denied`, unix.EACCES},
		"/tmp/text/x":  {`exec: "/tmp/text/x": not a directory`, unix.ENOTDIR},
	} {
		for _, wait := range []bool{false, true} {
			if wait && args == "/tmp" {
				continue // a directory may be "executed", says faccessat
			}
			b := newBox(t)
			must(t, os.WriteFile(b.rootfs("tmp/text"), []byte("text"), 0o644))
			b.Process.Args = []string{args}
			_, _, err := b.start(Options{Wait: wait})
			if err == nil || !strings.HasPrefix(err.Error(), c.want) || !errors.Is(err, failure.ErrProgram) || !errors.Is(err, c.errno) {
				t.Errorf("New(%q, wait %v) = %v, want %s", args, wait, err, c.want)
			}
			if _, err := b.root.Load(b.id); !errors.Is(err, ErrNotExist) {
				t.Errorf("Load(%q) after that = %v, want %v", args, err, ErrNotExist)
			}
		}
	}
}

// TestStartFails: the program goes away between create and start.
func TestStartFails(t *testing.T) {
	needRoot(t)
	b := newBox(t, "exit 0")
	c, p, err := b.start(Options{Wait: true})
	must(t, err)
	must(t, os.Remove(b.rootfs("bin/program")))
	want := `start box: exec: "/bin/program": no such file or directory`
	if err := c.Start(); err == nil || err.Error() != want || !errors.Is(err, failure.ErrProgram) {
		t.Errorf("Start() = %v, want %s", err, want)
	}
	p.Wait()
	b.is(specs.StateStopped)
	if again, _ := b.root.Load(b.id); !again.Started.IsZero() {
		t.Errorf("Started = %v, want zero", again.Started)
	}
}

// TestFilterDeniesAll: with a filter that denies every call, or every execve, run and
// start say so, and nothing is left that runs. One that leaves that open until it is
// asked ends the process all the same, although the process cannot even exit.
func TestFilterDeniesAll(t *testing.T) {
	needRoot(t)
	rule := specs.LinuxSyscall{Names: []string{"execve"}, Action: specs.ActErrno}
	perhaps := specs.LinuxSyscall{Names: []string{"execve"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Index: 0, Value: 1, Op: specs.OpEqualTo}}}
	for name, filter := range map[string]*specs.LinuxSeccomp{
		"errno": {DefaultAction: specs.ActErrno}, "kill": {DefaultAction: specs.ActKillProcess}, "trap": {DefaultAction: specs.ActTrap},
		"execve": {DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{rule}},
	} {
		for _, noNewPrivs := range []bool{true, false} {
			b := newBox(t, "exit 0")
			b.Process.NoNewPrivileges, b.Linux.Seccomp = noNewPrivs, filter
			b.fails(`exec: "/bin/program": operation not permitted (linux.seccomp may deny execve)`)
			c, p, err := b.start(Options{Wait: true})
			must(t, err)
			if err := c.Start(); err == nil || !strings.Contains(err.Error(), "linux.seccomp may deny execve") {
				t.Errorf("%s: Start() = %v, want execve and the filter", name, err)
			}
			p.Wait()
			b.is(specs.StateStopped)
			must(t, c.Delete(false))
		}
	}
	b := newBox(t, "exit 0")
	b.Process.NoNewPrivileges, b.Linux.Seccomp = true, &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{perhaps}}
	if out, code := b.run(Options{}); code != 128+int(unix.SIGSEGV) {
		t.Errorf("the process ends with %d and %q, want SIGSEGV", code, out)
	}
}

// TestStartDead: the child was killed before start.
func TestStartDead(t *testing.T) {
	needRoot(t)
	b := newBox(t, "exit 0")
	c, p, err := b.start(Options{Wait: true})
	must(t, err)
	must(t, c.Kill(unix.SIGKILL, false))
	p.Wait()
	b.refuses("start of a dead container", nil, c.Start)
	must(t, c.Delete(false))
}

// TestReusedPid: a process that has the container's number, but not its start
// time, is never touched.
func TestReusedPid(t *testing.T) {
	needRoot(t)
	stranger := exec.Command("sleep", "60")
	must(t, stranger.Start())
	defer stranger.Wait()
	defer stranger.Process.Kill()
	b := newBox(t)
	c, err := b.root.make(b.id)
	must(t, err)
	c.State = State{ID: b.id, Identity: pidfd.Identity{Pid: stranger.Process.Pid, StartTime: 1}}
	must(t, c.Save())
	c.Unlock()
	b.is(specs.StateStopped)
	b.refuses("kill", ErrNotRunning, func() error { return c.Kill(unix.SIGKILL, false) })
	must(t, c.Kill(unix.SIGKILL, true)) // to all, of which there are none
	must(t, c.Delete(true))
	if s, err := procfs.ReadStat("/proc", stranger.Process.Pid); err != nil || s.Ended() {
		t.Errorf("the stranger's state = %c, %v; want it alive", s.State, err)
	}
}

// TestChangedMark: a container that has changed its group's mark keeps its group while it
// runs. Afterwards the group is not touched: it could be another's.
func TestChangedMark(t *testing.T) {
	needRoot(t)
	for _, mark := range []string{"", "another's"} {
		b := newBox(t, "sleep")
		c, p, err := b.start(Options{})
		must(t, err)
		must(t, unix.Removexattr(c.Cgroup, "trusted.minirun"))
		if mark != "" {
			must(t, unix.Setxattr(c.Cgroup, "trusted.minirun", []byte(mark), 0))
		}
		if g, err := c.Group(); err != nil || g == nil || g.Dir != c.Cgroup {
			t.Errorf("with mark %q, Group() = %v, %v; want %s", mark, g, err, c.Cgroup)
		}
		must(t, c.Kill(unix.SIGKILL, true))
		p.Wait()
		if g, err := c.Group(); err != nil || g != nil {
			t.Errorf("with mark %q, Group() after the end = %v, %v; want none", mark, g, err)
		}
		must(t, c.Delete(false))
		must(t, cgroups.Open(c.Cgroup).Remove())
	}
}

// TestBusyGroup: processes that cannot be the container's are in its group, because somebody
// has moved them there. Delete fails as runc's does, and they live.
func TestBusyGroup(t *testing.T) {
	needRoot(t)
	b := newBox(t, "exit 0")
	c, p, err := b.start(Options{})
	must(t, err)
	p.Wait()
	stranger := exec.Command("sleep", "60")
	must(t, stranger.Start())
	must(t, os.WriteFile(filepath.Join(c.Cgroup, "cgroup.procs"), []byte(strconv.Itoa(stranger.Process.Pid)), 0))
	for _, force := range []bool{false, true} {
		must(t, c.Kill(unix.SIGKILL, true))
		b.refuses("delete", unix.EBUSY, func() error { return c.Delete(force) })
	}
	if s, err := procfs.ReadStat("/proc", stranger.Process.Pid); err != nil || s.Ended() {
		t.Errorf("the stranger's state = %c, %v; want it alive", s.State, err)
	}
	stranger.Process.Kill()
	stranger.Wait()
	must(t, c.Delete(false))
}

// TestDeleteForce: a running container is ended, with all its processes.
func TestDeleteForce(t *testing.T) {
	needRoot(t)
	b := newBox(t, "sleep")
	c, p, err := b.start(Options{})
	must(t, err)
	x, err := c.Exec(&specs.Process{Args: []string{"/bin/program", "sleep"}, Cwd: "/"}, nil, Options{})
	must(t, err)
	go x.Wait() // process 1 ends only when all others have been reaped
	must(t, c.Delete(true))
	if status, err := p.Wait(); err != nil || exit.Code(status) != 137 {
		t.Errorf("exit = %d, %v; want 137", exit.Code(status), err)
	}
	if _, err := procfs.ReadStat("/proc", x.Pid); err == nil {
		t.Errorf("the process of exec is left")
	}
}

// TestKilledEarly: a create that was killed before it had a process can be
// deleted without force: nothing runs.
func TestKilledEarly(t *testing.T) {
	b := &box{t: t, root: Root(t.TempDir()), id: "box"}
	c, err := b.root.make(b.id)
	must(t, err)
	b.is(specs.StateCreating)
	c.Unlock()
	b.is(specs.StateStopped)
	c, err = b.root.Lock(b.id)
	must(t, err)
	must(t, c.Delete(false))
}

// TestExitSoon: who asks how a container ended, before its monitor has had the
// time to write it down, waits for it.
func TestExitSoon(t *testing.T) {
	needRoot(t)
	b := newBox(t, "sleep")
	b.save()
	r := b.request("run")
	r.Monitor = true
	if out, err := outcome(t, r.command(t)); err != nil {
		t.Fatalf("run -d = %v, %s", err, out)
	}
	defer b.remove()
	c, err := b.root.Load(b.id)
	must(t, err)
	if e, ok := exit.Read(c.dir, c.Identity); ok {
		t.Errorf("Exit() of a running container = %v", e)
	}
	monitor := parent(t, c.Pid)
	must(t, unix.Kill(monitor, unix.SIGSTOP))
	must(t, c.Kill(unix.SIGKILL, false))
	c.Wait(0)
	time.AfterFunc(50*time.Millisecond, func() { unix.Kill(monitor, unix.SIGCONT) })
	if e, ok := exit.Read(c.dir, c.Identity); !ok || e.Code != 137 {
		t.Errorf("Exit() = %v, %v; want 137", e, ok)
	}
}

// parent is the parent of a process: of a detached container's, the monitor.
func parent(t *testing.T, pid int) int {
	t.Helper()
	text, err := field(fmt.Sprintf("/proc/%d/status", pid), "PPid")
	must(t, err)
	ppid, err := strconv.Atoi(text)
	must(t, err)
	return ppid
}

// TestLackingCapability: what the runtime has not itself, run and exec cannot
// give; the container runs nevertheless, as runtime-spec wants it.
func TestLackingCapability(t *testing.T) {
	needRoot(t)
	caps := []string{"CAP_CHOWN", "CAP_SYS_TIME"}
	for do, userNS := range map[string]bool{"run": false, "exec": false, "run in a user namespace": true} {
		b := newBox(t, "sleep")
		want := "0000000000000001\n0000000000000001\n"
		if userNS {
			b, want = mapped(b), "0000000002000001\n0000000002000001\n"
		}
		do, _, _ = strings.Cut(do, " ")
		if do == "exec" {
			_, _, err := b.start(Options{})
			must(t, err)
		}
		b.commands("status CapBnd", "status CapPrm")
		b.Process.Capabilities = &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps}
		b.save()
		got, err := b.request(do).command(t, "setpriv", "--bounding-set=-sys_time").CombinedOutput()
		if string(got) != want || err != nil {
			t.Errorf("%s = %q, %v; want %q", do, got, err, want)
		}
		b.remove()
	}
}

// TestExec: one more process in the same container.
func TestExec(t *testing.T) {
	needRoot(t)
	b := newBox(t, "sleep")
	b.Hostname = "box"
	c, _, err := b.start(Options{})
	must(t, err)
	umask := uint32(0o77)
	got, code := execute(t, c, &specs.Process{
		Args: []string{"/bin/program", "id", "cwd", "env", "hostname", "fds", "readlink /proc/self/ns/pid", "status CapInh", "status Umask", "exit 9"},
		Cwd:  "/tmp", Env: []string{"A=1"}, User: specs.User{UID: 5, GID: 6, AdditionalGids: []uint32{7}, Umask: &umask},
	}, Options{})
	lines := strings.Split(got, "\n")
	if code != 9 || len(lines) != 9 || strings.Join(lines[:6], "|") != "5 6 [7]|/tmp|A=1|HOME=/|box|0 1 2" {
		t.Fatalf("exec = %q, %d; want 5 6 [7], /tmp, A=1, HOME=/, box, 0 1 2, …, 9", got, code)
	}
	if ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", c.Pid)); lines[6] != ns {
		t.Errorf("exec's pid namespace = %s, want %s, %v", lines[6], ns, err)
	}
	if lines[7] != "0000000000000000" || lines[8] != "0077" {
		t.Errorf("exec = %q, want no inheritable capabilities, umask 0077", lines[7:])
	}
	_, err = c.Exec(&specs.Process{Args: []string{"/bin/missing"}, Cwd: "/"}, nil, Options{})
	if !errors.Is(err, failure.ErrProgram) || !errors.Is(err, unix.ENOENT) {
		t.Errorf("Exec(missing) = %v, want %v and ENOENT", err, failure.ErrProgram)
	}
	cgroup, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", c.Pid))
	must(t, err)
	if !strings.Contains(string(cgroup), "0::"+b.Linux.CgroupsPath+"\n") {
		t.Errorf("cgroup = %s, want %s", cgroup, b.Linux.CgroupsPath)
	}
}

// execute runs one more process to its end.
func execute(t testing.TB, c *Container, process *specs.Process, o Options) (string, int) {
	t.Helper()
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	o.Stdout, o.Stderr = w, w
	p, err := c.Exec(process, nil, o)
	w.Close()
	must(t, err)
	text := read(t, r)
	status, err := p.Wait()
	must(t, err)
	return text, exit.Code(status)
}

// TestTerminal: of run and of exec, over a console socket.
func TestTerminal(t *testing.T) {
	needRoot(t)
	b := newBox(t, "tty", "stat /dev/console", "readlink /proc/self/fd/0", "trap SIGHUP 0")
	b.Process.Terminal = true
	b.Process.ConsoleSize = &specs.Box{Width: 100, Height: 30}
	socket, o := console(t)
	c, p, err := b.start(o)
	must(t, err)
	master, _, err := sockets.Receive(socket)
	must(t, err)
	waitLine(t, master, "terminal\r\nDcrw--w----\r\n/dev/pts/0\r\nready")
	if size, err := unix.IoctlGetWinsize(int(master.Fd()), unix.TIOCGWINSZ); err != nil || size.Col != 100 || size.Row != 30 {
		t.Errorf("window size = %+v, %v; want 100 columns, 30 rows", size, err)
	}
	socket, o = console(t)
	x, err := c.Exec(&specs.Process{Args: []string{"/bin/program", "tty", "readlink /proc/self/fd/0"}, Cwd: "/", Terminal: true}, nil, o)
	must(t, err)
	second, _, err := sockets.Receive(socket)
	must(t, err)
	waitLine(t, second, "terminal\r\n/dev/pts/1\r\n")
	x.Wait()
	second.Close()
	master.Close() // hangs up
	if status, err := p.Wait(); err != nil || exit.Code(status) != 0 {
		t.Errorf("exit after the terminal was closed = %d, %v; want 0", exit.Code(status), err)
	}
}

// console is a socket pair, one end in the options.
func console(t testing.TB) (*os.File, Options) {
	t.Helper()
	theirs, ours, err := sockets.Pair("terminal")
	must(t, err)
	t.Cleanup(func() { theirs.Close(); ours.Close() })
	return ours, Options{Console: theirs}
}

// TestMonitor: nobody waits for a detached container but its monitor, which
// writes down how it ended.
func TestMonitor(t *testing.T) {
	needRoot(t)
	for commands, want := range map[string]int{"exit 5": 5, "sleep": 137} {
		b := newBox(t, commands)
		b.save()
		r := b.request("run")
		r.Monitor = true
		if out, err := outcome(t, r.command(t)); err != nil {
			t.Fatalf("run -d = %v, %s", err, out)
		}
		c, err := b.root.Load(b.id)
		must(t, err)
		if commands == "sleep" {
			if comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", parent(t, c.Pid))); string(comm) != "minirunc\n" {
				t.Errorf("the monitor's name = %q, %v; want minirunc", comm, err)
			}
			must(t, c.Kill(unix.SIGKILL, false))
		}
		c.Wait(0)
		how, ok := exit.Read(c.dir, c.Identity)
		for end := time.Now().Add(5 * time.Second); !ok && time.Now().Before(end); how, ok = exit.Read(c.dir, c.Identity) {
			time.Sleep(time.Millisecond)
		}
		if !ok || how.Code != want {
			t.Errorf("exit.Read after %q = %v, %v; want %d", commands, how, ok, want)
		}
		b.remove()
	}
}

// TestLockAgain: who has made a container can lock it again, but not a later one
// with the same id.
func TestLockAgain(t *testing.T) {
	needRoot(t)
	b := newBox(t, "sleep")
	c, _, err := b.start(Options{})
	must(t, err)
	must(t, c.Lock())
	c.Unlock()
	b.remove()
	if err := c.Lock(); !errors.Is(err, ErrNotExist) {
		t.Errorf("Lock() of a deleted container = %v, want %v", err, ErrNotExist)
	}
	_, _, err = b.start(Options{})
	must(t, err)
	if err := c.Lock(); !errors.Is(err, ErrNotExist) {
		t.Errorf("Lock() of another one with its id = %v, want %v", err, ErrNotExist)
	}
}

// TestHalfMade: until its process has executed the program, a container is not
// running, and nobody can enter it: half of its mounts are the host's still.
func TestHalfMade(t *testing.T) {
	needRoot(t)
	b := newBox(t, "sleep")
	looked := 0
	c, _, err := b.start(Options{Engine: plan.Options{Before: func(s *plan.Step) error {
		half, err := b.root.Load(b.id)
		if err != nil || half.Pid == 0 {
			return err
		}
		looked++
		if status, err := half.Status(); status != specs.StateCreating || err != nil {
			t.Errorf("status before step %d (%s) = %s, %v; want creating", s.Index, s.Call, status, err)
		}
		x, err := half.Exec(&specs.Process{Args: []string{"/bin/program", "exit 0"}, Cwd: "/"}, nil, Options{})
		if !errors.Is(err, ErrNotRunning) {
			t.Errorf("exec before step %d (%s): %v; want that it does not run", s.Index, s.Call, err)
		}
		if x != nil {
			x.Wait()
		}
		return nil
	}}})
	must(t, err)
	if looked < 10 {
		t.Errorf("looked at %d steps, which are not all", looked)
	}
	b.is(specs.StateRunning)
	must(t, c.Delete(true))
}
