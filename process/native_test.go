package process

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"minirun/examples/leftovers"
	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// These tests make processes and let them look at themselves.

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("no root: run as root to change users and capabilities")
	}
}

// sh is a process that runs a script.
func sh(script string) *specs.Process {
	return &specs.Process{Args: []string{"sh", "-c", script}, Cwd: "/", Env: []string{"PATH=/usr/bin:/bin"},
		Capabilities: &specs.LinuxCapabilities{}}
}

// start carries out the plan of a process and returns what it prints.
func start(t *testing.T, i *Identity, c plan.Clone, o plan.Options, extra func(*plan.Plan)) (string, error) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := &plan.Plan{}
	p.Clone3(c)
	p.On(plan.Child)
	if extra != nil {
		extra(p)
	} else {
		p.Dup3(plan.Inherited("output"), 1, 0)
		p.Dup3(plan.Inherited("output"), 2, 0)
	}
	p.Chdir("/")
	become(p, i)
	p.Ready()
	i.Execve(p)
	o.FirstFD = 3 + i.KeepFDs
	if o.Inherited == nil {
		o.Inherited = map[plan.Inherited]int{}
	}
	o.Inherited["output"] = int(w.Fd())
	child, err := p.Start(o)
	w.Close()
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	b.ReadFrom(r)
	if status, err := child.Wait(); err != nil || status != 0 {
		t.Errorf("%q: status %v, error %v, printed %q", i.spec.Args, status, err, b.String())
	}
	return strings.TrimSpace(b.String()), nil
}

func printed(t *testing.T, s *specs.Process, set func(*Identity)) string {
	t.Helper()
	i, err := New(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	if set != nil {
		set(i)
	}
	out, err := start(t, i, plan.Clone{}, plan.Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

const status = `grep -E '^(Uid|Gid|Groups|CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp|Umask):' /proc/self/status | tr '\t' ' '`

// TestRoot: root with two capabilities.
func TestRoot(t *testing.T) {
	needRoot(t)
	s := sh(status)
	two := []string{"CAP_CHOWN", "CAP_KILL"} // bits 0 and 5
	s.Capabilities = &specs.LinuxCapabilities{Bounding: two, Effective: two, Permitted: two}
	const sets = "CapInh: 0000000000000000\nCapPrm: 0000000000000021\nCapEff: 0000000000000021\nCapBnd: 0000000000000021\nCapAmb: 0000000000000000\n"
	want := "Umask: 0022\nUid: 0 0 0 0\nGid: 0 0 0 0\nGroups:  \n" + sets + "NoNewPrivs: 0\nSeccomp: 0"
	if got := printed(t, s, nil); got != want {
		t.Errorf("printed\n%s\nwant\n%s", got, want)
	}
}

// TestOrdinary: a user who is not root, with groups, an ambient capability and
// no_new_privs.
func TestOrdinary(t *testing.T) {
	needRoot(t)
	s := sh(status)
	umask := uint32(0o027)
	one := []string{"CAP_NET_BIND_SERVICE"} // bit 10
	s.User = specs.User{UID: 1000, GID: 1001, AdditionalGids: []uint32{5, 6}, Umask: &umask}
	s.Capabilities = &specs.LinuxCapabilities{Bounding: one, Effective: one, Permitted: one, Inheritable: one, Ambient: one}
	s.NoNewPrivileges = true
	const sets = "CapInh: 0000000000000400\nCapPrm: 0000000000000400\nCapEff: 0000000000000400\nCapBnd: 0000000000000400\nCapAmb: 0000000000000400\n"
	want := "Umask: 0027\nUid: 1000 1000 1000 1000\nGid: 1001 1001 1001 1001\nGroups: 5 6 \n" + sets + "NoNewPrivs: 1\nSeccomp: 0"
	if got := printed(t, s, nil); got != want {
		t.Errorf("printed\n%s\nwant\n%s", got, want)
	}
}

// TestGroupsDropped: the caller's supplementary groups never reach the process.
func TestGroupsDropped(t *testing.T) {
	needRoot(t)
	old, err := unix.Getgroups()
	if err == nil {
		err = syscall.Setgroups([]int{3, 4})
	}
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Setgroups(old)
	if got := printed(t, sh("id -G"), nil); got != "0" {
		t.Errorf("id -G = %q, want 0", got)
	}
}

// TestLimits: resource limits, set by the child, and by the runtime at a gate.
func TestLimits(t *testing.T) {
	needRoot(t)
	for _, atGate := range []bool{false, true} {
		s := sh(`ulimit -Sn; ulimit -Hn; ulimit -c; ls /proc/self/fd | wc -l`)
		limits := []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 5, Hard: 30}, {Type: "RLIMIT_CORE"}}
		if !atGate {
			s.Rlimits = limits
		}
		i, err := New(s, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := start(t, i, plan.Clone{}, plan.Options{}, func(p *plan.Plan) {
			p.Dup3(plan.Inherited("output"), 1, 0)
			if atGate {
				other := *i
				other.spec = &specs.Process{Rlimits: limits}
				p.Gate("limits", func() { other.Limits(p) })
			}
		})
		if want := "5\n30\n0\n4"; got != want || err != nil {
			t.Errorf("at a gate %v: printed %q, %v; want %q", atGate, got, err, want)
		}
	}
}

// TestDescriptors: whatever the caller left open, the program gets three, and
// those it asked for.
func TestDescriptors(t *testing.T) {
	needRoot(t)
	var open []int
	for range 20 { // without close-on-exec, as a careless caller would
		fd, err := unix.Open("/", unix.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, fd)
	}
	defer func() {
		for _, fd := range open {
			unix.Close(fd)
		}
	}()
	for _, keep := range []int{0, 2} {
		i, err := New(sh("ls /proc/self/fd | sort -n | tr '\\n' ' '"), nil)
		if err != nil {
			t.Fatal(err)
		}
		i.KeepFDs = keep
		got, err := start(t, i, plan.Clone{}, plan.Options{}, func(p *plan.Plan) {
			for n := range keep {
				p.Dup3(plan.Num(open[len(open)-1]), 3+n, 0) // not the first, which may be descriptor 3 itself
			}
			p.Dup3(plan.Inherited("output"), 1, 0)
			p.Dup3(plan.Inherited("output"), 2, 0)
		})
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"0", "1", "2", "3"} // the last is ls looking
		for n := range keep {
			want = append(want, fmt.Sprint(4+n))
		}
		if got != strings.Join(want, " ") {
			t.Errorf("keeping %d: descriptors %q, want %q", keep, got, want)
		}
	}
}

// TestDirectory: links are followed as the container sees them, but not those
// of /proc that lead anywhere: with a descriptor of the host's left open they
// would lead out (CVE-2024-21626).
func TestDirectory(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "real"), 0o700), os.Symlink("real", filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	s := sh("pwd -P")
	s.User.UID = 1000 // who could not enter it: we are root when we do
	s.Cwd = filepath.Join(dir, "link", "..", "link", ".")
	if got, want := printed(t, s, nil), filepath.Join(dir, "real"); got != want {
		t.Errorf("pwd = %q, want %q", got, want)
	}
	for cwd, want := range map[string]error{"/nowhere": unix.ENOENT, "/proc/self/cwd": unix.ELOOP, "/proc/self/root/etc": unix.ELOOP,
		"/etc/passwd": unix.ENOTDIR, "/proc/self/fd/3": unix.ELOOP, "/proc/self/fd/7/": unix.ENOENT} {
		s.Cwd = cwd
		i, err := New(s, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = start(t, i, plan.Clone{}, plan.Options{}, nil)
		if !errors.Is(err, want) && !(errors.Is(want, unix.ENOENT) && errors.Is(err, unix.ELOOP)) {
			t.Errorf("cwd %s: %v, want %v", cwd, err, want)
		}
	}
}

// TestSearch: the program is looked for as a shell would.
func TestSearch(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "locked"), []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		program, path string
		want          error
	}{
		{"true", "/nowhere:/etc/passwd:/usr/bin:/bin", nil},
		{"true", "", nil},
		{"/bin/true", "/nowhere", nil},
		{"bin/true", "/nowhere", nil}, // a slash: from the working directory
		{"no-such-program", "/usr/bin:/bin", unix.ENOENT},
		{"locked", dir + ":/nowhere", unix.EACCES},
		{"/bin", "", unix.EACCES},
	} {
		s := sh("")
		s.Args, s.Env = []string{c.program}, []string{"PATH=" + c.path}
		i, err := New(s, nil)
		if err != nil {
			t.Fatal(err)
		}
		needRoot(t)
		if _, err := start(t, i, plan.Clone{}, plan.Options{}, nil); !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s in %q: %v, want %v", c.program, c.path, err, c.want)
		}
	}
}

// TestSeccomp: a filter is in force in the program, for root and for another
// user, loaded while there are privileges for it, or with no_new_privs.
func TestSeccomp(t *testing.T) {
	needRoot(t)
	filter := &Filter{Program: []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // the number of the system call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.SYS_CHROOT},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}}
	for _, uid := range []uint32{0, 1000} {
		for _, nnp := range []bool{false, true} {
			s := sh(`/usr/sbin/chroot /tmp true 2>&1 | grep -c 'not implemented'; grep -E '^(CapEff|Seccomp):' /proc/self/status | tr '\t' ' '`)
			s.User.UID, s.NoNewPrivileges = uid, nnp
			i, err := New(s, filter)
			if err != nil {
				t.Fatal(err)
			}
			got, err := start(t, i, plan.Clone{}, plan.Options{}, nil)
			if want := "1\nCapEff: 0000000000000000\nSeccomp: 2"; got != want || err != nil {
				t.Errorf("user %d, no_new_privs %v: printed %q, %v; want %q", uid, nnp, got, err, want)
			}
		}
	}
}

// TestTerminal: the program has a controlling terminal of the right size, owned
// by its user, and the master arrives at the socket.
func TestTerminal(t *testing.T) {
	needRoot(t)
	s := sh(`tty; stty size; stat -c %u $(tty); ps -o sid= -p $$ | tr -d ' ' | grep -cx $$; echo -n > /dev/tty && echo open`)
	s.User.UID, s.Terminal, s.ConsoleSize = 1000, true, &specs.Box{Height: 24, Width: 81}
	s.Args[2] = "exec 2>&1; " + s.Args[2]
	i, err := New(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[1])
	_, err = start(t, i, plan.Clone{}, plan.Options{Inherited: map[plan.Inherited]int{"console": pair[0]}}, func(p *plan.Plan) {
		i.Terminal(p, p.Openat(plan.CWD, "/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0))
	})
	unix.Close(pair[0])
	if err != nil {
		t.Fatal(err)
	}
	name, control := make([]byte, 64), make([]byte, unix.CmsgSpace(4))
	n, size, _, _, err := unix.Recvmsg(pair[1], name, control, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	messages, _ := unix.ParseSocketControlMessage(control[:size])
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || string(name[:n]) != "/dev/ptmx" {
		t.Fatalf("name %q, descriptors %v, %v", name[:n], fds, err)
	}
	master := os.NewFile(uintptr(fds[0]), "master")
	defer master.Close()
	out, _ := io.ReadAll(master) // EIO: the slave is closed
	lines := strings.Split(strings.ReplaceAll(strings.TrimSpace(string(out)), "\r", ""), "\n")
	if len(lines) != 5 || !strings.HasPrefix(lines[0], "/dev/pts/") || !slices.Equal(lines[1:], []string{"24 81", "1000", "1", "open"}) {
		t.Errorf("printed %q, want a terminal, 24 81, 1000, 1, open", lines)
	}
}

// TestChownStdio: a user may open again a pipe that is given to him.
func TestChownStdio(t *testing.T) {
	needRoot(t)
	s := sh("echo hello > /dev/stdout")
	s.User.UID = 1000
	i, err := New(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := start(t, i, plan.Clone{}, plan.Options{}, func(p *plan.Plan) {
		p.Dup3(plan.Inherited("output"), 1, 0)
		i.ChownStdio(p, 1)
	})
	if got != "hello" || err != nil {
		t.Errorf("printed %q, %v; want hello", got, err)
	}
}

// TestCheckExecutable: create fails where start would have.
func TestCheckExecutable(t *testing.T) {
	for program, want := range map[string]error{"sh": nil, "no-such-program": unix.ENOENT, "/etc/passwd": unix.EACCES} {
		s := sh("")
		s.Args[0] = program
		i, err := New(s, nil)
		if err != nil {
			t.Fatal(err)
		}
		p := &plan.Plan{}
		p.Clone3(plan.Clone{})
		p.On(plan.Child)
		i.CheckExecutable(p)
		p.Ready()
		p.ExitGroup(0)
		child, err := p.Start(plan.Options{})
		if !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%s: %v, want %v", program, err, want)
		}
		if err == nil {
			child.Wait()
		}
	}
}

// TestMain fails a package that leaves something behind.
func TestMain(m *testing.M) { os.Exit(leftovers.Guard(m.Run)) }
