// Package rootfstest is for the tests of package rootfs and of the rooms below it:
// a made-up host, and golden files of plans.
package rootfstest

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"minirun/plan"
	"minirun/plan/print"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

var update = flag.Bool("update", false, "write the golden files")

// Bundle is where relative paths of a spec start.
const Bundle = "/bundle"

// IsDir says that /srv/file is the only source of a bind mount that is no directory.
func IsDir(path string) bool { return path != "/srv/file" }

// Has says of these kinds of namespaces that the container has them.
func Has(kinds ...specs.LinuxNamespaceType) func(specs.LinuxNamespaceType) bool {
	return func(kind specs.LinuxNamespaceType) bool { return slices.Contains(kinds, kind) }
}

// Spec is a spec with these mounts.
func Spec(mounts ...specs.Mount) *specs.Spec {
	return &specs.Spec{Root: &specs.Root{Path: "rootfs"}, Mounts: mounts, Linux: &specs.Linux{}}
}

// Map is a map of ten ids for the user namespace of a spec.
var Map = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1000, Size: 10}}

// Mapped is a spec with a user namespace.
func Mapped(s *specs.Spec) *specs.Spec {
	s.Linux.UIDMappings, s.Linux.GIDMappings = Map, Map
	return s
}

// A Root is a [minirun/rootfs.Root], which this package cannot import.
type Root interface {
	Mounts(*plan.Plan)
	Devices(*plan.Plan)
	Proc(*plan.Plan) plan.FD
	Masks(*plan.Plan)
}

// Inside is what a child does with a root directory: open opens it, and enter makes it the
// child's own.
func Inside(root Root, open, enter func(*plan.Plan)) *plan.Plan {
	p := &plan.Plan{}
	p.On(plan.Child)
	open(p)
	root.Mounts(p)
	root.Devices(p)
	root.Proc(p)
	root.Masks(p)
	enter(p)
	return p
}

// Golden compares a printed plan with testdata/name.txt.
func Golden(t *testing.T, name string, p *plan.Plan) {
	t.Helper()
	var b bytes.Buffer
	if err := print.Text(&b, p, print.Options{}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", strings.ReplaceAll(name, " ", "-")+".txt")
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(path); err != nil || b.String() != string(want) {
		t.Errorf("the plan is not that of %s (%v):\n%s", path, err, b.String())
	}
}
