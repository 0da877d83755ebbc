package oom

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"minirun/cgroups"
	"minirun/examples/grouptest"
)

func TestMain(m *testing.M) { grouptest.Main(m) }

// limits are so low that "eat" reaches them.
var limits = []cgroups.Write{{File: "memory.swap.max", Value: "0", Optional: true}, {File: "memory.max", Value: "16777216"}}

// TestKilled: asked once, for a kill, for none, and where there is no group.
func TestKilled(t *testing.T) {
	w := grouptest.NewWorld(t, "web/memory.events: low 0\noom_kill 2", "idle/memory.events: max 9\noom_kill 0", "broken/memory.events: oom_kill x")
	for path, want := range map[string]bool{"/web": true, "/idle": false, "/gone": false} {
		if killed, err := Killed(w.Group(t, path)); killed != want || err != nil {
			t.Errorf("Killed(%s) = %v, %v, want %v", path, killed, err, want)
		}
	}
	if _, err := Killed(w.Group(t, "/broken")); err == nil {
		t.Error("Killed() of garbage = nil, want an error")
	}
	begin := time.Now()
	WaitForReaders(w.Group(t, "/web"))
	if waited := time.Since(begin); waited < 10*time.Millisecond {
		t.Errorf("WaitForReaders() after a kill takes %v, want the kernel's interval at least", waited)
	}
}

// TestReal: a kill by the kernel.
func TestReal(t *testing.T) {
	g := grouptest.Real(t, "memory")
	p := grouptest.Start(t, g, limits, "/proc/self/exe", "eat")
	if status, err := p.Wait(); status.Signal() != unix.SIGKILL {
		t.Errorf("Wait() = %v, %v, want a kill because of the limit", status, err)
	}
	if killed, err := Killed(g); !killed || err != nil {
		t.Errorf("Killed() = %v, %v, want true", killed, err)
	}
}

// TestWatch: kills since the last look count, those before do not; other
// events do not.
func TestWatch(t *testing.T) {
	w := grouptest.NewWorld(t, "web/memory.events: max 3\noom_kill 2")
	g := w.Group(t, "/web")
	watch, err := NewWatch(g)
	grouptest.Check(t, "NewWatch", err)
	defer watch.Close()
	for _, step := range []struct {
		events string
		want   bool
	}{{"max 3\noom_kill 2", false}, {"max 9\noom_kill 2", false}, {"max 9\noom_kill 3", true}, {"max 9\noom_kill 3", false}, {"max 9\noom_kill 8", true}} {
		grouptest.Check(t, "write", os.WriteFile(g.Dir+"/memory.events", []byte(step.events), 0o644))
		if got, err := watch.Killed(); got != step.want || err != nil {
			t.Errorf("Killed() after %q = %v, %v, want %v", step.events, got, err, step.want)
		}
	}
	grouptest.Check(t, "write", os.WriteFile(g.Dir+"/memory.events", []byte("max x"), 0o644))
	if _, err := watch.Killed(); err == nil {
		t.Error("Killed() of garbage = nil, want an error")
	}
	none, err := NewWatch(w.Group(t, "/without"))
	grouptest.Check(t, "NewWatch", err)
	defer none.Close()
	if killed, err := none.Killed(); killed || err != nil || none.FD() != -1 {
		t.Errorf("Killed() without a memory controller = %v, %v, FD() = %d", killed, err, none.FD())
	}
}

// TestPoll: the kernel tells of a kill at once, by poll(2).
func TestPoll(t *testing.T) {
	g := grouptest.Real(t, "memory")
	self, err := os.Executable()
	grouptest.Check(t, "Executable", err)
	grouptest.Start(t, g, limits, "/bin/sh", "-c", `sleep 1; exec "$0" eat`, self)
	watch, err := NewWatch(g)
	grouptest.Check(t, "NewWatch", err)
	defer watch.Close()
	fds := []unix.PollFd{{Fd: int32(watch.FD()), Events: unix.POLLPRI}}
	for end := time.Now().Add(30 * time.Second); ; {
		if n, err := unix.Poll(fds, 30_000); n == 0 || err != nil && err != unix.EINTR || time.Now().After(end) {
			t.Fatalf("poll = %d, %v, want the kernel to tell of a kill", n, err)
		}
		if killed, err := watch.Killed(); err != nil || killed {
			grouptest.Check(t, "Killed", err)
			return
		}
	}
}
