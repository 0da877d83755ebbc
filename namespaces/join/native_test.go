package join

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"minirun/examples/leftovers"
	"minirun/examples/nstest"
	"minirun/namespaces"
	"minirun/namespaces/netdevices"
	"minirun/namespaces/sysctls"
	"minirun/plan"
	"minirun/plan/print"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// These tests join real namespaces and look at them from inside, with a shell.

// look opens all first doors, as package container does.
func look(spec *specs.Spec, isHosts func(string, namespaces.Kind) bool) (*Joins, error) {
	set, err := namespaces.New(spec, plan.Facts{}, isHosts)
	if err != nil {
		return nil, err
	}
	j, err1 := New(set, plan.Facts{})
	_, err2 := sysctls.New(spec.Linux, set)
	_, err3 := netdevices.New(spec.Linux, set)
	return j, errors.Join(err1, err2, err3)
}

// run makes and joins the namespaces of a spec and returns what a script prints
// in them. more adds steps of the child's before the script; it may be nil.
func run(t *testing.T, spec *specs.Spec, c plan.Clone, script string, more func(*plan.Plan)) string {
	t.Helper()
	set, err := namespaces.New(spec, plan.Facts{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, j := record(t, set, c, plan.Facts{Euid: os.Geteuid()})
	if more != nil {
		more(p)
	}
	return nstest.Output(t, p, script, nil, func(o plan.Options) (*plan.Process, error) {
		return j.OnThread(func() (*plan.Process, error) { return p.Start(o) })
	})
}

// TestJoin: every kind by path, but for the user namespace; the hooks that run
// at gates are still born in the runtime's own.
func TestJoin(t *testing.T) {
	nstest.NeedRoot(t)
	pid := nstest.Hold(t, "--pid", "--net", "--ipc", "--uts", "--cgroup", "--time", "--mount", "--fork", "--kill-child")
	spec := &specs.Spec{Linux: &specs.Linux{}}
	for _, k := range namespaces.Kinds[1:] {
		spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: k.Name, Path: "/proc/" + pid + "/ns/" + k.File})
	}
	var hook []byte
	got := run(t, spec, plan.Clone{}, nstest.Links, func(p *plan.Plan) {
		p.Gate("hook", func() {
			p.Do("run a hook", func(*plan.Process) (err error) {
				hook, err = exec.Command("sh", "-c", nstest.Links).Output()
				return err
			})
		})
	})
	if d := nstest.Differs(strings.Split(got, "\n"), nstest.Here(t, pid)); d != "" {
		t.Errorf("did not join %q", d)
	}
	if d := nstest.Differs(strings.Split(strings.TrimSpace(string(hook)), "\n"), nstest.Here(t, "self")); d != "" {
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
		set, err := namespaces.List(append(nstest.Made(specs.MountNamespace), specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: path}))
		if err != nil {
			t.Fatal(err)
		}
		j, err := New(set, plan.Facts{})
		if err != nil {
			t.Fatal(err)
		}
		p := &plan.Plan{}
		j.Open(p)
		if _, err := p.Start(plan.Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}

// TestIsOwn: of every kind, by any path to it; what is somebody else's, or of
// another kind, or not there, is not.
func TestIsOwn(t *testing.T) {
	nstest.NeedRoot(t)
	pid := nstest.Hold(t, "--pid", "--net", "--ipc", "--uts", "--cgroup", "--mount", "--fork", "--kill-child")
	for _, k := range namespaces.Kinds {
		for path, want := range map[string]bool{
			"/proc/self/ns/" + k.File:                          true,
			fmt.Sprintf("/proc/%d/ns/%s", os.Getpid(), k.File): true,
			"/proc/" + pid + "/ns/" + k.File:                   k.File == "user" || k.File == "time",
			"/proc/self/ns/uts":                                k.File == "uts",
			"/proc/self/status":                                false,
			"/nowhere":                                         false,
		} {
			if got := IsOwn(path, k); got != want {
				t.Errorf("IsOwn(%s, %s) = %v, want %v", path, k.Name, got, want)
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
		if _, err := look(spec, IsOwn); err == nil || !strings.HasPrefix(err.Error(), c.want+": ") {
			t.Errorf("New() = %v, want %s", err, c.want)
		}
		j, err := look(spec, func(string, namespaces.Kind) bool { return false })
		if err != nil {
			t.Errorf("New() with the path exchanged later = %v, want %s only when it is opened", err, c.want)
			continue
		}
		p := &plan.Plan{}
		j.Open(p)
		if _, err := p.Start(plan.Options{}); err == nil || !strings.HasSuffix(err.Error(), ": "+c.want) {
			t.Errorf("Start() with the path exchanged = %v, want %s", err, c.want)
		}
	}
}

// TestJoinHostsOwn: to join it and change nothing is what engines do that give
// every namespace a path; nothing stands in the plan for it.
func TestJoinHostsOwn(t *testing.T) {
	nstest.NeedRoot(t)
	spec := &specs.Spec{Hostname: "box", Linux: &specs.Linux{Namespaces: append(nstest.Made(specs.MountNamespace, specs.UTSNamespace),
		specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: "/proc/self/ns/net"},
		specs.LinuxNamespace{Type: specs.IPCNamespace, Path: "/proc/self/ns/ipc"})}}
	if s, err := namespaces.New(spec, plan.Facts{}, IsOwn); err != nil || s.Has(specs.NetworkNamespace) || !s.Has(specs.UTSNamespace) {
		t.Fatalf("New() = %v, %v; want a uts namespace, and no network of its own", s, err)
	}
	got := run(t, spec, plan.Clone{}, nstest.Links, func(p *plan.Plan) {
		var b bytes.Buffer
		if err := print.Text(&b, p, print.Options{}); err != nil || strings.Contains(b.String(), "fstat") {
			t.Errorf("plan = %s, %v; want no look at what nothing depends on", b.String(), err)
		}
	})
	if d := nstest.Differs(strings.Split(got, "\n"), nstest.Here(t, "self")); d != "uts mnt" {
		t.Errorf("new namespaces %q, want uts mnt", d)
	}
}

// TestJoinUser: of a container that joins a user namespace, the new namespaces
// belong to that, so that its root may mount there; and it sees itself as root.
func TestJoinUser(t *testing.T) {
	nstest.NeedRoot(t)
	pid := nstest.Hold(t, "--user", "--map-root-user", "--net", "--uts")
	spec := &specs.Spec{Linux: &specs.Linux{Namespaces: append(nstest.Made(specs.MountNamespace, specs.PIDNamespace, specs.IPCNamespace, specs.CgroupNamespace),
		specs.LinuxNamespace{Type: specs.UserNamespace, Path: "/proc/" + pid + "/ns/user"},
		specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: "/proc/" + pid + "/ns/net"},
		specs.LinuxNamespace{Type: specs.UTSNamespace, Path: "/proc/" + pid + "/ns/uts"}),
		UIDMappings: nstest.MapTo(0, 1), GIDMappings: nstest.MapTo(0, 1)}} // engines send the maps along
	got := strings.Split(run(t, spec, plan.Clone{PidFD: true}, nstest.Links+`; mount -t tmpfs none /mnt; hostname joined; echo $$`, nil), "\n")
	if d := nstest.Differs(got, nstest.Here(t, pid)); d != "pid ipc cgroup mnt" {
		t.Errorf("differs from the process whose user, net and uts it joined in %q", d)
	}
	if d := nstest.Differs(got, nstest.Here(t, "self")); d != "user pid net ipc uts cgroup mnt" {
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
		list := nstest.Made(specs.PIDNamespace, specs.NetworkNamespace, specs.IPCNamespace, specs.UTSNamespace, specs.CgroupNamespace, specs.TimeNamespace, specs.MountNamespace)
		if user {
			args, list = append(args, "--user", "--map-root-user"), append(list, nstest.Made(specs.UserNamespace)...)
		}
		pid := nstest.Hold(t, args...)
		if denied, err := namespaces.SetgroupsDenied(number(t, pid)); err != nil || denied != user {
			t.Errorf("SetgroupsDenied() = %v, %v; want %v", denied, err, user)
		}
		pidfd, err := unix.PidfdOpen(number(t, pid), 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(pidfd)
		set, err := namespaces.List(list)
		if err != nil {
			t.Fatal(err)
		}
		p := &plan.Plan{}
		Exec(p, set, plan.Inherited("container"), nil, plan.Clone{PidFD: true}, plan.Facts{Euid: os.Geteuid()})
		got := strings.Split(nstest.Output(t, p, nstest.Links+"; id -u; cat /proc/1/comm", map[plan.Inherited]int{"container": pidfd}, p.Start), "\n")
		if d := nstest.Differs(got, nstest.Here(t, pid)); d != "" {
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

// TestOrdinaryUser runs the test that needs no root as user 1000.
func TestOrdinaryUser(t *testing.T) { nstest.AsUser(t, "^TestExec$") }

// TestMain fails a package that leaves something behind.
func TestMain(m *testing.M) { os.Exit(leftovers.Guard(m.Run)) }
