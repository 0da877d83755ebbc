package namespaces

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"minirun/plan"
	"minirun/plan/print"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

var update = flag.Bool("update", false, "write the golden files")

// everything is one namespace of each kind, the new ones or those of process 42.
func everything(path string) []specs.LinuxNamespace {
	var list []specs.LinuxNamespace
	for _, k := range kinds {
		n := specs.LinuxNamespace{Type: k.name}
		if path != "" {
			n.Path = path + k.file
		}
		list = append(list, n)
	}
	return list
}

// TestPlan compares the recorded steps with golden files.
func TestPlan(t *testing.T) {
	offsets := map[string]specs.LinuxTimeOffset{"monotonic": {Secs: 1}, "boottime": {Secs: -5, Nanosecs: 6}}
	for name, c := range map[string]struct {
		spec specs.Spec
		host Host
		exec bool
	}{
		"new": {specs.Spec{Hostname: "box", Domainname: "example.org", Linux: &specs.Linux{Namespaces: everything("")[1:], TimeOffsets: offsets}}, Host{}, false},
		"user": {specs.Spec{Linux: &specs.Linux{Namespaces: made(specs.UserNamespace, specs.MountNamespace),
			UIDMappings: mapTo(100000, 65536), GIDMappings: mapTo(100000, 65536)}}, Host{}, false},
		"ordinary": {specs.Spec{Linux: &specs.Linux{Namespaces: everything(""), TimeOffsets: offsets,
			UIDMappings: mapTo(1000, 1), GIDMappings: mapTo(1000, 1)}}, Host{Euid: 1000}, false},
		"helpers": {specs.Spec{Linux: &specs.Linux{Namespaces: made(specs.UserNamespace, specs.MountNamespace),
			UIDMappings: append(mapTo(1000, 1), specs.LinuxIDMapping{ContainerID: 1, HostID: 100000, Size: 65535}), GIDMappings: mapTo(100000, 65536)}}, Host{Euid: 1000}, false},
		"joined":           {specs.Spec{Linux: &specs.Linux{Namespaces: everything("/proc/42/ns/")[1:]}}, Host{}, false},
		"joined-user":      {specs.Spec{Linux: &specs.Linux{Namespaces: append(made(specs.MountNamespace), everything("/proc/42/ns/")[:3]...)}}, Host{}, false},
		"joined-ours":      {specs.Spec{Linux: &specs.Linux{Namespaces: append(made(specs.MountNamespace), everything("/proc/42/ns/")[:3]...)}}, Host{Euid: 1000}, false},
		"joined-confined":  {specs.Spec{Linux: &specs.Linux{Namespaces: append(made(specs.MountNamespace), everything("/proc/42/ns/")[1:3]...)}}, Host{Confined: true}, false},
		"exec":             {specs.Spec{Linux: &specs.Linux{Namespaces: everything("")[1:]}}, Host{}, true},
		"exec-user":        {specs.Spec{Linux: &specs.Linux{Namespaces: everything("")}}, Host{}, true},
		"exec-host-mounts": {specs.Spec{Linux: &specs.Linux{Namespaces: made(specs.PIDNamespace)}}, Host{}, true},
		"exec-host-only":   {specs.Spec{Linux: &specs.Linux{Namespaces: made(specs.UTSNamespace)}}, Host{}, true},
		"exec-ordinary":    {specs.Spec{Linux: &specs.Linux{Namespaces: everything("")}}, Host{Euid: 1000}, true},
	} {
		s, err := Of(c.spec.Linux.Namespaces)
		if err == nil && !c.exec {
			s, err = New(&c.spec, Host{})
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		p := &plan.Plan{}
		if c.exec {
			var root plan.FD
			if !s.Has(specs.MountNamespace) {
				root = plan.Inherited("root")
			}
			s.Exec(p, plan.Inherited("container"), root, plan.Clone{PidFD: true}, c.host)
		} else {
			s.Before(p)
			s.Clone(p, plan.Clone{PidFD: true}, c.host)
			p.On(plan.Child)
			s.Enter(p, c.host)
		}
		golden(t, name, p)
	}
}

func golden(t *testing.T, name string, p *plan.Plan) {
	t.Helper()
	var got bytes.Buffer
	if err := print.Text(&got, p, print.Options{}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", name+".txt")
	if *update {
		os.MkdirAll("testdata", 0o755)
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("%s = \n%s\nwant\n%s", name, got.String(), want)
	}
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
		`{"linux": {"namespaces": [` + mnt + `], "timeOffsets": {"boottime": {"secs": 1}}}}`:                                                                                   `linux.timeOffsets: no new time namespace`,
		`{"linux": {"namespaces": [` + mnt + `, {"type": "time"}], "timeOffsets": {"x": {}}}}`:                                                                                 `linux.timeOffsets "x": want monotonic or boottime`,
		`{"linux": {"namespaces": [` + mnt + `, {"type": "time"}], "timeOffsets": {"boottime": {"nanosecs": 1000000000}}}}`:                                                    `linux.timeOffsets.boottime.nanosecs 1000000000: a second or more`,
		`{"linux": {"namespaces": [` + mnt + `], "uidMappings": [{"size": 1}]}}`:                                                                                               `linux.uidMappings: no user namespace to map ids in`,
		`{"linux": {"namespaces": [` + mnt + `, {"type": "user"}], "uidMappings": [{"size": 1}]}}`:                                                                             `linux.uidMappings: a new user namespace needs mappings of users and groups`,
		`{"linux": {"namespaces": [` + mnt + `, {"type": "user"}], "uidMappings": [{"size": 0}], "gidMappings": [{"size": 1}]}}`:                                               `linux.uidMappings[0].size 0: want 1 or more, and no id above 4294967294`,
		`{"linux": {"namespaces": [` + mnt + `, {"type": "user"}], "uidMappings": [{"size": 1}], "gidMappings": [{"hostID": 4294967295, "size": 1}]}}`:                         `linux.gidMappings[0].size 1: want 1 or more, and no id above 4294967294`,
		`{"linux": {"namespaces": [` + mnt + `, {"type": "user"}], "uidMappings": [{"size": 1}], "gidMappings": [{"size": 9}, {"containerID": 8, "hostID": 100, "size": 9}]}}`: `linux.gidMappings[1]: overlaps an earlier one`,
		`{"linux": {"namespaces": [` + mnt + `], "sysctl": {"kernel.core_pattern": "|/x"}}}`:                                                                                   `linux.sysctl "kernel.core_pattern": not of a namespace: it would change the host`,
		`{"linux": {"namespaces": [` + mnt + `, {"type": "network"}], "sysctl": {"net/../kernel/core_pattern": "|/x"}}}`:                                                       `linux.sysctl "net/../kernel/core_pattern": not a parameter`,
		`{"linux": {"namespaces": [` + mnt + `, {"type": "network"}], "sysctl": {"net/": "1"}}}`:                                                                               `linux.sysctl "net/": not a parameter`,
		`{"linux": {"namespaces": [` + mnt + `], "sysctl": {"net.ipv4.ip_forward": "1"}}}`:                                                                                     `linux.sysctl "net.ipv4.ip_forward": no network namespace: it would change the host`,
		`{"linux": {"namespaces": [` + mnt + `], "sysctl": {"kernel.shmmax": "1"}}}`:                                                                                           `linux.sysctl "kernel.shmmax": no ipc namespace: it would change the host`,
		`{"linux": {"namespaces": [` + mnt + `, {"type": "uts"}], "sysctl": {"kernel.hostname": "x"}}}`:                                                                        `linux.sysctl "kernel.hostname": not of a namespace: it would change the host`,
	} {
		var s specs.Spec
		if err := json.Unmarshal([]byte(spec), &s); err != nil {
			t.Fatalf("%s: %v", spec, err)
		}
		if set, err := New(&s, Host{}); err == nil || err.Error() != want || set != nil {
			t.Errorf("New(%s) = %v, %v; want %s", spec, set, err, want)
		}
	}
}

// TestTooManyMappings: the kernel's limit is told before it is met.
func TestTooManyMappings(t *testing.T) {
	var m []specs.LinuxIDMapping
	for n := range uint32(341) {
		m = append(m, specs.LinuxIDMapping{ContainerID: n, HostID: n, Size: 1})
	}
	spec := &specs.Spec{Linux: &specs.Linux{Namespaces: made(specs.MountNamespace, specs.UserNamespace), UIDMappings: m, GIDMappings: m[:340]}}
	if _, err := New(spec, Host{}); err == nil || err.Error() != "linux.uidMappings: 341 lines, of at most 340" {
		t.Errorf("New() = %v, want a refusal of 341 lines", err)
	}
}

// TestSysctls: both ways to write a name mean one file, in a fixed order.
func TestSysctls(t *testing.T) {
	s, err := New(&specs.Spec{Linux: &specs.Linux{Namespaces: everything("")[1:],
		Sysctl: map[string]string{"net.ipv4.ip_forward": "1", "net/ipv4/conf/eth0.100/forwarding": "2", "net.ipv4.conf.eth0/100.forwarding": "3", "fs.mqueue.msg_max": "4"}}}, Host{})
	if err != nil {
		t.Fatal(err)
	}
	want := "[{sys/fs/mqueue/msg_max 4} {sys/net/ipv4/conf/eth0.100/forwarding 3} {sys/net/ipv4/ip_forward 1} {sys/net/ipv4/conf/eth0.100/forwarding 2}]"
	if got := fmt.Sprint(s.Sysctls()); got != want {
		t.Errorf("Sysctls() = %s, want %s", got, want)
	}
}

// FuzzNew: no spec makes New or the recording panic, and what New takes, the
// plan takes, but for NUL bytes.
func FuzzNew(f *testing.F) {
	f.Add("mount", "", "user", "", "box", "net.ipv4.ip_forward", "boottime", uint32(0), uint32(1000), uint32(1), int64(5))
	f.Add("mount", "/proc/1/ns/mnt", "time", "", "", "kernel.core_pattern", "monotonic", uint32(1<<31), uint32(1<<31), uint32(1<<31), int64(-5))
	f.Add("mount", "", "foo", "x\x00y", "a\x00b", "../..", "", uint32(0), uint32(0), uint32(1<<32-1), int64(0))
	f.Fuzz(func(t *testing.T, type1, path1, type2, path2, hostname, sysctl, clock string, container, host, size uint32, secs int64) {
		m := []specs.LinuxIDMapping{{ContainerID: container, HostID: host, Size: size}}
		spec := &specs.Spec{Hostname: hostname, Linux: &specs.Linux{
			Namespaces:  []specs.LinuxNamespace{{Type: specs.LinuxNamespaceType(type1), Path: path1}, {Type: specs.LinuxNamespaceType(type2), Path: path2}},
			UIDMappings: m, GIDMappings: m, Sysctl: map[string]string{sysctl: "1"}, TimeOffsets: map[string]specs.LinuxTimeOffset{clock: {Secs: secs}}}}
		s, err := New(spec, Host{})
		if err != nil {
			return
		}
		for _, euid := range []int{0, 1000} {
			p := &plan.Plan{}
			s.Before(p)
			s.Clone(p, plan.Clone{}, Host{Euid: euid})
			p.On(plan.Child)
			s.Enter(p, Host{Euid: euid})
			if err := p.Err(); err != nil && !strings.ContainsRune(hostname+path1+path2, 0) {
				t.Errorf("recording: %v", err)
			}
		}
		for _, s := range s.Sysctls() {
			if clean := filepath.Clean(s.Path); clean != s.Path && clean+"/" != s.Path || !strings.HasPrefix(s.Path, "sys/") {
				t.Errorf("sysctl path %q", s.Path)
			}
		}
	})
}
