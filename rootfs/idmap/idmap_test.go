package idmap

import (
	"os"
	"strings"
	"testing"

	"minirun/examples/leftovers"
	"minirun/plan"
	"minirun/rootfs"
	"minirun/rootfs/rootfstest"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func newRoot(t *testing.T, spec *specs.Spec) *rootfs.Root {
	t.Helper()
	has := rootfstest.Has(specs.MountNamespace, specs.PIDNamespace)
	r, err := rootfs.New(spec, plan.Facts{}, has, rootfstest.Bundle, rootfstest.IsDir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func mapping(p *plan.Plan, uids, gids []specs.LinuxIDMapping) plan.FD {
	return plan.Inherited("id map")
}

// TestGolden: by a mount's own maps, and by those of the user namespace.
func TestGolden(t *testing.T) {
	spec := rootfstest.Mapped(rootfstest.Spec(
		specs.Mount{Destination: "/plain", Source: "/srv/data", Options: []string{"bind"}},
		specs.Mount{Destination: "/mapped", Source: "/srv/data", Options: []string{"rbind", "ridmap"}, UIDMappings: rootfstest.Map, GIDMappings: rootfstest.Map},
		specs.Mount{Destination: "/like", Source: "/srv/data", Options: []string{"bind", "idmap", "ro"}},
	))
	root := newRoot(t, spec)
	list, err := New(spec, root)
	if err != nil {
		t.Fatal(err)
	}
	p := &plan.Plan{}
	p.On(plan.Runtime)
	list.Record(p, root, mapping)
	p.On(plan.Child)
	root.Open(p)
	root.Mounts(p)
	rootfstest.Golden(t, "mapped", p)
}

// TestJoined: of a user namespace that is joined, the namespace itself has the maps,
// whether the spec repeats them or not. A mount's own maps come first.
func TestJoined(t *testing.T) {
	for _, given := range []bool{false, true} {
		spec := rootfstest.Spec(
			specs.Mount{Destination: "/like", Source: "/srv/data", Options: []string{"bind", "idmap"}},
			specs.Mount{Destination: "/mapped", Source: "/srv/data", Options: []string{"bind"}, UIDMappings: rootfstest.Map, GIDMappings: rootfstest.Map},
		)
		if given {
			spec = rootfstest.Mapped(spec)
		}
		spec.Linux.Namespaces = []specs.LinuxNamespace{{Type: specs.MountNamespace}, {Type: specs.UserNamespace, Path: "/proc/42/ns/user"}}
		root := newRoot(t, spec)
		list, err := New(spec, root)
		if err != nil {
			t.Fatal(err)
		}
		p := &plan.Plan{}
		list.Record(p, root, mapping)
		var from []string
		for _, s := range p.Steps {
			if s.Call == "openat" || strings.Contains(s.String(), "id map") {
				from = append(from, s.String())
			}
		}
		if got, want := from[0], `openat "/proc/42/ns/user"`; got != want || len(list) != 2 || len(from) != 1 {
			t.Errorf("maps given %t: %q, want %s alone", given, from, want)
		}
	}
}

// TestRefused: what cannot be mapped, and how that is said.
func TestRefused(t *testing.T) {
	for want, spec := range map[string]*specs.Spec{
		`mounts[0] "/x": uidMappings: only a bind`:  rootfstest.Spec(specs.Mount{Destination: "/x", Type: "tmpfs", UIDMappings: rootfstest.Map, GIDMappings: rootfstest.Map}),
		`mounts[0] "/x": uidMappings: an id-mapped`: rootfstest.Spec(specs.Mount{Destination: "/x", Source: "/y", Options: []string{"bind", "idmap"}}),
	} {
		if _, err := New(spec, newRoot(t, spec)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("New() = %v, want %s", err, want)
		}
	}
	if list, err := New(rootfstest.Spec(), nil); list != nil || err != nil {
		t.Errorf("New() = %v, %v; want nothing", list, err)
	}
}

// TestMain fails a package that leaves something behind.
func TestMain(m *testing.M) { os.Exit(leftovers.Guard(m.Run)) }
