package namespaces

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"minirun/examples/leftovers"
	"minirun/examples/nstest"
	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// These tests make real namespaces and look at them from inside, with a shell.

// run makes the namespaces of a spec and returns what a script prints in them.
func run(t *testing.T, spec *specs.Spec, c plan.Clone, script string) string {
	t.Helper()
	s, err := New(spec, plan.Facts{Euid: os.Geteuid()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := record(s, c)
	return nstest.Output(t, p, script, nil, p.Start)
}

// TestMake: every kind alone changes that kind and nothing else; package clocks
// tests time namespaces. A mount namespace is always there.
func TestMake(t *testing.T) {
	nstest.NeedRoot(t)
	for _, k := range Kinds[1:] {
		if k.Name == specs.TimeNamespace {
			continue
		}
		spec := &specs.Spec{Linux: &specs.Linux{Namespaces: nstest.Made(specs.MountNamespace)}}
		want := "mnt"
		if k.Name != specs.MountNamespace {
			spec.Linux.Namespaces = append(spec.Linux.Namespaces, nstest.Made(k.Name)...)
			want = k.File + " mnt"
		}
		got := strings.Split(run(t, spec, plan.Clone{}, nstest.Links), "\n")
		if d := nstest.Differs(got, nstest.Here(t, "self")); d != want {
			t.Errorf("%s: new namespaces %q, want %q", k.Name, d, want)
		}
	}
}

// TestNames: host and domain name, loopback, first process.
func TestNames(t *testing.T) {
	nstest.NeedRoot(t)
	spec := &specs.Spec{Hostname: "box", Domainname: "example.org", Linux: &specs.Linux{
		Namespaces: nstest.Made(specs.MountNamespace, specs.UTSNamespace, specs.NetworkNamespace, specs.PIDNamespace)}}
	got := run(t, spec, plan.Clone{}, `hostname; cat /proc/sys/kernel/domainname; echo $$; grep -c 127.0.0.1 /proc/self/net/fib_trie`)
	if want := "box\nexample.org\n1\n"; !strings.HasPrefix(got, want) || strings.HasSuffix(got, "\n0") {
		t.Errorf("printed %q, want %q and a route to 127.0.0.1", got, want)
	}
	if name, _ := os.Hostname(); name == "box" {
		t.Error("the host was renamed")
	}
}

// cgroup2 returns where cgroup v2 is mounted.
func cgroup2(t *testing.T) string {
	t.Helper()
	dir := leftovers.GroupRoot()
	if dir == "" {
		t.Skip("no cgroup2 mount")
	}
	return dir
}

// TestCgroup pins a fact of the kernel's: with CLONE_INTO_CGROUP and
// CLONE_NEWCGROUP in one clone3, the new namespace is rooted at the new group.
func TestCgroup(t *testing.T) {
	nstest.NeedRoot(t)
	dir, err := os.MkdirTemp(cgroup2(t), "minirun-namespaces-")
	if errors.Is(err, unix.EROFS) {
		t.Skip("no cgroup can be made, as in a container: ", err)
	} else if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(dir)
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	spec := &specs.Spec{Linux: &specs.Linux{Namespaces: nstest.Made(specs.MountNamespace, specs.CgroupNamespace)}}
	if got := run(t, spec, plan.Clone{Cgroup: plan.Num(f.Fd())}, `grep ^0: /proc/self/cgroup`); got != "0::/" {
		t.Errorf("cgroup in the namespace %q, want 0::/", got)
	}
}

// TestUser: a root that is nobody outside.
func TestUser(t *testing.T) {
	nstest.NeedRoot(t)
	spec := &specs.Spec{Hostname: "box", Linux: &specs.Linux{
		Namespaces:  nstest.Made(specs.UserNamespace, specs.MountNamespace, specs.UTSNamespace, specs.PIDNamespace, specs.NetworkNamespace),
		UIDMappings: nstest.MapTo(100000, 65536), GIDMappings: nstest.MapTo(200000, 65536)}}
	got := run(t, spec, plan.Clone{}, `id -u; id -g; tr -s " " < /proc/self/uid_map; tr -s " " < /proc/self/gid_map; hostname; cat /proc/self/setgroups`)
	if want := "0\n0\n 0 100000 65536\n 0 200000 65536\nbox\nallow"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
	spec.Linux.UIDMappings, spec.Linux.GIDMappings = []specs.LinuxIDMapping{{ContainerID: 5, HostID: 100000, Size: 1}}, []specs.LinuxIDMapping{{ContainerID: 5, HostID: 100000, Size: 1}}
	if got := run(t, spec, plan.Clone{}, `id -u`); got != "65534" {
		t.Errorf("without a root in the map: id -u = %q, want 65534", got)
	}
}

// TestMain fails a package that leaves something behind.
func TestMain(m *testing.M) { os.Exit(leftovers.Guard(m.Run)) }
