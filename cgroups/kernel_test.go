package cgroups_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"minirun/cgroups"
	"minirun/examples/grouptest"
	"minirun/plan"
	"minirun/plan/print"
)

// These tests make real groups, as root. What needs
// a controller runs wherever cgroup v2 has it.

func TestMain(m *testing.M) { grouptest.Main(m) }

var (
	real  = grouptest.Real
	born  = grouptest.Born
	start = grouptest.Start
)

// usage is the processor time that the group has used, in microseconds.
func usage(t testing.TB, g *cgroups.Group) uint64 {
	t.Helper()
	values, err := g.ReadFlatKeyed("cpu.stat")
	check(t, "cpu.stat", err)
	return values["usage_usec"]
}

// descriptors are ours, but for those of the Go runtime's poller.
func descriptors() (list []string) {
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.HasPrefix(to, "anon_inode:[event") {
			list = append(list, e.Name()+" "+to)
		}
	}
	return list
}

// closeNew closes what a plan opened: in a real run the runtime ends.
func closeNew(before []string) {
	for _, d := range descriptors() {
		if !slices.Contains(before, d) && strings.Contains(d, "cgroup") {
			fd, _ := strconv.Atoi(strings.Fields(d)[0])
			unix.Close(fd)
		}
	}
}

func TestLifecycle(t *testing.T) {
	g := real(t)
	p := start(t, g, nil, "/bin/sleep", "1000")
	if pids, err := g.Procs(); !slices.Equal(pids, []int{p.Pid}) {
		t.Errorf("Procs() = %v, %v, want %d", pids, err, p.Pid)
	}
	if _, err := g.Add(&plan.Plan{}, nil); err == nil || !strings.Contains(err.Error(), "has processes already") {
		t.Errorf("Add() to a group in use = %v, want an error", err)
	}
	if err := g.Remove(); !errors.Is(err, unix.EBUSY) {
		t.Errorf("rmdir() of a group in use = %v, want %v", err, unix.EBUSY)
	}
	if usage(t, g) == 0 {
		t.Error("cpu.stat has no processor time")
	}
	check(t, "Kill", g.Kill())
	if status, err := p.Wait(); !status.Signaled() || status.Signal() != unix.SIGKILL {
		t.Errorf("Wait() = %v, %v, want killed", status, err)
	}
	check(t, "Kill again", g.Kill())
	check(t, "rmdir", g.Remove())
	check(t, "rmdir again", g.Remove())
	check(t, "Kill what is gone", g.Kill())
	if pids, err := g.Procs(); len(pids) > 0 || err != nil {
		t.Errorf("Procs() of no group = %v, %v, want none", pids, err)
	}
	if _, err := g.Frozen(); !errors.Is(err, unix.ENOENT) {
		t.Errorf("Frozen() of no group = %v, want %v", err, unix.ENOENT)
	}
}

func TestFreeze(t *testing.T) {
	g := real(t)
	p := start(t, g, nil, "/bin/sh", "-c", "while :; do :; done")
	check(t, "Freeze", g.Freeze())
	content(t, g, "cgroup.freeze", "1")
	if frozen, err := g.Frozen(); !frozen || err != nil {
		t.Errorf("Frozen() = %v, %v, want true", frozen, err)
	}
	before := usage(t, g)
	time.Sleep(50 * time.Millisecond)
	if after := usage(t, g); after != before {
		t.Errorf("used %d us, then %d, want nothing while frozen", before, after)
	}
	check(t, "Thaw", g.Thaw())
	check(t, "wait", g.WaitFor("frozen", 0))
	if frozen, err := g.Frozen(); frozen || err != nil {
		t.Errorf("Frozen() = %v, %v, want false", frozen, err)
	}
	check(t, "Freeze", g.Freeze())
	check(t, "Kill while frozen", g.Kill())
	if status, _ := p.Wait(); status.Signal() != unix.SIGKILL {
		t.Errorf("Wait() = %v, want killed", status)
	}
	// What is born in it would wait for a thaw that never comes.
	for _, path := range []string{g.Dir, g.Dir + "/below"} {
		if _, err := cgroups.Open(path).Add(&plan.Plan{}, nil); err == nil || !strings.Contains(err.Error(), "is frozen") {
			t.Errorf("Add(%s) = %v, want an error: frozen", path, err)
		}
	}
}

// TestDestroy: a paused group is removed while others enter it.
func TestDestroy(t *testing.T) {
	g := real(t)
	start(t, g, nil, "/bin/sleep", "1000")
	check(t, "Freeze", g.Freeze())
	others := exec.Command("/bin/sh", "-c", `
		for i in $(seq 300); do
			(echo 0 >cgroup.procs && exec sleep 1000) 2>/dev/null &
		done
		wait`)
	others.Dir = g.Dir
	check(t, "start", others.Start())
	for inside := 0; inside < 3; time.Sleep(time.Millisecond) {
		list, err := g.Procs()
		check(t, "Procs", err)
		inside = len(list)
	}
	check(t, "Destroy", g.Destroy())
	check(t, "the others", others.Wait())
	if _, err := os.Stat(g.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the group is still there: %v", err)
	}
}

// TestNested: groups that the container made in its own.
func TestNested(t *testing.T) {
	g := real(t)
	p := start(t, g, nil, "/bin/sleep", "1000")
	nested := cgroups.Open(g.Dir + "/of/the/container")
	q := start(t, nested, nil, "/bin/sleep", "1000")
	if pids, err := g.Procs(); !slices.Equal(pids, []int{p.Pid, q.Pid}) {
		t.Errorf("Procs() = %v, %v, want %d and %d", pids, err, p.Pid, q.Pid)
	}
	check(t, "Kill", g.Kill())
	check(t, "rmdir", g.Remove())
}

// TestNamespace pins that clone3 with CLONE_NEWCGROUP and CLONE_INTO_CGROUP
// roots the new namespace at the new group, not at ours.
func TestNamespace(t *testing.T) {
	g := real(t)
	r, w, err := os.Pipe()
	check(t, "pipe", err)
	defer r.Close()
	p, err := born(t, g, nil, plan.Inherited("stdout"), "/bin/cat", "/proc/self/cgroup").Start(plan.Options{Inherited: map[plan.Inherited]int{"stdout": int(w.Fd())}})
	w.Close()
	check(t, "Start", err)
	text, err := io.ReadAll(r)
	p.Wait()
	if path, _ := cgroups.ParsePath(string(text)); path != "/" {
		t.Errorf("/proc/self/cgroup = %q, %v, want / as the path", text, err)
	}
}

// TestFaults makes each step of the runtime's fail: what was made must be gone.
func TestFaults(t *testing.T) {
	g := real(t)
	top := filepath.Dir(filepath.Dir(g.Dir))
	limits := []cgroups.Write{{File: "cgroup.max.depth", Value: "3"}, {File: "cgroup.max.descendants", Value: "5"}}
	before := descriptors()
	for n, steps := 1, 1; n <= steps; n++ {
		p := born(t, g, limits, nil, "/bin/true")
		steps = len(p.Steps)
		r, err := p.Start(plan.Options{Fault: plan.Fault{Step: n, Errno: unix.EIO}})
		if err == nil { // the fault came after execve was announced
			r.Wait()
			err = errors.New("none")
		}
		closeNew(before)
		if !errors.Is(err, unix.EIO) {
			t.Errorf("fault at step %d (%s) = %v, want %v", n, p.Steps[n-1], err, unix.EIO)
		}
		if _, err := os.Stat(top); !errors.Is(err, unix.ENOENT) {
			t.Errorf("fault at step %d (%s) leaves %s", n, p.Steps[n-1], top)
			cgroups.Open(top).Remove()
		}
	}
}

// TestFaultKeeps: what was there before is kept, also if somebody else uses a
// level that we made.
func TestFaultKeeps(t *testing.T) {
	g := real(t)
	top := filepath.Dir(filepath.Dir(g.Dir))
	check(t, "mkdir", os.MkdirAll(g.Dir, 0o755))
	before := descriptors()
	p := born(t, g, nil, nil, "/nonexistent")
	_, err := p.Start(plan.Options{})
	if _, statErr := os.Stat(g.Dir); !errors.Is(err, unix.ENOENT) || statErr != nil {
		t.Errorf("Start() = %v, %v, want a failed execve and the group as it was", err, statErr)
	}
	check(t, "rmdir", cgroups.Open(top).Remove())
	p = born(t, g, nil, nil, "/nonexistent")
	other := top + "/other"
	_, err = p.Start(plan.Options{Before: func(s *plan.Step) error {
		if s.Call == "clone3" {
			return os.Mkdir(other, 0o755)
		}
		return nil
	}})
	if !errors.Is(err, unix.ENOENT) || strings.Contains(err.Error(), "undo") {
		t.Errorf("Start() = %v, want a failed execve and nothing about undo", err)
	}
	if _, err := os.Stat(other); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Dir(g.Dir)); !errors.Is(err, unix.ENOENT) {
		t.Errorf("%s is left: %v", filepath.Dir(g.Dir), err)
	}
	closeNew(before)
}

// TestWrongValue: an error names the file.
func TestWrongValue(t *testing.T) {
	g := real(t)
	before := descriptors()
	_, err := born(t, g, []cgroups.Write{{File: "cgroup.max.depth", Value: "deep"}}, nil, "/bin/true").Start(plan.Options{Notation: print.Step})
	if !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), `write(<cgroup.max.depth>, "deep", 4)`) {
		t.Errorf("Start() = %v, want EINVAL of cgroup.max.depth", err)
	}
	closeNew(before)
}

// TestHeldByV1: on a host with both versions the error says who has the controller.
func TestHeldByV1(t *testing.T) {
	g := real(t)
	mounts, err := cgroups.Mounts()
	check(t, "mounts", err)
	v1 := cgroups.V1Mount(mounts, "memory")
	if v1 == "" {
		t.Skip("needs a host where cgroup v1 holds the memory controller")
	}
	_, err = g.Add(&plan.Plan{}, []cgroups.Write{{File: "memory.max", Value: "67108864"}})
	want := "memory.max 67108864: the memory controller is not available in cgroup v2: " + v1 + " (cgroup v1) holds it"
	if err == nil || err.Error() != want {
		t.Errorf("Add() = %v\nwant %s", err, want)
	}
}

// TestInternalProcesses: our own group has processes, namely us, so it cannot
// hand down more than it does.
func TestInternalProcesses(t *testing.T) {
	g := real(t, "memory")
	p := start(t, g, nil, "/bin/sleep", "1000")
	_, err := cgroups.Open(g.Dir+"/x").Add(&plan.Plan{}, []cgroups.Write{{File: "memory.max", Value: "67108864"}})
	if !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), "it has 1 processes of its own") {
		t.Errorf("Add() below pid %d = %v, want EBUSY, explained", p.Pid, err)
	}
}

// TestRemoveBelow: trees that are wide, deep, or both.
func TestRemoveBelow(t *testing.T) {
	g := real(t)
	for i := range 50 {
		for j := range 3 {
			check(t, "mkdir", os.MkdirAll(filepath.Join(g.Dir, fmt.Sprint(i), fmt.Sprint(j), "below"), 0o755))
		}
	}
	deep := g.Dir
	for len(deep) < 1500 {
		deep = filepath.Join(deep, "deep")
	}
	check(t, "mkdir", os.MkdirAll(deep, 0o755))
	p := start(t, cgroups.Open(filepath.Join(g.Dir, "7/with-a-process")), nil, "/bin/sleep", "1000")
	if err := g.Remove(); !errors.Is(err, unix.EBUSY) {
		t.Errorf("rmdir() of a group in use = %v, want %v", err, unix.EBUSY)
	}
	if pids, err := g.Procs(); !slices.Equal(pids, []int{p.Pid}) {
		t.Errorf("Procs() = %v, %v, want %d", pids, err, p.Pid)
	}
	check(t, "Destroy", g.Destroy())
	if _, err := os.Stat(g.Dir); !errors.Is(err, unix.ENOENT) {
		t.Errorf("after Destroy() = %v, want %v", err, unix.ENOENT)
	}
}

// TestLimits: limits of real controllers, first without them, and what the kernel
// refuses.
func TestLimits(t *testing.T) {
	g := real(t, "memory", "pids")
	start(t, g, []cgroups.Write{{File: "pids.max", Value: "9"}, {File: "memory.swap.max", Value: "0", Optional: true}}, "/bin/sleep", "1000")
	content(t, g, "pids.max", "9")
	content(t, g, "memory.max", "max")
	check(t, "take back", cgroups.Line(filepath.Dir(g.Dir), "cgroup.subtree_control", "-memory"))
	check(t, "Update", grouptest.Update(g, []cgroups.Write{{File: "memory.max", Value: "33554432"}}))
	content(t, g, "memory.max", "33554432")
	err := grouptest.Update(g, []cgroups.Write{{File: "pids.max", Value: "8"}, {File: "memory.max", Value: "much"}})
	if !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), `write(<memory.max>, "much"`) {
		t.Errorf("Update() = %v, want EINVAL of memory.max", err)
	}
	content(t, g, "pids.max", "8")
}

// BenchmarkAdd writes the plan of the usual start: the level above exists and
// hands everything down.
func BenchmarkAdd(b *testing.B) {
	g := prepared(b)
	for b.Loop() {
		if _, err := g.Add(&plan.Plan{}, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMkdir makes and removes an empty group.
func BenchmarkMkdir(b *testing.B) {
	g := prepared(b)
	for b.Loop() {
		if err := errors.Join(unix.Mkdir(g.Dir, 0o755), g.Remove()); err != nil {
			b.Fatal(err)
		}
	}
}

// prepared is a group whose levels above exist and hand everything down.
func prepared(b *testing.B) *cgroups.Group {
	g := real(b)
	p, err := born(b, g, nil, nil, "/bin/true").Start(plan.Options{})
	if err != nil {
		b.Fatal(err)
	}
	p.Wait()
	check(b, "rmdir", g.Remove())
	return g
}

func BenchmarkFind(b *testing.B) {
	for b.Loop() {
		if _, err := cgroups.Find(); err != nil {
			b.Skip(err)
		}
	}
}

// BenchmarkKill ends a process and waits until the group is empty.
func BenchmarkKill(b *testing.B) {
	g := real(b)
	for b.Loop() {
		b.StopTimer()
		p, err := born(b, g, nil, nil, "/bin/sleep", "1000").Start(plan.Options{})
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := g.Kill(); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		p.Wait()
		check(b, "rmdir", g.Remove())
		b.StartTimer()
	}
}
