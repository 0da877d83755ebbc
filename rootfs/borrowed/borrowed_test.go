package borrowed

import (
	"errors"
	"fmt"
	"testing"

	"minirun/plan"
	"minirun/rootfs"
	"minirun/rootfs/rootfstest"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestNew: what may be mounted stays, the others become copies of the host's.
func TestNew(t *testing.T) {
	mounts := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc"},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"ro"}},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nsdelegate"}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue"},
		{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs"},
	}
	kinds := map[specs.LinuxNamespaceType]int{"pid": 0, "network": 1, "cgroup": 2, "ipc": 3}
	sources := []string{"/proc", "/sys", "/groups", "/dev/mqueue", ""}
	for missing, at := range kinds {
		spec := rootfstest.Spec(mounts...)
		r, err := rootfs.New(spec, plan.Facts{}, rootfstest.Has(), rootfstest.Bundle, rootfstest.IsDir)
		if err != nil {
			t.Fatal(err)
		}
		owns := func(kind specs.LinuxNamespaceType) bool { return kind != missing }
		if err := New(r, owns, func() (string, error) { return "/groups", nil }); err != nil {
			t.Fatal(err)
		}
		for i, m := range r.All() {
			borrowed := i == at
			if (m.Type == "") != borrowed || borrowed && (m.Source != sources[i] || !m.Recursive || m.Options != nil || m.Change == nil) {
				t.Errorf("without %s: mount %s is of type %q, source %q", missing, m.Destination, m.Type, m.Source)
			}
		}
		none := fmt.Errorf("no cgroup2: %w", errors.ErrUnsupported)
		r, _ = rootfs.New(spec, plan.Facts{}, rootfstest.Has(), rootfstest.Bundle, rootfstest.IsDir)
		if err := New(r, owns, func() (string, error) { return "", none }); missing == "cgroup" && !errors.Is(err, none) {
			t.Errorf("New() = %v, want %v", err, none)
		}
	}
}
