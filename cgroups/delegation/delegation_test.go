package delegation

import (
	"fmt"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"minirun/plan"
)

// TestNew: a group is given away only if the container can write to it as the root
// of its own namespace, and to nobody but its user.
func TestNew(t *testing.T) {
	own := specs.LinuxNamespace{Type: specs.CgroupNamespace}
	joined := specs.LinuxNamespace{Type: specs.CgroupNamespace, Path: "/proc/42/ns/cgroup"}
	same := func(id uint32) (uint32, bool) { return id, true }
	mapped := func(id uint32) (uint32, bool) { return 100000 + id, id < 10 }
	for name, c := range map[string]struct {
		namespace specs.LinuxNamespace
		options   []string
		uid       uint32
		toHost    func(uint32) (uint32, bool)
		want      string
	}{
		"root of a user namespace": {own, []string{"rw"}, 0, mapped, "100000 cgroup.procs"},
		"a user of it":             {own, nil, 9, mapped, "100009 cgroup.procs"},
		"a user without a map":     {own, nil, 33, same, "33 cgroup.procs"},
		"an id that is not mapped": {own, nil, 10, mapped, ""},
		"root":                     {own, nil, 0, same, ""},
		"read-only":                {own, []string{"ro"}, 0, mapped, ""},
		"read-only, recursively":   {own, []string{"rro"}, 0, mapped, ""},
		"another's namespace":      {joined, nil, 0, mapped, ""},
	} {
		spec := &specs.Spec{
			Process: &specs.Process{User: specs.User{UID: c.uid}},
			Mounts:  []specs.Mount{{Destination: "/sys/fs/cgroup", Type: "cgroup", Options: c.options}},
			Linux:   &specs.Linux{Namespaces: []specs.LinuxNamespace{c.namespace}},
		}
		d, err := New(spec, c.toHost, func() ([]string, error) { return []string{"cgroup.procs"}, nil })
		p := &plan.Plan{}
		d.Record(p, plan.Inherited("cgroup"))
		var got []string
		for i, s := range p.Steps {
			if i == 0 {
				got = append(got, fmt.Sprint(s.Args[2]))
			} else {
				got = append(got, fmt.Sprint(s.Args[1]))
			}
		}
		if strings.Join(got, " ") != c.want || err != nil {
			t.Errorf("%s: New() gives %v, %v, want %s", name, got, err, c.want)
		}
	}
}
