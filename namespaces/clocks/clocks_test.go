package clocks

import (
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"minirun/examples/leftovers"
	"minirun/examples/nstest"
	"minirun/namespaces"
	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

var update = flag.Bool("update", false, "write the golden files")

// record is what package container records for a spec.
func record(t *testing.T, spec *specs.Spec) *plan.Plan {
	t.Helper()
	set, err := namespaces.New(spec, plan.Facts{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	offsets, err := New(spec.Linux, set)
	if err != nil {
		t.Fatal(err)
	}
	p := &plan.Plan{}
	set.Clone(p, plan.Clone{})
	p.On(plan.Child)
	set.WriteIDMaps(p)
	offsets.Set(p)
	set.SetUp(p)
	return p
}

func newSpec(offsets map[string]specs.LinuxTimeOffset) *specs.Spec {
	return &specs.Spec{Linux: &specs.Linux{Namespaces: nstest.Made(specs.MountNamespace, specs.TimeNamespace), TimeOffsets: offsets}}
}

// TestPlan compares the recorded steps with golden files: clone3 makes no time
// namespace.
func TestPlan(t *testing.T) {
	nstest.Golden(t, "offsets", record(t, newSpec(map[string]specs.LinuxTimeOffset{"monotonic": {Secs: 1}, "boottime": {Secs: -5, Nanosecs: 6}})), *update)
	nstest.Golden(t, "none", record(t, newSpec(nil)), *update)
}

// TestRefusals: what New does not take, and how it says so.
func TestRefusals(t *testing.T) {
	type offsets = map[string]specs.LinuxTimeOffset
	made, joined := nstest.Made(specs.TimeNamespace), []specs.LinuxNamespace{{Type: specs.TimeNamespace, Path: "/proc/42/ns/time"}}
	for _, c := range []struct {
		list    []specs.LinuxNamespace
		offsets offsets
		want    string
	}{
		{nil, offsets{"boottime": {Secs: 1}}, `linux.timeOffsets: no new time namespace`},
		{joined, offsets{"boottime": {Secs: 1}}, `linux.timeOffsets: no new time namespace`},
		{made, offsets{"x": {}}, `linux.timeOffsets "x": want monotonic or boottime`},
		{made, offsets{"boottime": {Nanosecs: 1e9}}, `linux.timeOffsets.boottime.nanosecs 1000000000: a second or more`},
	} {
		set, err := namespaces.List(c.list)
		if err != nil {
			t.Fatal(err)
		}
		if o, err := New(&specs.Linux{TimeOffsets: c.offsets}, set); err == nil || err.Error() != c.want || o != nil {
			t.Errorf("New(%v, %v) = %v, %v; want %s", c.list, c.offsets, o, err, c.want)
		}
	}
}

// TestClocks: offsets are in force in the program.
func TestClocks(t *testing.T) {
	nstest.NeedRoot(t)
	for _, user := range []bool{false, true} {
		spec := newSpec(map[string]specs.LinuxTimeOffset{"boottime": {Secs: 1000000000}, "monotonic": {Secs: 5, Nanosecs: 7}})
		if user {
			spec.Linux.Namespaces = append(spec.Linux.Namespaces, nstest.Made(specs.UserNamespace)...)
			spec.Linux.UIDMappings, spec.Linux.GIDMappings = nstest.MapTo(100000, 65536), nstest.MapTo(100000, 65536)
		}
		p := record(t, spec)
		got := nstest.Output(t, p, `cut -d. -f1 /proc/uptime; cat /proc/self/timens_offsets`, nil, p.Start)
		fields := strings.Fields(got)
		if len(fields) != 7 || len(fields[0]) < 10 || strings.Join(fields[1:], " ") != "monotonic 5 7 boottime 1000000000 0" {
			t.Errorf("user namespace %v: printed %q, want an uptime above 1000000000 and both offsets", user, got)
		}
	}
}

// TestTimes: the times of the steps are those of one clock, whatever the offsets of
// the namespace that the child is in.
func TestTimes(t *testing.T) {
	nstest.NeedRoot(t)
	for _, seconds := range []int64{1e9, -1} {
		p := record(t, newSpec(map[string]specs.LinuxTimeOffset{"monotonic": {Secs: seconds}}))
		last := time.Duration(0)
		nstest.Output(t, p, "true", nil, func(o plan.Options) (*plan.Process, error) {
			o.Trace = func(e plan.Event) {
				if e.Start < last || e.Duration < 0 || e.Start+e.Duration > time.Hour {
					t.Errorf("offset %d s: %s starts at %v and takes %v, after %v", seconds, e.Call, e.Start, e.Duration, last)
				}
				last = e.Start
			}
			return p.Start(o)
		})
	}
}

// TestThreads: the program can make threads, which the kernel refuses a process that
// is in another time namespace than its children would be.
func TestThreads(t *testing.T) {
	nstest.NeedRoot(t)
	p := record(t, newSpec(nil))
	links := nstest.Output(t, p, "readlink /proc/self/ns/time /proc/self/ns/time_for_children", nil, p.Start)
	if l := strings.Fields(links); len(l) != 2 || l[0] != l[1] {
		t.Errorf("namespaces %q: want the same for the program and its children", links)
	}
}

// TestMake: the child enters the new time namespace, and no other.
func TestMake(t *testing.T) {
	nstest.NeedRoot(t)
	p := record(t, newSpec(nil))
	got := strings.Split(nstest.Output(t, p, nstest.Links, nil, p.Start), "\n")
	if d := nstest.Differs(got, nstest.Here(t, "self")); d != "time mnt" {
		t.Errorf("new namespaces %q, want time mnt", d)
	}
}

// TestMain fails a package that leaves something behind.
func TestMain(m *testing.M) { os.Exit(leftovers.Guard(m.Run)) }
