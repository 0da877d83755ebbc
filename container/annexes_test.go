package container_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"minirun/cgroups"
	"minirun/cgroups/stats"
	"minirun/container"
	"minirun/container/events"
	"minirun/container/freezer"
	"minirun/container/processes"
	limits "minirun/container/update"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Tests of the rooms below this one that are about a container that runs.

// needControllers skips a test where cgroup v2 lacks controllers; a kernel of
// our own has them.
func needControllers(t testing.TB, names ...string) {
	t.Helper()
	h, err := cgroups.Find()
	must(t, err)
	have, err := os.ReadFile(filepath.Join(h.Mount, "cgroup.controllers"))
	must(t, err)
	for _, name := range names {
		if slices.Contains(strings.Fields(string(have)), name) {
			continue
		}
		if os.Getenv("MINIRUN_KERNEL") == "own" {
			t.Fatalf("needs the %s controller, which our own kernel should have", name)
		}
		t.Skipf("needs the %s controller in cgroup v2 (examples/kernel/run has it)", name)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func limitIs(t testing.TB, c container.Box, file, want string) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(c.Cgroup, file))
	if strings.TrimSpace(string(got)) != want {
		t.Errorf("%s = %q, %v, want %q", file, got, err, want)
	}
}

// TestUpdate: limits of a container change one by one; memory and swap together
// keep their sum.
func TestUpdate(t *testing.T) {
	needControllers(t, "memory", "cpu", "pids")
	const mb = 1 << 20
	b := container.StartBox(t, container.Options{}, func(s *specs.Spec) {
		s.Linux.Resources = &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: new(int64(50 * mb)), Swap: new(int64(90 * mb))}}
	}, "sleep")
	c, err := b.Root.Lock(b.ID)
	must(t, err)
	defer c.Unlock()
	limitIs(t, b, "memory.swap.max", fmt.Sprint(40*mb))
	for _, step := range []struct {
		r     specs.LinuxResources
		limit map[string]string
		fails string
	}{
		{specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: new(int64(60 * mb))}}, map[string]string{"memory.max": "62914560", "memory.swap.max": "31457280"}, ""},
		{specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: new(int64(100 * mb))}}, map[string]string{"memory.max": "62914560"}, "memory.swap 94371840: is memory and swap together, but less than memory.limit 104857600"},
		{specs.LinuxResources{Memory: &specs.LinuxMemory{Swap: new(int64(70 * mb))}}, map[string]string{"memory.max": "62914560", "memory.swap.max": "10485760"}, ""},
		{specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: new(int64(65 * mb))}}, map[string]string{"memory.swap.max": "5242880"}, ""},
		{specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: new(int64(20000)), Shares: new(uint64(1024))}, Pids: &specs.LinuxPids{Limit: new(int64(7))}}, map[string]string{"cpu.max": "20000 100000", "cpu.weight": "100", "pids.max": "7", "memory.max": "68157440"}, ""},
		{specs.LinuxResources{CPU: &specs.LinuxCPU{Period: new(uint64(50000))}}, map[string]string{"cpu.max": "20000 50000"}, ""},
		{specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: new(int64(-1))}}, map[string]string{"memory.max": "max", "memory.swap.max": "max", "pids.max": "7"}, ""},
		{specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: new(int64(80 * mb))}}, map[string]string{"memory.max": "83886080", "memory.swap.max": "max"}, ""},
		{specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: true}}}, map[string]string{"pids.max": "7"}, ""},
		{specs.LinuxResources{Memory: &specs.LinuxMemory{Swappiness: new(uint64(3))}}, nil, "cgroup v2 has no such control"},
	} {
		err := limits.Resources(c, &step.r)
		if (err == nil) != (step.fails == "") || err != nil && !strings.Contains(err.Error(), step.fails) {
			t.Errorf("Resources(%+v) = %v, want %q", step.r, err, step.fails)
		}
		for file, want := range step.limit {
			limitIs(t, b, file, want)
		}
	}
	must(t, c.Kill(unix.SIGKILL, false))
	c.Wait(0)
	if err := limits.Resources(c, &specs.LinuxResources{}); !errors.Is(err, container.ErrNotRunning) {
		t.Errorf("Resources() of a stopped container = %v, want %v", err, container.ErrNotRunning)
	}
}

// TestWatch: numbers at each interval, and the end.
func TestWatch(t *testing.T) {
	c := container.StartBox(t, container.Options{}, nil, "sleep")
	count := 0
	err := events.Watch(c.Container, 10*time.Millisecond, func(s *stats.Stats) error {
		if count++; count == 3 { // once: it takes a moment to end
			return c.Kill(unix.SIGKILL, false)
		}
		return nil
	}, func() error { return errors.New("nobody wants so much memory") })
	if err != nil || count < 3 {
		t.Errorf("Watch() = %v after %d times, want nil after 3", err, count)
	}
	if _, err := events.Stats(c.Container); !errors.Is(err, container.ErrNotRunning) {
		t.Errorf("Stats() of a stopped container = %v, want %v", err, container.ErrNotRunning)
	}
	if err := events.Watch(c.Container, time.Second, nil, nil); !errors.Is(err, container.ErrNotRunning) {
		t.Errorf("Watch() of a stopped container = %v, want %v", err, container.ErrNotRunning)
	}
	if events.OOMKilled(c.Container) {
		t.Error("OOMKilled() = true after a SIGKILL of ours")
	}
}

// TestWatchOOM: a kill for lack of memory is told, long before the next numbers,
// and even if it is the container's end.
func TestWatchOOM(t *testing.T) {
	needControllers(t, "memory")
	c := container.StartBox(t, container.Options{Wait: true}, func(s *specs.Spec) {
		s.Linux.Resources = &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: new(int64(32 << 20)), Swap: new(int64(32 << 20))}}
	}, "cat /dev/null", "eat 100", "sleep")
	started := make(chan error, 1)
	time.AfterFunc(100*time.Millisecond, func() {
		again, err := c.Root.Load(c.ID)
		started <- errors.Join(err, again.Start())
	})
	ooms := 0
	err := events.Watch(c.Container, time.Hour, func(*stats.Stats) error { return errors.New("an hour has passed") }, func() error { ooms++; return nil })
	if err != nil || ooms != 1 || !events.OOMKilled(c.Container) {
		t.Errorf("Watch() = %v after %d kills, want nil after 1", err, ooms)
	}
	must(t, <-started)
}

// TestProcesses: who is in the container, with a cgroup and without one.
func TestProcesses(t *testing.T) {
	c := container.StartBox(t, container.Options{}, nil, "sleep")
	more, err := c.Exec(c.Spec.Process, nil, container.Options{})
	must(t, err)
	defer func() { must(t, c.Kill(unix.SIGKILL, true)); more.Wait() }()
	want := fmt.Sprint([]int{c.Pid, more.Pid})
	if got, err := processes.Of(c.Container); fmt.Sprint(got) != want || err != nil {
		t.Errorf("Of() = %v, %v, want %s", got, err, want)
	}
	without := *c.Container
	without.Cgroup = ""
	if got, err := processes.Of(&without); fmt.Sprint(got) != want || err != nil {
		t.Errorf("Of() without a cgroup = %v, %v, want %s", got, err, want)
	}
}

// TestPause: frozen, a container's status is paused.
func TestPause(t *testing.T) {
	c := container.StartBox(t, container.Options{}, nil, "sleep")
	is := func(want specs.ContainerState) {
		t.Helper()
		if got, err := c.Status(); got != want || err != nil {
			t.Errorf("Status() = %s, %v, want %s", got, err, want)
		}
	}
	must(t, freezer.Pause(c.Container))
	is(container.Paused)
	if err := freezer.Pause(c.Container); err == nil {
		t.Error("Pause() of a paused container = nil")
	}
	must(t, freezer.Resume(c.Container))
	is(specs.StateRunning)
	if err := freezer.Resume(c.Container); !errors.Is(err, freezer.ErrNotPaused) {
		t.Errorf("Resume() of a running container = %v", err)
	}
	must(t, freezer.Pause(c.Container))
	must(t, c.Delete(true))
}
