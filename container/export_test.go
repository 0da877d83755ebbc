package container

import (
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"minirun/cgroups"
	"minirun/cgroups/owner"
	"minirun/container/host"
	"minirun/container/stdio"
	"minirun/plan"
	"minirun/rootfs/below"
	"minirun/rootfs/copyup"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// What the tests in package container_test, which may import package bundle,
// need of the inside.

// A Box is a container that runs, for tests of the rooms below this one that are
// about a container.
type Box struct {
	*Container
	Process *plan.Process
	Root    Root
	Spec    *specs.Spec
}

// StartBox makes a container whose program carries out commands, after change has
// changed its spec. It is removed when the test ends.
func StartBox(t testing.TB, o Options, change func(*specs.Spec), commands ...string) Box {
	t.Helper()
	needRoot(t)
	b := newBox(t, commands...)
	if change != nil {
		change(b.Spec)
	}
	c, p, err := b.start(o)
	must(t, err)
	return Box{c, p, b.root, b.Spec}
}

// A FakeHost is all that a plan depends on besides the spec.
type FakeHost struct {
	Euid        int
	Directories []string // bind sources that are directories
	Cgroup2     string   // where cgroup2 is mounted
	Resctrl     string   // where resctrl is mounted
	Null        bool     // standard input is the null device
}

// PlanOn writes the plan that New would carry out on that host.
func PlanOn(h FakeHost, bundle string, spec *specs.Spec, o Options) (*plan.Plan, error) {
	b := newBuilder(&Container{dir: "/run/minirun/box", State: State{ID: "box", Mark: owner.Printed}}, bundle, spec, o)
	b.facts = plan.Facts{Euid: h.Euid}
	b.host = host.Host{
		IsDir: func(path string) bool {
			return slices.ContainsFunc(h.Directories, func(dir string) bool { return path == filepath.Clean(dir) })
		},
		Tree:        func(string, string) ([]copyup.Entry, error) { return nil, nil },
		Below:       func(_ []string, path string) below.Place { return below.Place{Path: path} },
		SourceFlags: func(string) int64 { return 0 },
		Cgroup2:     func() (string, error) { return h.Cgroup2, nil },
		Stdio: func(fd int) stdio.Kind {
			if h.Null && fd == 0 {
				return stdio.Null
			}
			return stdio.Other
		},
		Grants:    func() (uint64, error) { return 1<<unix.CAP_LAST_CAP<<1 - 1, nil },
		Delegated: func() ([]string, error) { return []string{"cgroup.procs", "cgroup.threads"}, nil },
		Resctrl:   func() (string, error) { return h.Resctrl, nil },
		Hierarchy: func() (*cgroups.Hierarchy, error) { return &cgroups.Hierarchy{Mount: h.Cgroup2, Own: "/own"}, nil },
		Systemd: func(user bool) (string, error) {
			if user {
				return "/user.slice/user@1000.service", nil
			}
			return "/", nil
		},
	}
	if err := b.check(); err != nil {
		return nil, err
	}
	return b.plan()
}
