package rootfs

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"minirun/examples/leftovers"
	"minirun/plan"
	"minirun/plan/print"
	"minirun/rootfs/rootfstest"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// host is all that New is told besides the spec.
type host struct {
	facts plan.Facts
	has   func(specs.LinuxNamespaceType) bool
}

var (
	own    = host{has: rootfstest.Has(specs.MountNamespace, specs.PIDNamespace)}
	user   = host{has: rootfstest.Has(specs.MountNamespace, specs.PIDNamespace, specs.UserNamespace)}
	joined = host{has: rootfstest.Has(specs.MountNamespace, specs.UserNamespace)}
)

// newRoot checks a spec on a host.
func newRoot(spec *specs.Spec, h host) (*Root, error) {
	return New(spec, h.facts, h.has, rootfstest.Bundle, rootfstest.IsDir)
}

// newSpec is a spec with these mounts.
var newSpec = rootfstest.Spec

// record records all of a root.
func record(p *plan.Plan, r *Root) {
	r.Open(p)
	r.Mounts(p)
	r.Devices(p)
	r.Proc(p)
	r.Masks(p)
	r.PivotRoot(p)
}

// TestGolden compares what each kind of mount, device, mask and root becomes.
func TestGolden(t *testing.T) {
	for name, c := range map[string]struct {
		spec *specs.Spec
		host host
	}{
		"plain":   {newSpec(), own},
		"userns":  {newSpec(specs.Mount{Destination: "/dev", Type: "tmpfs", Source: "tmpfs"}), user},
		"no-proc": {newSpec(), joined},
		"file systems": {newSpec(
			specs.Mount{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "hidepid=2"}},
			specs.Mount{Destination: "/sys", Type: "sysfs", Options: []string{"ro", "rprivate"}},
			specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"relatime", "ro"}},
			specs.Mount{Destination: "/dev/mqueue", Type: "mqueue"},
			specs.Mount{Destination: "/a/deep/place", Type: "tmpfs", Options: []string{"size=1m", "noswap", "noatime", "nodiratime"}},
			specs.Mount{Destination: "relative", Type: "tmpfs"},
		), own},
		"binds": {newSpec(
			specs.Mount{Destination: "/data", Source: "/srv/data", Type: "bind", Options: []string{"rbind"}},
			specs.Mount{Destination: "/ro", Source: "/srv/data", Options: []string{"bind", "ro", "nosuid", "nodev", "noexec", "nosymfollow"}},
			specs.Mount{Destination: "/rro", Source: "/srv/data", Options: []string{"rbind", "rro", "rnosuid", "rnoatime"}},
			specs.Mount{Destination: "/rw", Source: "data", Options: []string{"bind", "ro", "rw", "suid", "strictatime"}},
			specs.Mount{Destination: "/etc/file", Source: "/srv/file", Options: []string{"bind", "rslave"}},
		), own},
		"propagation": {newSpec(
			specs.Mount{Destination: "/a", Source: "/srv/a", Options: []string{"bind", "shared"}},
			specs.Mount{Destination: "/b", Source: "/srv/b", Options: []string{"rbind", "rshared"}},
			specs.Mount{Destination: "/c", Source: "/srv/c", Options: []string{"bind", "unbindable"}},
		), own},
		"peers": {newSpec(
			specs.Mount{Destination: "/proc", Type: "proc"},
			specs.Mount{Destination: "/a", Source: "/srv/a", Options: []string{"rbind", "rshared"}},
			specs.Mount{Destination: "/b", Source: "/srv/b", Options: []string{"bind", "rslave"}},
		), own},
		"user namespace": {newSpec(specs.Mount{Destination: "/data", Source: "/srv/data", Options: []string{"rbind", "ro"}}), user},
		"devices":        {newSpec(specs.Mount{Destination: "/dev", Type: "tmpfs"}), own},
		"masks":          {newSpec(specs.Mount{Destination: "/proc", Type: "proc"}), own},
	} {
		var extra []Device
		switch name {
		case "devices":
			extra = []Device{
				{Path: "/dev/null", Kind: unix.S_IFCHR, Major: 1, Minor: 3, Mode: 0o640, UID: 1, GID: 2},
				{Path: "/dev/net/tun", Kind: unix.S_IFCHR, Major: 10, Minor: 200, Mode: 0o666},
				{Path: "/dev/disk", Kind: unix.S_IFBLK, Major: 8, Mode: 0o666}, {Path: "/run/pipe", Kind: unix.S_IFIFO, Mode: 0o666},
				{Path: "/dev/old", Kind: unix.S_IFCHR, Major: 1, Minor: 5, Mode: 0o666},
			}
		case "peers":
			c.spec.Linux.RootfsPropagation = "rshared"
		case "masks":
			c.spec.Linux.MaskedPaths = []string{"/proc/kcore", "proc/acpi"}
			c.spec.Linux.ReadonlyPaths = []string{"/proc/sys", "/proc/missing"}
			c.spec.Root.Readonly = true
			c.spec.Linux.RootfsPropagation = "rprivate"
		}
		t.Run(name, func(t *testing.T) {
			r, err := newRoot(c.spec, c.host)
			if err != nil {
				t.Fatal(err)
			}
			r.Extra = extra
			p := &plan.Plan{}
			p.On(plan.Runtime)
			r.OpenSources(p)
			p.On(plan.Child)
			record(p, r)
			rootfstest.Golden(t, name, p)
		})
	}
}

// TestRefused: what cannot become a file system is refused before anything is
// made, and the error names the property.
func TestRefused(t *testing.T) {
	for want, spec := range map[string]*specs.Spec{
		"root.path: missing":                         {Linux: &specs.Linux{}},
		`mounts[0] "": destination: missing`:         newSpec(specs.Mount{Type: "tmpfs"}),
		`mounts[0] "/x": source: missing`:            newSpec(specs.Mount{Destination: "/x", Type: "bind"}),
		`mounts[0] "/": destination: the root can`:   newSpec(specs.Mount{Destination: "/", Type: "tmpfs"}),
		`mounts[0] "/..": destination: the root can`: newSpec(specs.Mount{Destination: "/..", Source: "/y", Type: "bind"}),
		`mounts[0] "/` + strings.Repeat("d/", 49) + `d": destination: more than 256 directories`: newSpec(specs.Mount{Destination: strings.Repeat("/d", 257), Type: "tmpfs"}),
		`mounts[0] "/` + strings.Repeat("x", 99) + `": d`:                                        newSpec(specs.Mount{Destination: "/" + strings.Repeat("x", 4095), Type: "tmpfs"}),
	} {
		if _, err := newRoot(spec, own); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("New() = %v, want %s", err, want)
		}
	}
	spec := newSpec()
	spec.Linux.RootfsPropagation = "sideways"
	if _, err := newRoot(spec, own); err == nil || err.Error() != `linux.rootfsPropagation "sideways": not a propagation` {
		t.Errorf("New() = %v, want a refusal of the propagation", err)
	}
}

// TestDeepGrows: each directory on the way to a mount point, a device or the working
// directory is opened by its path from the root: as many bytes as the square of the
// depth. So the depth is bounded, and twice as many make a plan at most twice as large.
func TestDeepGrows(t *testing.T) {
	size := func(n int) (bytes int) {
		spec, deep, extra := newSpec(), strings.Repeat("/d", 250), []Device(nil)
		for i := range n {
			spec.Mounts = append(spec.Mounts, specs.Mount{Destination: fmt.Sprint("/m", i, deep), Type: "tmpfs"})
			extra = append(extra, Device{Path: fmt.Sprint("/n", i, deep), Kind: unix.S_IFCHR})
		}
		r, err := newRoot(spec, own)
		if err != nil {
			t.Fatal(err)
		}
		r.Extra = extra
		p := &plan.Plan{}
		p.On(plan.Child)
		record(p, r)
		r.MakeDirectory(p, deep)
		for _, s := range p.Steps {
			for _, a := range s.Args {
				if text, ok := a.(plan.String); ok {
					bytes += len(text)
				}
			}
		}
		return bytes
	}
	if small, large := size(10), size(20); large > 2*small {
		t.Errorf("the strings of a plan with 10 mounts and devices are %d bytes, with 20 %d", small, large)
	}
}

// TestWarnings: options that a bind mount cannot have are left out, and told.
func TestWarnings(t *testing.T) {
	plain := specs.Mount{Destination: "/data", Source: "/srv", Options: []string{"bind", "ro"}}
	spoilt := plain
	spoilt.Options = []string{"mode=755", "bind", "ro", "size=1k"}
	var plans [2]bytes.Buffer
	for i, m := range []specs.Mount{plain, spoilt} {
		r, err := newRoot(newSpec(m), own)
		if err != nil {
			t.Fatal(err)
		}
		p := &plan.Plan{}
		p.On(plan.Child)
		record(p, r)
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
		r, err := newRoot(spec, own)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("New() = %q, more than one line", err)
			}
			return
		}
		p := &plan.Plan{}
		p.On(plan.Child)
		record(p, r)
		var b bytes.Buffer
		if err := print.Text(&b, p, print.Options{}); err != nil || b.Len() == 0 {
			t.Errorf("Text() = %v", err)
		}
	})
}

// TestMain fails a package that leaves something behind.
func TestMain(m *testing.M) { os.Exit(leftovers.Guard(m.Run)) }
