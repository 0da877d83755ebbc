package detached

import (
	"os"
	"testing"

	"minirun/examples/leftovers"
	"minirun/plan"
	"minirun/rootfs"
	"minirun/rootfs/rootfstest"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func newRoot(t *testing.T, spec *specs.Spec) *rootfs.Root {
	t.Helper()
	r, err := rootfs.New(spec, plan.Facts{}, rootfstest.Has(specs.PIDNamespace), rootfstest.Bundle, rootfstest.IsDir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestGolden: nothing is attached to the host's mounts.
func TestGolden(t *testing.T) {
	spec := rootfstest.Spec(
		specs.Mount{Destination: "/proc", Type: "proc"},
		specs.Mount{Destination: "/data", Source: "/srv/data", Type: "bind", Options: []string{"rbind", "ro"}},
	)
	root := newRoot(t, spec)
	r, err := New(spec, root, false)
	if err != nil {
		t.Fatal(err)
	}
	rootfstest.Golden(t, "hosts-mounts", rootfstest.Inside(root, r.Open, r.Chroot))
}

// TestRefused: what would change the host's mounts.
func TestRefused(t *testing.T) {
	propagation := rootfstest.Spec()
	propagation.Linux.RootfsPropagation = "private"
	for want, spec := range map[string]*specs.Spec{
		"linux.rootfsPropagation: no mount namespace: it would be the host's": propagation,
		`mounts[0] "/": no mount namespace: it would be the host's`:           rootfstest.Spec(specs.Mount{Destination: "/", Type: "overlay", Options: []string{"lowerdir=/a:/b"}}),
	} {
		if _, err := New(spec, newRoot(t, spec), false); err == nil || err.Error() != want {
			t.Errorf("New() = %v, want %s", err, want)
		}
	}
}

// TestMain fails a package that leaves something behind.
func TestMain(m *testing.M) { os.Exit(leftovers.Guard(m.Run)) }
