package container

import (
	"io"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"

	"minirun/cgroups"
	"minirun/plan"
	"minirun/rootfs"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// What the tests in package container_test, which may import package bundle,
// need of the inside.

// A FakeHost is all that a plan depends on besides the spec.
type FakeHost struct {
	Euid        int
	Directories []string // bind sources that are directories
	Cgroup2     string   // where cgroup2 is mounted
	Resctrl     string   // where resctrl is mounted
}

// PlanOn writes the plan that New would carry out on that host.
func PlanOn(h FakeHost, bundle string, spec *specs.Spec, o Options) (*plan.Plan, error) {
	b := &builder{
		Container: &Container{dir: "/run/minirun/box", State: State{ID: "box", Bundle: bundle, Hooks: spec.Hooks}},
		spec:      spec,
		options:   o,
		host: host{
			euid:   h.Euid,
			bundle: bundle,
			isDir: func(path string) bool {
				for _, dir := range h.Directories {
					if path == filepath.Clean(dir) {
						return true
					}
				}
				return false
			},
			tree:      func(string, string) ([]rootfs.Entry, error) { return nil, nil },
			isPipe:    func(int) bool { return false },
			passwd:    func(string) (io.ReadCloser, error) { return nil, fs.ErrNotExist },
			grants:    func() (uint64, error) { return 1<<unix.CAP_LAST_CAP<<1 - 1, nil },
			delegated: func() ([]string, error) { return []string{"cgroup.procs", "cgroup.threads"}, nil },
			shares:    func() (string, error) { return h.Resctrl, nil },
			groups:    func() (*cgroups.Hierarchy, error) { return &cgroups.Hierarchy{Mount: h.Cgroup2, Own: "/own"}, nil },
			units: func(user bool) (string, error) {
				if user {
					return "/user.slice/user@1000.service", nil
				}
				return "/", nil
			},
		},
	}
	if err := b.check(); err != nil {
		return nil, err
	}
	return b.plan()
}
