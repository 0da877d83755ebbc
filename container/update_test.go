package container

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
	"minirun/container/procfs"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// needControllers skips a test where cgroup v2 lacks controllers; a kernel of
// our own has them.
func needControllers(t testing.TB, names ...string) {
	t.Helper()
	needRoot(t)
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

func (c *Container) limitIs(t testing.TB, file, want string) {
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
	b := newBox(t, "sleep")
	b.Linux.Resources = &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: new(int64(50 * mb)), Swap: new(int64(90 * mb))}}
	_, _, err := b.start(Options{})
	must(t, err)
	c, err := b.root.Lock(b.id)
	must(t, err)
	defer c.Unlock()
	c.limitIs(t, "memory.swap.max", fmt.Sprint(40*mb))
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
		err := c.Update(&step.r)
		if (err == nil) != (step.fails == "") || err != nil && !strings.Contains(err.Error(), step.fails) {
			t.Errorf("Update(%+v) = %v, want %q", step.r, err, step.fails)
		}
		for file, want := range step.limit {
			c.limitIs(t, file, want)
		}
	}
	must(t, c.Kill(unix.SIGKILL, false))
	c.Wait(0)
	if err := c.Update(&specs.LinuxResources{}); !errors.Is(err, ErrNotRunning) {
		t.Errorf("Update() of a stopped container = %v, want %v", err, ErrNotRunning)
	}
}

// TestWatch: numbers at each interval, and the end.
func TestWatch(t *testing.T) {
	needRoot(t)
	b := newBox(t, "sleep")
	c, _, err := b.start(Options{})
	must(t, err)
	count := 0
	err = c.Watch(10*time.Millisecond, func(s *stats.Stats) error {
		if count++; count == 3 { // once: it takes a moment to end
			return c.Kill(unix.SIGKILL, false)
		}
		return nil
	}, func() error { return errors.New("nobody wants so much memory") })
	if err != nil || count < 3 {
		t.Errorf("Watch() = %v after %d times, want nil after 3", err, count)
	}
	if _, err := c.Stats(); !errors.Is(err, ErrNotRunning) {
		t.Errorf("Stats() of a stopped container = %v, want %v", err, ErrNotRunning)
	}
	if err := c.Watch(time.Second, nil, nil); !errors.Is(err, ErrNotRunning) {
		t.Errorf("Watch() of a stopped container = %v, want %v", err, ErrNotRunning)
	}
}

// TestWatchOOM: a kill for want of memory is told, long before the next numbers,
// and even if it is the container's end.
func TestWatchOOM(t *testing.T) {
	needControllers(t, "memory")
	b := newBox(t, "trap SIGTERM 1")
	b.commands("cat /dev/null", "eat 100", "sleep")
	b.Linux.Resources = &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: new(int64(32 << 20)), Swap: new(int64(32 << 20))}}
	c, _, err := b.start(Options{Wait: true})
	must(t, err)
	started := make(chan error, 1)
	time.AfterFunc(100*time.Millisecond, func() {
		again, err := b.root.Load(b.id)
		started <- errors.Join(err, again.Start())
	})
	ooms := 0
	err = c.Watch(time.Hour, func(*stats.Stats) error { return errors.New("an hour has passed") }, func() error { ooms++; return nil })
	if err != nil || ooms != 1 {
		t.Errorf("Watch() = %v after %d kills, want nil after 1", err, ooms)
	}
	must(t, <-started)
}

// TestProcesses: who is in the container, with a cgroup and without one.
func TestProcesses(t *testing.T) {
	needRoot(t)
	b := newBox(t, "sleep")
	b.save()
	c, p, err := b.start(Options{})
	must(t, err)
	more, err := c.Exec(b.Process, nil, Options{})
	must(t, err)
	defer func() { must(t, c.Kill(unix.SIGKILL, true)); more.Wait() }()
	want := fmt.Sprint([]int{p.Pid, more.Pid})
	if got, err := c.Processes(); fmt.Sprint(got) != want || err != nil {
		t.Errorf("Processes() = %v, %v, want %s", got, err, want)
	}
	without := *c
	without.Cgroup = ""
	if got, err := without.Processes(); fmt.Sprint(got) != want || err != nil {
		t.Errorf("Processes() without a cgroup = %v, %v, want %s", got, err, want)
	}
}

// TestAmong: descent, whatever the order of the ids; and no stranger.
func TestAmong(t *testing.T) {
	all := []*procfs.Process{
		{Pid: 1, PIDNamespace: "host"}, {Pid: 3, Parent: 9, PIDNamespace: "own"}, {Pid: 5, Parent: 1, PIDNamespace: "own"},
		{Pid: 7, Parent: 1, PIDNamespace: "host"}, {Pid: 8, Parent: 1, PIDNamespace: "own"}, {Pid: 9, Parent: 5}, {Pid: 11, Parent: 2},
	}
	for kind, want := range map[string]string{"pid": "[3 5 8 9]", "mount": "[3 5 9]"} {
		c := Container{State: State{Pid: 5, Namespaces: []specs.LinuxNamespace{{Type: specs.LinuxNamespaceType(kind)}}}}
		if got := fmt.Sprint(c.among(all)); got != want {
			t.Errorf("among() with a %s namespace = %s, want %s", kind, got, want)
		}
	}
}
