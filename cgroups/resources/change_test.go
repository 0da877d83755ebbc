package resources

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"minirun/cgroups"
	"minirun/examples/grouptest"
)

// update changes the limits of a group as the command does.
func update(t *testing.T, g *cgroups.Group, text string) error {
	t.Helper()
	list, err := Change(g, resources(t, text))
	if err != nil {
		return err
	}
	return grouptest.Update(g, list)
}

func TestUpdate(t *testing.T) {
	w := grouptest.NewWorld(t, slices.Concat(grouptest.Root("cpu memory pids", "cpu memory pids"), grouptest.Inner("web", "cpu memory pids", ""), []string{"web/memory.max: max", "web/pids.max: max", "web/memory.current: 4096"})...)
	g := w.Group(t, "/web")
	for _, test := range []struct{ resources, file, content, want string }{
		{`{"pids":{"limit":9}}`, "pids.max", "9", ""},
		{`{"memory":{"limit":-1}}`, "memory.max", "max", ""}, // and no memory.swap.max
		{`{"memory":{"limit":4096,"checkBeforeUpdate":true}}`, "memory.max", "max", "memory.limit 4096: 4096 bytes are in use"},
		{`{"memory":{"limit":4097,"checkBeforeUpdate":true}}`, "memory.max", "4097", ""},
		{`{"memory":{"limit":10,"checkBeforeUpdate":false}}`, "memory.max", "10", ""},
		{`{"cpu":{"shares":2}}`, "pids.max", "9", `step 2 (runtime): openat(<cgroup>, "cpu.weight", O_WRONLY|O_CLOEXEC) = <cpu.weight>: no such file or directory`},
		{`{}`, "pids.max", "9", ""},
		{`{"unified":{"pids.max":"8"}}`, "pids.max", "8", ""},
	} {
		err := update(t, g, test.resources)
		got, _ := os.ReadFile(filepath.Join(g.Dir, test.file))
		if w.Plain(fmt.Sprint(err)) != orElse(test.want, "<nil>") || !strings.HasPrefix(string(got), test.content) {
			t.Errorf("Update(%s) = %v, %s %q\nwant %s, %q", test.resources, err, test.file, got, test.want, test.content)
		}
	}
}

func orElse(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// TestUpdateKeeps: what the spec says in two properties and v2 in one line keeps
// the half that is not mentioned.
func TestUpdateKeeps(t *testing.T) {
	for _, test := range []struct{ before, resources, file, want string }{
		{"web/cpu.max: 50000 200000", `{"cpu":{"quota":80000}}`, "cpu.max", "80000 200000"},
		{"web/cpu.max: 50000 200000", `{"cpu":{"period":100000}}`, "cpu.max", "50000 100000"},
		{"web/cpu.max: max 200000", `{"cpu":{"period":100000}}`, "cpu.max", "max 100000"},
		{"web/cpu.max: 50000 200000", `{"cpu":{"quota":-1}}`, "cpu.max", "max 200000"},
		{"web/cpu.max: 50000 200000", `{"cpu":{"quota":1000,"period":2000}}`, "cpu.max", "1000 2000"},
		{"web/cpu.max: 50000 200000", `{"cpu":{"quota":0,"period":0}}`, "cpu.max", "50000 200000"},
		{"web/memory.max: 1000000", `{"memory":{"swap":3000000}}`, "memory.swap.max", "2000000"},
		{"web/memory.max: 1000000", `{"memory":{"swap":3000000,"limit":0}}`, "memory.swap.max", "2000000"},
		{"web/memory.max: 1000000", `{"memory":{"swap":-1}}`, "memory.swap.max", "max"},
		{"web/memory.max: 1000000", `{"memory":{"swap":3000000,"limit":2000000}}`, "memory.swap.max", "1000000"},
	} {
		w := grouptest.NewWorld(t, slices.Concat(grouptest.Root("cpu memory", "cpu memory"), grouptest.Inner("web", "cpu memory", ""), []string{"web/memory.swap.max: max", test.before})...)
		g := w.Group(t, "/web")
		err := update(t, g, test.resources)
		got, _ := os.ReadFile(filepath.Join(g.Dir, test.file))
		if first, _, _ := strings.Cut(string(got), "\n"); err != nil || first != test.want && !strings.HasPrefix(string(got), test.want) {
			t.Errorf("with %q, Update(%s) = %v, %s %q, want %q", test.before, test.resources, err, test.file, got, test.want)
		}
	}
	w := grouptest.NewWorld(t, slices.Concat(grouptest.Root("cpu memory", "cpu memory"), grouptest.Inner("web", "cpu memory", ""), []string{"web/memory.max: max"})...)
	if err := update(t, w.Group(t, "/web"), `{"memory":{"swap":3000000}}`); err == nil || !strings.Contains(err.Error(), "memory.limit is missing") {
		t.Errorf("Update(swap) without a limit = %v, want an error", err)
	}
	for _, broken := range []string{"", "5", "x 100000", "max y"} {
		w := grouptest.NewWorld(t, slices.Concat(grouptest.Root("cpu", "cpu"), grouptest.Inner("web", "cpu", ""), []string{"web/cpu.max: " + broken})...)
		if err := update(t, w.Group(t, "/web"), `{"cpu":{"quota":5000}}`); err == nil || !strings.Contains(err.Error(), "cpu.max") {
			t.Errorf("Update() with cpu.max %q = %v, want an error that names it", broken, err)
		}
	}
}

// TestBurst: the kernel allows no burst above the quota, so the order depends on
// which of the two is lower.
func TestBurst(t *testing.T) {
	for _, c := range []struct{ burst, resources, want string }{
		{"20000", `{"cpu":{"quota":10000,"period":100000,"burst":10000}}`, "cpu.max.burst 10000; cpu.max 10000 100000"},
		{"20000", `{"cpu":{"quota":50000,"period":100000,"burst":50000}}`, "cpu.max 50000 100000; cpu.max.burst 50000"},
		{"20000", `{"cpu":{"quota":-1,"period":100000,"burst":50000}}`, "cpu.max max 100000?; cpu.max.burst 50000"},
		{"20000", `{"unified":{"cpu.max":"10000","cpu.max.burst":"10000"}}`, "cpu.max.burst 10000; cpu.max 10000"},
		{"20000", `{"cpu":{"burst":10000}}`, "cpu.max.burst 10000"},
		{"", `{"cpu":{"quota":10000,"period":100000,"burst":10000}}`, "cpu.max 10000 100000; cpu.max.burst 10000"},
	} {
		files := grouptest.Inner("web", "cpu", "")
		if c.burst != "" {
			files = append(files, "web/cpu.max.burst: "+c.burst)
		}
		list, err := Change(grouptest.NewWorld(t, files...).Group(t, "/web"), resources(t, c.resources))
		if got := show(list); got != c.want || err != nil {
			t.Errorf("Change(%s) with a burst of %q = %s, %v, want %s", c.resources, c.burst, got, err, c.want)
		}
	}
}
