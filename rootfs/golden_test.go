package rootfs

import (
	"bytes"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"minirun/examples/leftovers"
	"minirun/plan"
	"minirun/plan/print"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

var update = flag.Bool("update", false, "write the golden files")

// tree is what the directories of the root directory have.
func tree(_, path string) ([]Entry, error) {
	switch path {
	case "/run":
		return []Entry{
			{Path: ".", Mode: fs.ModeDir | fs.ModeSticky | 0o777, GID: 5},
			{Path: "a", Mode: fs.ModeDir | 0o750, UID: 33, GID: 33},
			{Path: "a/file", Mode: 0o640, UID: 1001, Size: 12},
			{Path: "a/setuid", Mode: fs.ModeSetuid | 0o755},
			{Path: "link", Mode: fs.ModeSymlink | 0o777, GID: 7, Target: "../../etc/passwd"},
		}, nil
	case "/etc":
		return nil, fs.ErrPermission
	}
	return nil, nil
}

// fake is a host on which /srv/file is the only bind source that is no directory.
func fake() Host {
	return Host{Bundle: "/bundle", Mknod: true, OwnPID: true, OwnNS: true, IsDir: func(path string) bool { return path != "/srv/file" }, Tree: tree,
		Mapping: func(p *plan.Plan, uids, gids []specs.LinuxIDMapping) plan.FD { return plan.Inherited("id map") }}
}

func newSpec(mounts ...specs.Mount) *specs.Spec {
	return &specs.Spec{Root: &specs.Root{Path: "rootfs"}, Mounts: mounts, Linux: &specs.Linux{}}
}

func mapped(s *specs.Spec) *specs.Spec {
	s.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1000, Size: 10}}
	s.Linux.GIDMappings = s.Linux.UIDMappings
	return s
}

// TestGolden compares what each kind of mount, device, mask and root becomes.
func TestGolden(t *testing.T) {
	ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1000, Size: 10}}
	mode := os.FileMode(0o640)
	user := fake()
	user.Mknod = false
	shared := fake()
	shared.OwnNS = false
	joined := user
	joined.OwnPID = false
	long := strings.Repeat("x", 300)
	for name, c := range map[string]struct {
		spec *specs.Spec
		host Host
	}{
		"plain":   {newSpec(), fake()},
		"userns":  {newSpec(specs.Mount{Destination: "/dev", Type: "tmpfs", Source: "tmpfs"}), user},
		"no-proc": {newSpec(), joined},
		"file systems": {newSpec(
			specs.Mount{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "hidepid=2"}},
			specs.Mount{Destination: "/sys", Type: "sysfs", Options: []string{"ro", "rprivate"}},
			specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"relatime", "ro"}},
			specs.Mount{Destination: "/dev/mqueue", Type: "mqueue"},
			specs.Mount{Destination: "/a/deep/place", Type: "tmpfs", Options: []string{"size=1m", "noswap", "noatime", "nodiratime"}},
			specs.Mount{Destination: "relative", Type: "tmpfs"},
		), fake()},
		"binds": {newSpec(
			specs.Mount{Destination: "/data", Source: "/srv/data", Type: "bind", Options: []string{"rbind"}},
			specs.Mount{Destination: "/ro", Source: "/srv/data", Options: []string{"bind", "ro", "nosuid", "nodev", "noexec", "nosymfollow"}},
			specs.Mount{Destination: "/rro", Source: "/srv/data", Options: []string{"rbind", "rro", "rnosuid", "rnoatime"}},
			specs.Mount{Destination: "/rw", Source: "data", Options: []string{"bind", "ro", "rw", "suid", "strictatime"}},
			specs.Mount{Destination: "/etc/file", Source: "/srv/file", Options: []string{"bind", "rslave"}},
			specs.Mount{Destination: "/mapped", Source: "/srv/data", Options: []string{"rbind", "ridmap"}, UIDMappings: ids, GIDMappings: ids},
		), fake()},
		"propagation": {newSpec(
			specs.Mount{Destination: "/a", Source: "/srv/a", Options: []string{"bind", "shared"}},
			specs.Mount{Destination: "/b", Source: "/srv/b", Options: []string{"rbind", "rshared"}},
			specs.Mount{Destination: "/c", Source: "/srv/c", Options: []string{"bind", "unbindable"}},
		), fake()},
		"host's mounts": {newSpec(
			specs.Mount{Destination: "/proc", Type: "proc"},
			specs.Mount{Destination: "/data", Source: "/srv/data", Type: "bind", Options: []string{"rbind", "ro"}},
		), shared},
		"overlay": {newSpec(
			specs.Mount{Destination: "/", Type: "overlay", Source: "overlay", Options: []string{
				"lowerdir=/var/lib/x/layers/" + long + ":/var/lib/x/layers/b", "upperdir=/var/lib/x/c/upper", "workdir=/var/lib/x/c/work"}},
			specs.Mount{Destination: "/proc", Type: "proc"},
		), fake()},
		"copy up": {newSpec(
			specs.Mount{Destination: "/run", Type: "tmpfs", Options: []string{"tmpcopyup", "nosuid"}},
			specs.Mount{Destination: "/var/run", Type: "tmpfs", Options: []string{"tmpcopyup", "mode=700"}},
		), fake()},
		"copy up mapped": {mapped(newSpec(
			specs.Mount{Destination: "/run", Type: "tmpfs", Options: []string{"tmpcopyup", "mode=700", "uid=3", "gid=4"}},
		)), user},
		"devices": {newSpec(specs.Mount{Destination: "/dev", Type: "tmpfs"}), fake()},
		"masks":   {newSpec(specs.Mount{Destination: "/proc", Type: "proc"}), fake()},
	} {
		switch name {
		case "devices":
			one, two := uint32(1), uint32(2)
			c.spec.Linux.Devices = []specs.LinuxDevice{
				{Path: "/dev/null", Type: "c", Major: 1, Minor: 3, FileMode: &mode, UID: &one, GID: &two},
				{Path: "/dev/net/tun", Type: "c", Major: 10, Minor: 200},
				{Path: "/dev/disk", Type: "b", Major: 8}, {Path: "/run/pipe", Type: "p"}, {Path: "/dev/old", Type: "u", Major: 1, Minor: 5},
			}
		case "masks":
			c.spec.Linux.MaskedPaths = []string{"/proc/kcore", "proc/acpi"}
			c.spec.Linux.ReadonlyPaths = []string{"/proc/sys", "/proc/missing"}
			c.spec.Root.Readonly = true
			c.spec.Linux.RootfsPropagation = "rprivate"
		}
		t.Run(name, func(t *testing.T) {
			r, err := New(c.spec, c.host)
			if err != nil {
				t.Fatal(err)
			}
			p := &plan.Plan{}
			p.On(plan.Runtime)
			r.Before(p)
			p.On(plan.Child)
			r.Build(p)
			r.Proc(p)
			r.Finish(p)
			r.Enter(p)
			var b bytes.Buffer
			if err := print.Text(&b, p, print.Options{}); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", strings.NewReplacer(" ", "-", "'", "").Replace(name)+".txt")
			if *update {
				if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want, err := os.ReadFile(path); err != nil || b.String() != string(want) {
				t.Errorf("the plan is not that of %s (%v):\n%s", path, err, b.String())
			}
		})
	}
}

// TestRefused: what cannot become a file system is refused before anything is
// made, and the error names the property.
func TestRefused(t *testing.T) {
	ids := []specs.LinuxIDMapping{{HostID: 1, Size: 1}}
	for want, spec := range map[string]*specs.Spec{
		"root.path: missing":                              {Linux: &specs.Linux{}},
		`mounts[0] "": destination: missing`:              newSpec(specs.Mount{Type: "tmpfs"}),
		`mounts[0] "/x": source: missing`:                 newSpec(specs.Mount{Destination: "/x", Type: "bind"}),
		`mounts[0] "/x": option "tmpcopyup": only a tm`:   newSpec(specs.Mount{Destination: "/x", Type: "proc", Options: []string{"tmpcopyup"}}),
		`mounts[1] "/x/y": option "tmpcopyup": below`:     newSpec(specs.Mount{Destination: "/x", Type: "tmpfs"}, specs.Mount{Destination: "/x/y", Type: "tmpfs", Options: []string{"tmpcopyup"}}),
		`mounts[0] "/etc": option "tmpcopyup": permis`:    newSpec(specs.Mount{Destination: "/etc", Type: "tmpfs", Options: []string{"tmpcopyup"}}),
		`mounts[0] "/": type "tmpfs": the root can`:       newSpec(specs.Mount{Destination: "/", Type: "tmpfs"}),
		`mounts[0] "/..": destination: the root can`:      newSpec(specs.Mount{Destination: "/..", Source: "/y", Type: "bind"}),
		`mounts[0] "/": option "lowerdir=/a:b": not`:      newSpec(specs.Mount{Destination: "/", Type: "overlay", Options: []string{"lowerdir=/a:b"}}),
		`mounts[0] "/x": uidMappings: only a bind`:        newSpec(specs.Mount{Destination: "/x", Type: "tmpfs", UIDMappings: ids, GIDMappings: ids}),
		`mounts[0] "/x": uidMappings: an id-mapped`:       newSpec(specs.Mount{Destination: "/x", Source: "/y", Options: []string{"bind", "idmap"}}),
		`mounts[0] "/` + strings.Repeat("x", 99) + `": d`: newSpec(specs.Mount{Destination: "/" + strings.Repeat("x", 4095), Type: "tmpfs"}),
	} {
		if _, err := New(spec, fake()); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("New() = %v, want %s", err, want)
		}
	}
	spec := newSpec()
	spec.Linux.RootfsPropagation = "sideways"
	if _, err := New(spec, fake()); err == nil || err.Error() != `linux.rootfsPropagation "sideways": not a propagation` {
		t.Errorf("New() = %v, want a refusal of the propagation", err)
	}
	spec.Linux.RootfsPropagation = "private"
	overlay := newSpec(specs.Mount{Destination: "/", Type: "overlay", Options: []string{"lowerdir=/a:/b"}})
	for want, spec := range map[string]*specs.Spec{
		"linux.rootfsPropagation: no mount namespace: it would be the host's": spec,
		`mounts[0] "/": no mount namespace: it would be the host's`:           overlay,
	} {
		if _, err := New(spec, Host{Bundle: "/bundle"}); err == nil || err.Error() != want {
			t.Errorf("New() = %v, want %s", err, want)
		}
	}
	for want, d := range map[string]specs.LinuxDevice{
		`linux.devices[0].type "x": want c, b, u or p`:        {Path: "/dev/x", Type: "x"},
		`linux.devices[0].path: file name too long`:           {Path: "/" + strings.Repeat("x", 4095), Type: "c"},
		`linux.devices[0].path "dev/x": not an absolute path`: {Path: "dev/x", Type: "c"},
	} {
		spec := newSpec()
		spec.Linux.Devices = []specs.LinuxDevice{d}
		if _, err := New(spec, fake()); err == nil || err.Error() != want {
			t.Errorf("New() = %v, want %s", err, want)
		}
	}
}

// TestWarnings: options that a bind mount cannot have are left out, and told.
func TestWarnings(t *testing.T) {
	plain := specs.Mount{Destination: "/data", Source: "/srv", Options: []string{"bind", "ro"}}
	spoilt := plain
	spoilt.Options = []string{"mode=755", "bind", "ro", "size=1k"}
	var plans [2]bytes.Buffer
	for i, m := range []specs.Mount{plain, spoilt} {
		r, err := New(newSpec(m), fake())
		if err != nil {
			t.Fatal(err)
		}
		p := &plan.Plan{}
		p.On(plan.Child)
		r.Build(p)
		if err := print.Text(&plans[i], p, print.Options{}); err != nil {
			t.Fatal(err)
		}
		want := []string{`mounts[0] "/data": option "mode=755": a bind mount makes no file system that could have it: left out`,
			`mounts[0] "/data": option "size=1k": a bind mount makes no file system that could have it: left out`}
		if !slices.Equal(r.Warnings, want[:2*i]) {
			t.Errorf("Warnings = %q, want %q", r.Warnings, want[:2*i])
		}
	}
	if plans[0].String() != plans[1].String() {
		t.Errorf("with %q the plan is\n%s\nwant\n%s", spoilt.Options, plans[1].String(), plans[0].String())
	}
}

// FuzzMounts: whatever the options are, New refuses them or the plan prints.
func FuzzMounts(f *testing.F) {
	for _, seed := range []string{"bind,ro", "rbind,rro,rslave", "size=1m,noswap", "idmap", "ro\x00", "lowerdir=a:b,upperdir=c", "r", "=", "rr", ",,"} {
		f.Add("/x", "tmpfs", "/y", seed)
		f.Add("/", "overlay", "", seed)
		f.Add("..", "", "../..", seed)
	}
	f.Fuzz(func(t *testing.T, destination, fstype, source, options string) {
		spec := newSpec(specs.Mount{Destination: destination, Type: fstype, Source: source, Options: strings.Split(options, ",")})
		r, err := New(spec, fake())
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("New() = %q, more than one line", err)
			}
			return
		}
		p := &plan.Plan{}
		p.On(plan.Child)
		r.Build(p)
		r.Finish(p)
		r.Enter(p)
		var b bytes.Buffer
		if err := print.Text(&b, p, print.Options{}); err != nil || b.Len() == 0 {
			t.Errorf("Text() = %v", err)
		}
	})
}

// TestMain fails a package that leaves something behind.
func TestMain(m *testing.M) { os.Exit(leftovers.Guard(m.Run)) }
