package container_test

import (
	"minirun/plan/print"

	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"minirun/container"
	"minirun/container/config"
)

// unset are the properties that testdata/full/config.json leaves out, and why.
var unset = map[string]string{
	"Solaris": "another system", "Windows": "another system", "VM": "another system", "ZOS": "another system", "FreeBSD": "another system",
	"Process.CommandLine":                             "for Windows",
	"Process.User.Username":                           "for Windows",
	"Process.Scheduler.Priority":                      "0 is what goes with a deadline",
	"Linux.Resources.Network":                         "cgroup v1 only",
	"Linux.Resources.Memory.Kernel":                   "cgroup v1 only",
	"Linux.Resources.Memory.KernelTCP":                "cgroup v1 only",
	"Linux.Resources.Memory.Swappiness":               "cgroup v1 only",
	"Linux.Resources.Memory.DisableOOMKiller":         "cgroup v1 only",
	"Linux.Resources.Memory.UseHierarchy":             "cgroup v1 only",
	"Linux.Resources.CPU.RealtimeRuntime":             "cgroup v1 only",
	"Linux.Resources.CPU.RealtimePeriod":              "cgroup v1 only",
	"Linux.Resources.BlockIO.LeafWeight":              "cgroup v1 only",
	"Linux.Resources.BlockIO.WeightDevice.LeafWeight": "cgroup v1 only",
	"Linux.Personality.Flags":                         "there are none yet",
}

// TestEveryProperty: the plan of a spec with every property set, or a reason
// for one that is not. A property that a new runtime-spec brings fails here.
func TestEveryProperty(t *testing.T) {
	spec, _, err := config.Read("testdata/full")
	if err != nil {
		t.Fatal(err)
	}
	var missing, needless []string
	seen := map[string]bool{}
	walkProperties(reflect.ValueOf(*spec), "", seen)
	for path, set := range seen {
		switch {
		case !set && unset[path] == "":
			missing = append(missing, path)
		case set && unset[path] != "":
			needless = append(needless, path)
		}
	}
	slices.Sort(missing)
	if len(missing)+len(needless) > 0 {
		t.Errorf("testdata/full/config.json leaves out %v, and should %v", missing, needless)
	}
	group := fakeGroups(t)
	all := []byte("cpuset cpu io memory hugetlb pids rdma\n")
	if err := os.WriteFile(filepath.Join(group, "cgroup.controllers"), all, 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := container.PlanOn(container.FakeHost{Cgroup2: group, Resctrl: group + "/resctrl", Directories: []string{"/srv/data"}}, "/bundle", spec, container.Options{Wait: true})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "full", p, strings.NewReplacer(group+"/resctrl", "/sys/fs/resctrl", group, "/sys/fs/cgroup"))
	otherForms(t, p)
	var text bytes.Buffer
	if err := print.Text(&text, p, print.Options{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"docker-default", "container_t", "container_file_t", "sched_deadline=5000000", "ioprio_set", "set_mempolicy", "personality",
		"io.max", "hugetlb.2MB.max", "rdma.max", "memory.high", "cpuset.mems", "cpu.max.burst", "seccomp listener", "timens_offsets", "TIOCSWINSZ", "mon_groups"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the plan does not mention %s", want)
		}
	}
}

// walkProperties notes for each field whether it is set anywhere.
func walkProperties(v reflect.Value, path string, seen map[string]bool) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			walkProperties(v.Elem(), path, seen)
		}
	case reflect.Slice:
		for i := range v.Len() {
			walkProperties(v.Index(i), path, seen)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			walkProperties(v.MapIndex(key), path, seen)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			name := strings.TrimPrefix(path+"."+f.Name, ".")
			if f.Anonymous {
				name = path
			} else {
				seen[name] = seen[name] || !v.Field(i).IsZero()
			}
			walkProperties(v.Field(i), name, seen)
		}
	}
}
