package namespaces

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"minirun/examples/leftovers"
	"minirun/plan"
	"minirun/plan/print"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// These tests make real namespaces and look at them from inside, with a shell.

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("no root: run as root to make namespaces without a user namespace")
	}
}

// made are the namespaces of a spec that are new.
func made(kinds ...specs.LinuxNamespaceType) []specs.LinuxNamespace {
	var list []specs.LinuxNamespace
	for _, k := range kinds {
		list = append(list, specs.LinuxNamespace{Type: k})
	}
	return list
}

// run makes the namespaces of a spec and returns what a script prints in them.
// record adds steps of the child's before the script; it may be nil.
func run(t *testing.T, spec *specs.Spec, c plan.Clone, script string, record func(*plan.Plan)) string {
	t.Helper()
	s, err := New(spec, Host{})
	if err != nil {
		t.Fatal(err)
	}
	host := Host{Euid: os.Geteuid()}
	p := &plan.Plan{}
	s.Before(p)
	s.Clone(p, c, host)
	p.On(plan.Child)
	s.Enter(p, host)
	if record != nil {
		record(p)
	}
	return output(t, s, p, script, nil)
}

// output ends the plan with a script, runs it, and returns what it printed.
func output(t *testing.T, s *Set, p *plan.Plan, script string, given map[plan.Inherited]int) string {
	t.Helper()
	out, err := outputError(t, s, p, script, given)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func outputError(t *testing.T, s *Set, p *plan.Plan, script string, given map[plan.Inherited]int) (string, error) {
	t.Helper()
	p.Dup3(plan.Inherited("output"), 1, 0)
	p.Dup3(plan.Inherited("output"), 2, 0)
	p.Ready()
	p.RtSigprocmask()
	p.Execve("/bin/sh", []string{"sh", "-c", script}, []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"})
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if given == nil {
		given = map[plan.Inherited]int{}
	}
	given["output"] = int(w.Fd())
	child, err := s.OnThread(func() (*plan.Process, error) { return p.Start(plan.Options{Inherited: given}) })
	w.Close()
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	b.ReadFrom(r)
	if status, err := child.Wait(); err != nil || status != 0 {
		t.Errorf("%q: status %v, error %v, printed %q", script, status, err, b.String())
	}
	return strings.TrimSpace(b.String()), nil
}

// links is a script that prints the namespaces of its shell.
const links = `for n in user pid net ipc uts cgroup time mnt; do readlink /proc/self/ns/$n; done`

// here are the namespaces of a process, in that order.
func here(t *testing.T, pid string) []string {
	t.Helper()
	var list []string
	for _, k := range kinds {
		link, err := os.Readlink("/proc/" + pid + "/ns/" + k.file)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, link)
	}
	return list
}

// differs compares two lists of links and names the kinds that differ.
func differs(a, b []string) string {
	var list []string
	for i, k := range kinds {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			list = append(list, k.file)
		}
	}
	return strings.Join(list, " ")
}

// TestMake: every kind alone changes that kind and nothing else, time
// namespaces at execve included. A mount namespace is always there.
func TestMake(t *testing.T) {
	needRoot(t)
	for _, k := range kinds[1:] {
		spec := &specs.Spec{Linux: &specs.Linux{Namespaces: made(specs.MountNamespace)}}
		want := "mnt"
		if k.name != specs.MountNamespace {
			spec.Linux.Namespaces = append(spec.Linux.Namespaces, made(k.name)...)
			want = k.file + " mnt"
		}
		got := strings.Split(run(t, spec, plan.Clone{}, links, nil), "\n")
		if d := differs(got, here(t, "self")); d != want {
			t.Errorf("%s: new namespaces %q, want %q", k.name, d, want)
		}
	}
}

// TestNames: host and domain name, loopback, first process.
func TestNames(t *testing.T) {
	needRoot(t)
	spec := &specs.Spec{Hostname: "box", Domainname: "example.org", Linux: &specs.Linux{
		Namespaces: made(specs.MountNamespace, specs.UTSNamespace, specs.NetworkNamespace, specs.PIDNamespace)}}
	got := run(t, spec, plan.Clone{}, `hostname; cat /proc/sys/kernel/domainname; echo $$; grep -c 127.0.0.1 /proc/self/net/fib_trie`, nil)
	if want := "box\nexample.org\n1\n"; !strings.HasPrefix(got, want) || strings.HasSuffix(got, "\n0") {
		t.Errorf("printed %q, want %q and a route to 127.0.0.1", got, want)
	}
	if name, _ := os.Hostname(); name == "box" {
		t.Error("the host was renamed")
	}
}

// TestClocks: offsets are in force in the program.
func TestClocks(t *testing.T) {
	needRoot(t)
	for _, user := range []bool{false, true} {
		spec := &specs.Spec{Linux: &specs.Linux{Namespaces: made(specs.MountNamespace, specs.TimeNamespace),
			TimeOffsets: map[string]specs.LinuxTimeOffset{"boottime": {Secs: 1000000000}, "monotonic": {Secs: 5, Nanosecs: 7}}}}
		if user {
			spec.Linux.Namespaces = append(spec.Linux.Namespaces, made(specs.UserNamespace)...)
			spec.Linux.UIDMappings, spec.Linux.GIDMappings = mapTo(100000, 65536), mapTo(100000, 65536)
		}
		got := run(t, spec, plan.Clone{}, `cut -d. -f1 /proc/uptime; cat /proc/self/timens_offsets`, nil)
		fields := strings.Fields(got)
		if len(fields) != 7 || len(fields[0]) < 10 || strings.Join(fields[1:], " ") != "monotonic 5 7 boottime 1000000000 0" {
			t.Errorf("user namespace %v: printed %q, want an uptime above 1000000000 and both offsets", user, got)
		}
	}
}

func mapTo(host, size uint32) []specs.LinuxIDMapping {
	return []specs.LinuxIDMapping{{HostID: host, Size: size}}
}

// cgroup2 returns where cgroup v2 is mounted.
func cgroup2(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("findmnt", "-n", "-o", "TARGET", "-t", "cgroup2").Output()
	if err != nil {
		t.Skip("no cgroup2 mount: ", err)
	}
	return strings.Fields(string(out))[0]
}

// TestCgroup pins a fact of the kernel's: with CLONE_INTO_CGROUP and
// CLONE_NEWCGROUP in one clone3, the new namespace is rooted at the new group.
func TestCgroup(t *testing.T) {
	needRoot(t)
	dir, err := os.MkdirTemp(cgroup2(t), "minirun-namespaces-")
	if err != nil {
		t.Skip("no cgroup can be made: ", err)
	}
	defer os.Remove(dir)
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	spec := &specs.Spec{Linux: &specs.Linux{Namespaces: made(specs.MountNamespace, specs.CgroupNamespace)}}
	if got := run(t, spec, plan.Clone{Cgroup: plan.Num(f.Fd())}, `grep ^0: /proc/self/cgroup`, nil); got != "0::/" {
		t.Errorf("cgroup in the namespace %q, want 0::/", got)
	}
}

// TestUser: a root that is nobody outside.
func TestUser(t *testing.T) {
	needRoot(t)
	spec := &specs.Spec{Hostname: "box", Linux: &specs.Linux{
		Namespaces:  made(specs.UserNamespace, specs.MountNamespace, specs.UTSNamespace, specs.PIDNamespace, specs.NetworkNamespace),
		UIDMappings: mapTo(100000, 65536), GIDMappings: mapTo(200000, 65536)}}
	got := run(t, spec, plan.Clone{}, `id -u; id -g; tr -s " " < /proc/self/uid_map; tr -s " " < /proc/self/gid_map; hostname; cat /proc/self/setgroups`, nil)
	if want := "0\n0\n 0 100000 65536\n 0 200000 65536\nbox\nallow"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
	spec.Linux.UIDMappings, spec.Linux.GIDMappings = []specs.LinuxIDMapping{{ContainerID: 5, HostID: 100000, Size: 1}}, []specs.LinuxIDMapping{{ContainerID: 5, HostID: 100000, Size: 1}}
	if got := run(t, spec, plan.Clone{}, `id -u`, nil); got != "65534" {
		t.Errorf("without a root in the map: id -u = %q, want 65534", got)
	}
}

// hold starts a process with unshare(1) and returns its id; it is ended with the test.
func hold(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("unshare", append(args, "sh", "-c", "echo; exec sleep 60")...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skip("unshare(1): ", err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatalf("unshare %q: %v: %s", args, err, stderr.String())
	}
	pid := strconv.Itoa(cmd.Process.Pid)
	if inner, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children"); err == nil && len(inner) > 0 {
		pid = strings.TrimSpace(string(inner)) // unshare --fork waits for its child
	}
	return pid
}

// TestJoin: every kind by path, but for the user namespace; the hooks that run
// at gates are still born in the runtime's own.
func TestJoin(t *testing.T) {
	needRoot(t)
	pid := hold(t, "--pid", "--net", "--ipc", "--uts", "--cgroup", "--time", "--mount", "--fork", "--kill-child")
	spec := &specs.Spec{Linux: &specs.Linux{}}
	for _, k := range kinds[1:] {
		spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: k.name, Path: "/proc/" + pid + "/ns/" + k.file})
	}
	var hook []byte
	got := run(t, spec, plan.Clone{}, links, func(p *plan.Plan) {
		p.Gate("hook", func() {
			p.Do("run a hook", func(*plan.Process) (err error) {
				hook, err = exec.Command("sh", "-c", links).Output()
				return err
			})
		})
	})
	if d := differs(strings.Split(got, "\n"), here(t, pid)); d != "" {
		t.Errorf("did not join %q", d)
	}
	if d := differs(strings.Split(strings.TrimSpace(string(hook)), "\n"), here(t, "self")); d != "" {
		t.Errorf("a hook ran in other namespaces: %q", d)
	}
}

// TestJoinWrongKind: the error says which path is not what.
func TestJoinWrongKind(t *testing.T) {
	for path, want := range map[string]string{
		"/proc/self/ns/uts": "/proc/self/ns/uts is not a network namespace: invalid argument",
		"/proc/self/status": "inappropriate ioctl for device",
		"/nowhere":          "no such file or directory",
	} {
		s, err := Of(append(made(specs.MountNamespace), specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: path}))
		if err != nil {
			t.Fatal(err)
		}
		p := &plan.Plan{}
		s.Before(p)
		if _, err := p.Start(plan.Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}

// TestOurs: of every kind, by any path to it; what is somebody else's, or of
// another kind, or not there, is not.
func TestOurs(t *testing.T) {
	needRoot(t)
	pid := hold(t, "--pid", "--net", "--ipc", "--uts", "--cgroup", "--mount", "--fork", "--kill-child")
	for _, k := range kinds {
		for path, want := range map[string]bool{
			"/proc/self/ns/" + k.file:                          true,
			fmt.Sprintf("/proc/%d/ns/%s", os.Getpid(), k.file): true,
			"/proc/" + pid + "/ns/" + k.file:                   k.file == "user" || k.file == "time",
			"/proc/self/ns/uts":                                k.file == "uts",
			"/proc/self/status":                                false,
			"/nowhere":                                         false,
		} {
			if got := Ours(path, k.name); got != want {
				t.Errorf("Ours(%s, %s) = %v, want %v", path, k.name, got, want)
			}
		}
	}
}

// TestHostsOwn: a spec changes nothing in a namespace that is the host's: neither
// if its path says so, nor if that led elsewhere when it was looked at.
func TestHostsOwn(t *testing.T) {
	for _, c := range []struct {
		want   string
		name   specs.LinuxNamespaceType
		path   string
		change func(*specs.Spec)
	}{
		{`hostname "x": /proc/self/ns/uts is the host's own uts namespace`, specs.UTSNamespace, "/proc/self/ns/uts",
			func(s *specs.Spec) { s.Hostname = "x" }},
		{`domainname "x": /proc/self/ns/uts is the host's own uts namespace`, specs.UTSNamespace, "/proc/self/ns/uts",
			func(s *specs.Spec) { s.Domainname = "x" }},
		{`linux.sysctl "kernel.domainname": /proc/self/ns/uts is the host's own uts namespace`, specs.UTSNamespace, "/proc/self/ns/uts",
			func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"kernel.domainname": "x"} }},
		{`linux.sysctl "kernel.shm_rmid_forced": /proc/self/ns/ipc is the host's own ipc namespace`, specs.IPCNamespace, "/proc/self/ns/ipc",
			func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"kernel.shm_rmid_forced": "1"} }},
		{`linux.sysctl "net.ipv4.ip_forward": /proc/self/ns/net is the host's own network namespace`, specs.NetworkNamespace, "/proc/self/ns/net",
			func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"net.ipv4.ip_forward": "1"} }},
		{`linux.netDevices: /proc/self/ns/net is the host's own network namespace`, specs.NetworkNamespace, "/proc/self/ns/net",
			func(s *specs.Spec) { s.Linux.NetDevices = map[string]specs.LinuxNetDevice{"eth7": {}} }},
		{`linux.namespaces: /proc/self/ns/mnt is the host's own mount namespace`, specs.MountNamespace, "/proc/self/ns/mnt",
			func(*specs.Spec) {}},
	} {
		spec := &specs.Spec{Linux: &specs.Linux{Namespaces: []specs.LinuxNamespace{{Type: c.name, Path: c.path}}}}
		c.change(spec)
		if _, err := New(spec, Host{Ours: Ours}); err == nil || !strings.HasPrefix(err.Error(), c.want+": ") {
			t.Errorf("New() = %v, want %s", err, c.want)
		}
		s, err := New(spec, Host{Ours: func(string, specs.LinuxNamespaceType) bool { return false }})
		if err != nil {
			t.Errorf("New() with the path exchanged later = %v, want %s only when it is opened", err, c.want)
			continue
		}
		p := &plan.Plan{}
		s.Before(p)
		if _, err := p.Start(plan.Options{}); err == nil || !strings.HasSuffix(err.Error(), ": "+c.want) {
			t.Errorf("Start() with the path exchanged = %v, want %s", err, c.want)
		}
	}
}

// TestJoinHostsOwn: to join it and change nothing is what engines do that give
// every namespace a path; nothing stands in the plan for it.
func TestJoinHostsOwn(t *testing.T) {
	needRoot(t)
	spec := &specs.Spec{Hostname: "box", Linux: &specs.Linux{Namespaces: append(made(specs.MountNamespace, specs.UTSNamespace),
		specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: "/proc/self/ns/net"},
		specs.LinuxNamespace{Type: specs.IPCNamespace, Path: "/proc/self/ns/ipc"})}}
	if s, err := New(spec, Host{Ours: Ours}); err != nil || s.Has(specs.NetworkNamespace) || !s.Has(specs.UTSNamespace) {
		t.Fatalf("New() = %v, %v; want a uts namespace, and no network of its own", s, err)
	}
	got := run(t, spec, plan.Clone{}, links, func(p *plan.Plan) {
		var b bytes.Buffer
		if err := print.Text(&b, p, print.Options{}); err != nil || strings.Contains(b.String(), "fstat") {
			t.Errorf("plan = %s, %v; want no look at what nothing depends on", b.String(), err)
		}
	})
	if d := differs(strings.Split(got, "\n"), here(t, "self")); d != "uts mnt" {
		t.Errorf("new namespaces %q, want uts mnt", d)
	}
}

// TestJoinUser: of a container that joins a user namespace, the new namespaces
// belong to that, so that its root may mount there; and it sees itself as root.
func TestJoinUser(t *testing.T) {
	needRoot(t)
	pid := hold(t, "--user", "--map-root-user", "--net", "--uts")
	spec := &specs.Spec{Linux: &specs.Linux{Namespaces: append(made(specs.MountNamespace, specs.PIDNamespace, specs.IPCNamespace, specs.CgroupNamespace),
		specs.LinuxNamespace{Type: specs.UserNamespace, Path: "/proc/" + pid + "/ns/user"},
		specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: "/proc/" + pid + "/ns/net"},
		specs.LinuxNamespace{Type: specs.UTSNamespace, Path: "/proc/" + pid + "/ns/uts"}),
		UIDMappings: mapTo(0, 1), GIDMappings: mapTo(0, 1)}} // engines send the maps along
	got := strings.Split(run(t, spec, plan.Clone{PidFD: true}, links+`; mount -t tmpfs none /mnt; hostname joined; echo $$`, nil), "\n")
	if d := differs(got, here(t, pid)); d != "pid ipc cgroup mnt" {
		t.Errorf("differs from the process whose user, net and uts it joined in %q", d)
	}
	if d := differs(got, here(t, "self")); d != "user pid net ipc uts cgroup mnt" {
		t.Errorf("differs from us in %q", d)
	}
	if got[len(got)-1] != "1" {
		t.Errorf("process id %q, want 1", got[len(got)-1])
	}
}

// TestExec: a process in a running container is in all of its namespaces, with
// a user namespace or without, for root and for an ordinary user.
func TestExec(t *testing.T) {
	for _, user := range []bool{false, true} {
		if !user && os.Geteuid() != 0 {
			continue
		}
		args := []string{"--pid", "--net", "--ipc", "--uts", "--cgroup", "--time", "--mount", "--fork", "--kill-child", "--mount-proc"}
		list := made(specs.PIDNamespace, specs.NetworkNamespace, specs.IPCNamespace, specs.UTSNamespace, specs.CgroupNamespace, specs.TimeNamespace, specs.MountNamespace)
		if user {
			args, list = append(args, "--user", "--map-root-user"), append(list, made(specs.UserNamespace)...)
		}
		pid := hold(t, args...)
		if denied, err := SetgroupsDenied(number(t, pid)); err != nil || denied != user {
			t.Errorf("SetgroupsDenied() = %v, %v; want %v", denied, err, user)
		}
		pidfd, err := unix.PidfdOpen(number(t, pid), 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(pidfd)
		s, err := Of(list)
		if err != nil {
			t.Fatal(err)
		}
		p := &plan.Plan{}
		s.Exec(p, plan.Inherited("container"), nil, plan.Clone{PidFD: true}, Host{Euid: os.Geteuid()})
		got := strings.Split(output(t, s, p, links+"; id -u; cat /proc/1/comm", map[plan.Inherited]int{"container": pidfd}), "\n")
		if d := differs(got, here(t, pid)); d != "" {
			t.Errorf("user namespace %v: did not join %q", user, d)
		}
		if got[8] != "0" || got[9] != "sleep" {
			t.Errorf("user namespace %v: id and process 1 are %q, want 0 and sleep", user, got[8:])
		}
	}
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestOrdinaryUser runs the tests that need no root as user 1000.
func TestOrdinaryUser(t *testing.T) {
	needRoot(t)
	binary := filepath.Join("/tmp", fmt.Sprintf("namespaces-%d.test", os.Getpid()))
	data, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(binary, data, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(binary)
	cmd := exec.Command(binary, "-test.run=^(TestOwnUser|TestHelperMissing|TestExec)$", "-test.v")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}
	out, err := cmd.CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("SKIP")) {
		t.Errorf("as user 1000: %v\n%s", err, out)
	}
}

// TestOwnUser: what an ordinary user may do without help.
func TestOwnUser(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root: TestOrdinaryUser runs it as another user")
	}
	spec := &specs.Spec{Hostname: "box", Linux: &specs.Linux{
		Namespaces: made(specs.UserNamespace, specs.MountNamespace, specs.UTSNamespace, specs.PIDNamespace, specs.NetworkNamespace,
			specs.CgroupNamespace, specs.IPCNamespace, specs.TimeNamespace),
		UIDMappings: mapTo(uint32(os.Geteuid()), 1), GIDMappings: mapTo(uint32(os.Getegid()), 1),
		TimeOffsets: map[string]specs.LinuxTimeOffset{"boottime": {Secs: 1000000000}}}}
	hidden := uint32(1)
	got := run(t, spec, plan.Clone{}, `id -u; id -g; hostname; cat /proc/self/setgroups; grep -c 1000000000 /proc/self/timens_offsets`, func(p *plan.Plan) {
		p.Gate("look", func() {
			p.Do("whose is /proc/PID/mem?", func(r *plan.Process) error {
				var s unix.Stat_t
				err := unix.Stat(fmt.Sprintf("/proc/%d/mem", r.Pid), &s)
				hidden = s.Uid
				return err
			})
		})
	})
	if want := "0\n0\nbox\ndeny\n1"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
	if hidden != 0 {
		t.Errorf("/proc/PID/mem of the child belongs to %d, want 0: it can be traced", hidden)
	}
	if s, _ := New(spec, Host{}); !s.DeniesSetgroups(Host{Euid: os.Geteuid()}) {
		t.Error("DeniesSetgroups() = false, want true")
	}
}

// TestHelperMissing: more than one's own id takes newuidmap, and the error says so.
func TestHelperMissing(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root: TestOrdinaryUser runs it as another user")
	}
	t.Setenv("PATH", "/nowhere")
	s, err := New(&specs.Spec{Linux: &specs.Linux{Namespaces: made(specs.UserNamespace, specs.MountNamespace),
		UIDMappings: mapTo(100000, 65536), GIDMappings: mapTo(uint32(os.Getegid()), 1)}}, Host{})
	if err != nil {
		t.Fatal(err)
	}
	p := &plan.Plan{}
	s.Clone(p, plan.Clone{}, Host{Euid: 1000})
	p.On(plan.Child)
	s.Enter(p, Host{Euid: 1000})
	_, err = p.Start(plan.Options{})
	if !errors.Is(err, exec.ErrNotFound) || !strings.Contains(err.Error(), "newuidmap") {
		t.Errorf("Start() = %v, want newuidmap: not found", err)
	}
}

// TestMain fails a package that leaves something behind.
func TestMain(m *testing.M) { os.Exit(leftovers.Guard(m.Run)) }
