package namespaces

import (
	"encoding/json"
	"flag"
	"strings"
	"testing"

	"minirun/examples/nstest"
	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

var update = flag.Bool("update", false, "write the golden files")

// TestPlan compares the recorded steps with golden files.
func TestPlan(t *testing.T) {
	for name, spec := range map[string]*specs.Spec{
		"new": {Hostname: "box", Domainname: "example.org", Linux: &specs.Linux{Namespaces: nstest.All("")[1:]}},
		"user": {Linux: &specs.Linux{Namespaces: nstest.Made(specs.UserNamespace, specs.MountNamespace),
			UIDMappings: nstest.MapTo(100000, 65536), GIDMappings: nstest.MapTo(100000, 65536)}},
	} {
		s, err := New(spec, plan.Facts{}, nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		nstest.Golden(t, name, record(s, plan.Clone{PidFD: true}), *update)
	}
}

// TestDeferCgroup: clone3 leaves the cgroup namespace to the child.
func TestDeferCgroup(t *testing.T) {
	s, err := New(&specs.Spec{Linux: &specs.Linux{Namespaces: nstest.Made(specs.MountNamespace, specs.CgroupNamespace)}}, plan.Facts{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.DeferCgroup()
	p := &plan.Plan{}
	s.Clone(p, plan.Clone{})
	p.On(plan.Child)
	s.UnshareCgroup(p)
	s.SetUp(p)
	nstest.Golden(t, "defer-cgroup", p, *update)
}

// record is what package container records for a container without annexes.
func record(s *Set, c plan.Clone) *plan.Plan {
	p := &plan.Plan{}
	s.Clone(p, c)
	p.On(plan.Child)
	s.WriteIDMaps(p)
	s.SetUp(p)
	return p
}

// TestRefusals: what New does not take, and how it says so.
func TestRefusals(t *testing.T) {
	const mnt = `{"type": "mount"}`
	for spec, want := range map[string]string{
		`{}`: `linux: missing`,
		`{"linux": {"namespaces": [{"type": "user"}], "uidMappings": [{"size": 1}], "gidMappings": [{"size": 1}]}}`:                                                            `linux.namespaces: a user namespace but no mount namespace: its root may mount nothing in the host's`,
		`{"linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "foo"}]}}`:                                                                                     `linux.namespaces[2].type "foo": no such namespace`,
		`{"linux": {"namespaces": [{"type": "mount"}, {"type": "mount", "path": "/x"}]}}`:                                                                                      `linux.namespaces[1].type "mount": given twice`,
		`{"linux": {"namespaces": [{"type": "mount", "path": "proc/1/ns/mnt"}]}}`:                                                                                              `linux.namespaces[0].path "proc/1/ns/mnt": not an absolute path`,
		`{"hostname": "x", "linux": {"namespaces": [` + mnt + `]}}`:                                                                                                            `hostname "x": no uts namespace: it would be the host's`,
		`{"domainname": "x", "linux": {"namespaces": [` + mnt + `]}}`:                                                                                                          `domainname "x": no uts namespace: it would be the host's`,
		`{"hostname": "` + strings.Repeat("x", 65) + `", "linux": {"namespaces": [` + mnt + `, {"type": "uts"}]}}`:                                                             `hostname "` + strings.Repeat("x", 65) + `": longer than the 64 bytes that uname(2) has room for`,
		`{"linux": {"namespaces": [` + mnt + `], "uidMappings": [{"size": 1}]}}`:                                                                                               `linux.uidMappings: no user namespace to map ids in`,
		`{"linux": {"namespaces": [` + mnt + `, {"type": "user"}], "uidMappings": [{"size": 1}]}}`:                                                                             `linux.uidMappings: a new user namespace needs mappings of users and groups`,
		`{"linux": {"namespaces": [` + mnt + `, {"type": "user"}], "uidMappings": [{"size": 0}], "gidMappings": [{"size": 1}]}}`:                                               `linux.uidMappings[0].size 0: want 1 or more, and no id above 4294967294`,
		`{"linux": {"namespaces": [` + mnt + `, {"type": "user"}], "uidMappings": [{"size": 1}], "gidMappings": [{"hostID": 4294967295, "size": 1}]}}`:                         `linux.gidMappings[0].size 1: want 1 or more, and no id above 4294967294`,
		`{"linux": {"namespaces": [` + mnt + `, {"type": "user"}], "uidMappings": [{"size": 1}], "gidMappings": [{"size": 9}, {"containerID": 8, "hostID": 100, "size": 9}]}}`: `linux.gidMappings[1]: overlaps an earlier one`,
	} {
		var s specs.Spec
		if err := json.Unmarshal([]byte(spec), &s); err != nil {
			t.Fatalf("%s: %v", spec, err)
		}
		if set, err := New(&s, plan.Facts{}, nil); err == nil || err.Error() != want || set != nil {
			t.Errorf("New(%s) = %v, %v; want %s", spec, set, err, want)
		}
	}
}

// TestTooManyMappings: New refuses more lines than the kernel takes.
func TestTooManyMappings(t *testing.T) {
	var m []specs.LinuxIDMapping
	for n := range uint32(341) {
		m = append(m, specs.LinuxIDMapping{ContainerID: n, HostID: n, Size: 1})
	}
	spec := &specs.Spec{Linux: &specs.Linux{Namespaces: nstest.Made(specs.MountNamespace, specs.UserNamespace), UIDMappings: m, GIDMappings: m[:340]}}
	if _, err := New(spec, plan.Facts{}, nil); err == nil || err.Error() != "linux.uidMappings: 341 lines, of at most 340" {
		t.Errorf("New() = %v, want a refusal of 341 lines", err)
	}
}

// TestIDMap: ids inside and outside, at the edges of ranges.
func TestIDMap(t *testing.T) {
	m := IDMap{{ContainerID: 0, HostID: 1000, Size: 1}, {ContainerID: 10, HostID: 4294967290, Size: 5}}
	for _, c := range []struct {
		m               IDMap
		inside, outside uint32
		ok              bool
	}{
		{m, 0, 1000, true},
		{m, 10, 4294967290, true},
		{m, 14, 4294967294, true},
		{nil, 33, 33, true},
	} {
		if id, ok := c.m.ToHost(c.inside); id != c.outside || ok != c.ok {
			t.Errorf("%v.ToHost(%d) = %d, %v; want %d, %v", c.m, c.inside, id, ok, c.outside, c.ok)
		}
		if id, ok := c.m.ToContainer(c.outside); id != c.inside || ok != c.ok {
			t.Errorf("%v.ToContainer(%d) = %d, %v; want %d, %v", c.m, c.outside, id, ok, c.inside, c.ok)
		}
	}
	for _, id := range []uint32{1, 9, 15, 4294967295} {
		if got, ok := m.ToHost(id); ok {
			t.Errorf("%v.ToHost(%d) = %d, want none", m, id, got)
		}
	}
	for _, id := range []uint32{0, 999, 1001, 4294967295} {
		if got, ok := m.ToContainer(id); ok {
			t.Errorf("%v.ToContainer(%d) = %d, want none", m, id, got)
		}
	}
	if got, want := m.String(), "0 1000 1\n10 4294967290 5\n"; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
}

// FuzzNew: no spec makes New or the recording panic, and what New takes, the
// plan takes, but for NUL bytes.
func FuzzNew(f *testing.F) {
	f.Add("mount", "", "user", "", "box", uint32(0), uint32(1000), uint32(1))
	f.Add("mount", "/proc/1/ns/mnt", "time", "", "", uint32(1<<31), uint32(1<<31), uint32(1<<31))
	f.Add("mount", "", "foo", "x\x00y", "a\x00b", uint32(0), uint32(0), uint32(1<<32-1))
	f.Fuzz(func(t *testing.T, type1, path1, type2, path2, hostname string, container, host, size uint32) {
		m := []specs.LinuxIDMapping{{ContainerID: container, HostID: host, Size: size}}
		spec := &specs.Spec{Hostname: hostname, Linux: &specs.Linux{
			Namespaces:  []specs.LinuxNamespace{{Type: specs.LinuxNamespaceType(type1), Path: path1}, {Type: specs.LinuxNamespaceType(type2), Path: path2}},
			UIDMappings: m, GIDMappings: m}}
		s, err := New(spec, plan.Facts{}, nil)
		if err != nil {
			return
		}
		if err := record(s, plan.Clone{}).Err(); err != nil && !strings.ContainsRune(hostname+path1+path2, 0) {
			t.Errorf("recording: %v", err)
		}
	})
}
