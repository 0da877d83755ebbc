package subids

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"minirun/examples/leftovers"
	"minirun/examples/nstest"
	"minirun/namespaces"
	"minirun/namespaces/clocks"
	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

var update = flag.Bool("update", false, "write the golden files")

// record is what package container records for an ordinary user's spec.
func record(t *testing.T, spec *specs.Spec, euid int) (*plan.Plan, *Maps) {
	t.Helper()
	facts := plan.Facts{Euid: euid}
	set, err := namespaces.New(spec, facts, nil)
	if err != nil {
		t.Fatal(err)
	}
	maps := New(spec.Linux, set, facts)
	offsets, err := clocks.New(spec.Linux, set)
	if err != nil {
		t.Fatal(err)
	}
	p := &plan.Plan{}
	set.Clone(p, plan.Clone{PidFD: true})
	p.On(plan.Child)
	set.WriteIDMaps(p)
	maps.Write(p)
	offsets.Set(p)
	set.SetUp(p)
	return p, maps
}

func newSpec(uids, gids []specs.LinuxIDMapping, more ...specs.LinuxNamespaceType) *specs.Spec {
	return &specs.Spec{Linux: &specs.Linux{UIDMappings: uids, GIDMappings: gids,
		Namespaces: nstest.Made(append(more, specs.UserNamespace, specs.MountNamespace)...)}}
}

// TestPlan compares the recorded steps with golden files.
func TestPlan(t *testing.T) {
	one := nstest.MapTo(1000, 1)
	ordinary := newSpec(one, one)
	ordinary.Linux.Namespaces = nstest.All("")
	ordinary.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"monotonic": {Secs: 1}, "boottime": {Secs: -5, Nanosecs: 6}}
	for name, c := range map[string]struct {
		spec   *specs.Spec
		denied bool
	}{
		"ordinary": {ordinary, true},
		"helpers":  {newSpec(append(one, specs.LinuxIDMapping{ContainerID: 1, HostID: 100000, Size: 65535}), nstest.MapTo(100000, 65536)), false},
	} {
		p, maps := record(t, c.spec, 1000)
		nstest.Golden(t, name, p, *update)
		if got := maps.DeniesSetgroups(); got != c.denied {
			t.Errorf("%s: DeniesSetgroups() = %v, want %v", name, got, c.denied)
		}
	}
}

// TestRoot: root's maps are not written here, nor those of no namespace.
func TestRoot(t *testing.T) {
	for euid, list := range map[int][]specs.LinuxNamespace{0: nstest.All(""), 1000: nstest.Made(specs.MountNamespace)} {
		set, err := namespaces.List(list)
		if err != nil {
			t.Fatal(err)
		}
		m := New(&specs.Linux{}, set, plan.Facts{Euid: euid})
		p := &plan.Plan{}
		m.Write(p)
		if m != nil || m.DeniesSetgroups() || len(p.Steps) != 0 {
			t.Errorf("New() for user %d = %v with %d steps, want nil", euid, m, len(p.Steps))
		}
	}
}

// TestOrdinaryUser runs the tests that need no root as user 1000.
func TestOrdinaryUser(t *testing.T) { nstest.AsUser(t, "^(TestOwnUser|TestHelperMissing)$") }

// TestOwnUser: what an ordinary user may do without help.
func TestOwnUser(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root: TestOrdinaryUser runs it as another user")
	}
	spec := newSpec(nstest.MapTo(uint32(os.Geteuid()), 1), nstest.MapTo(uint32(os.Getegid()), 1), specs.UTSNamespace,
		specs.PIDNamespace, specs.NetworkNamespace, specs.CgroupNamespace, specs.IPCNamespace, specs.TimeNamespace)
	spec.Hostname, spec.Linux.TimeOffsets = "box", map[string]specs.LinuxTimeOffset{"boottime": {Secs: 1000000000}}
	p, _ := record(t, spec, os.Geteuid())
	owner := uint32(1)
	p.Gate("look", func() {
		p.Do("whose is /proc/PID/mem?", func(r *plan.Process) error {
			var s unix.Stat_t
			err := unix.Stat(fmt.Sprintf("/proc/%d/mem", r.Pid), &s)
			owner = s.Uid
			return err
		})
	})
	script := `id -u; id -g; hostname; cat /proc/self/setgroups; grep -c 1000000000 /proc/self/timens_offsets`
	if got, want := nstest.Output(t, p, script, nil, p.Start), "0\n0\nbox\ndeny\n1"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
	if owner != 0 {
		t.Errorf("/proc/PID/mem of the child belongs to %d, want 0: it can be traced", owner)
	}
}

// TestHelperMissing: more than one's own id takes newuidmap, and the error says so.
func TestHelperMissing(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root: TestOrdinaryUser runs it as another user")
	}
	t.Setenv("PATH", "/nowhere")
	p, _ := record(t, newSpec(nstest.MapTo(100000, 65536), nstest.MapTo(uint32(os.Getegid()), 1)), 1000)
	_, err := p.Start(plan.Options{})
	if !errors.Is(err, exec.ErrNotFound) || !strings.Contains(err.Error(), "newuidmap") {
		t.Errorf("Start() = %v, want newuidmap: not found", err)
	}
}

// TestMain fails a package that leaves something behind.
func TestMain(m *testing.M) { os.Exit(leftovers.Guard(m.Run)) }
