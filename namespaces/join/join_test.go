package join

import (
	"flag"
	"testing"

	"minirun/examples/nstest"
	"minirun/namespaces"
	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

var update = flag.Bool("update", false, "write the golden files")

// record is what package container records of a container that joins.
func record(t *testing.T, set *namespaces.Set, c plan.Clone, facts plan.Facts) (*plan.Plan, *Joins) {
	t.Helper()
	j, err := New(set, facts)
	if err != nil || j == nil {
		t.Fatalf("New() = %v, %v; want something to join", j, err)
	}
	p := &plan.Plan{}
	j.Open(p)
	j.Clone(p, j.set, c)
	p.On(plan.Child)
	j.Enter(p)
	set.SetUp(p)
	return p, j
}

// TestPlan compares the recorded steps with golden files.
func TestPlan(t *testing.T) {
	all := nstest.All("/proc/42/ns/")
	for name, c := range map[string]struct {
		list  []specs.LinuxNamespace
		facts plan.Facts
	}{
		"joined":          {all[1:], plan.Facts{}},
		"joined-user":     {append(nstest.Made(specs.MountNamespace), all[:3]...), plan.Facts{}},
		"joined-ordinary": {append(nstest.Made(specs.MountNamespace), all[:3]...), plan.Facts{Euid: 1000}},
		"joined-confined": {append(nstest.Made(specs.MountNamespace), all[1:3]...), plan.Facts{Confined: true}},
	} {
		set, err := namespaces.New(&specs.Spec{Linux: &specs.Linux{Namespaces: c.list}}, c.facts, nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		p, _ := record(t, set, plan.Clone{PidFD: true}, c.facts)
		nstest.Golden(t, name, p, *update)
	}
}

// TestExecPlan is the same for one more process in a running container.
func TestExecPlan(t *testing.T) {
	all := nstest.All("")
	for name, c := range map[string]struct {
		list  []specs.LinuxNamespace
		facts plan.Facts
	}{
		"exec":             {all[1:], plan.Facts{}},
		"exec-user":        {all, plan.Facts{}},
		"exec-host-mounts": {nstest.Made(specs.PIDNamespace), plan.Facts{}},
		"exec-host-only":   {nstest.Made(specs.UTSNamespace), plan.Facts{}},
		"exec-ordinary":    {all, plan.Facts{Euid: 1000}},
	} {
		set, err := namespaces.List(c.list)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var root plan.FD
		if !set.Has(specs.MountNamespace) {
			root = plan.Inherited("root")
		}
		p := &plan.Plan{}
		Exec(p, set, plan.Inherited("container"), root, plan.Clone{PidFD: true}, c.facts)
		nstest.Golden(t, name, p, *update)
	}
}

// TestNothing: without a path there is nothing to join, and a nil Joins records
// no step.
func TestNothing(t *testing.T) {
	set, err := namespaces.List(nstest.All(""))
	if err != nil {
		t.Fatal(err)
	}
	j, err := New(set, plan.Facts{Confined: true})
	p := &plan.Plan{}
	j.Open(p)
	j.Enter(p)
	if j != nil || err != nil || len(p.Steps) != 0 || j.Indirectly() {
		t.Errorf("New() = %v, %v, with %d steps; want none", j, err, len(p.Steps))
	}
}
