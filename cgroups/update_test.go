package cgroups

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

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
		w := newWorld(t, join(root("cpu memory", "cpu memory"), inner("web", "cpu memory", ""), []string{"web/memory.swap.max: max", test.before})...)
		g := w.group(t, "/web")
		err := g.Update(resources(t, test.resources))
		got, _ := os.ReadFile(filepath.Join(g.Dir, test.file))
		if first, _, _ := strings.Cut(string(got), "\n"); err != nil || first != test.want && !strings.HasPrefix(string(got), test.want) {
			t.Errorf("with %q, Update(%s) = %v, %s %q, want %q", test.before, test.resources, err, test.file, got, test.want)
		}
	}
	w := newWorld(t, join(root("cpu memory", "cpu memory"), inner("web", "cpu memory", ""), []string{"web/memory.max: max"})...)
	if err := w.group(t, "/web").Update(resources(t, `{"memory":{"swap":3000000}}`)); err == nil || !strings.Contains(err.Error(), "memory.limit is missing") {
		t.Errorf("Update(swap) without a limit = %v, want an error", err)
	}
	for _, broken := range []string{"", "5", "x 100000", "max y"} {
		w := newWorld(t, join(root("cpu", "cpu"), inner("web", "cpu", ""), []string{"web/cpu.max: " + broken})...)
		if err := w.group(t, "/web").Update(resources(t, `{"cpu":{"quota":5000}}`)); err == nil || !strings.Contains(err.Error(), "cpu.max") {
			t.Errorf("Update() with cpu.max %q = %v, want an error that names it", broken, err)
		}
	}
}

// TestOOMWatch: kills since the last look count, those before do not; other
// events do not.
func TestOOMWatch(t *testing.T) {
	w := newWorld(t, "web/memory.events: max 3\noom_kill 2")
	g := w.group(t, "/web")
	watch, err := g.WatchOOM()
	check(t, "WatchOOM", err)
	defer watch.Close()
	for _, step := range []struct {
		events string
		want   bool
	}{{"max 3\noom_kill 2", false}, {"max 9\noom_kill 2", false}, {"max 9\noom_kill 3", true}, {"max 9\noom_kill 3", false}, {"max 9\noom_kill 8", true}} {
		check(t, "write", writeFile(g.Dir, "memory.events", step.events))
		if got, err := watch.Killed(); got != step.want || err != nil {
			t.Errorf("Killed() after %q = %v, %v, want %v", step.events, got, err, step.want)
		}
	}
	check(t, "write", writeFile(g.Dir, "memory.events", "max x"))
	if _, err := watch.Killed(); err == nil {
		t.Error("Killed() of garbage = nil, want an error")
	}
	none, err := w.group(t, "/without").WatchOOM()
	check(t, "WatchOOM", err)
	defer none.Close()
	if killed, err := none.Killed(); killed || err != nil || none.FD() != -1 {
		t.Errorf("Killed() without a memory controller = %v, %v, FD() = %d", killed, err, none.FD())
	}
}

// TestOOMTold: the kernel tells of a kill at once, by poll(2).
func TestOOMTold(t *testing.T) {
	g := real(t, "memory")
	self, err := os.Executable()
	check(t, "Executable", err)
	start(t, g, resources(t, `{"memory":{"limit":16777216,"swap":16777216}}`), "/bin/sh", "-c", `sleep 1; exec "$0" eat`, self)
	watch, err := g.WatchOOM()
	check(t, "WatchOOM", err)
	defer watch.Close()
	fds := []unix.PollFd{{Fd: int32(watch.FD()), Events: unix.POLLPRI}}
	for end := time.Now().Add(30 * time.Second); ; {
		if n, err := unix.Poll(fds, 30_000); n == 0 || err != nil && err != unix.EINTR || time.Now().After(end) {
			t.Fatalf("poll = %d, %v, want the kernel to tell of a kill", n, err)
		}
		if killed, err := watch.Killed(); err != nil || killed {
			check(t, "Killed", err)
			return
		}
	}
}
