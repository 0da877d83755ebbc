package cgroups

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

	"minirun/examples/leftovers"
	"minirun/plan"
	"minirun/plan/print"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// These tests make real groups, as root. What needs
// a controller runs wherever cgroup v2 has it.

// TestMain fails a package that leaves something behind.
// As "eat" the test binary is a process that uses up memory.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "eat" {
		eat()
	}
	os.Exit(leftovers.Guard(m.Run))
}

func eat() {
	var all [][]byte
	for {
		b := make([]byte, 1<<20)
		for i := range b {
			b[i] = 1
		}
		all = append(all, b)
		if len(all) > 256 {
			os.Exit(0)
		}
	}
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

// real returns a group that does not exist, gone again when the test ends, on
// a kernel that has these controllers in v2.
func real(t testing.TB, controllers ...string) *Group {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes groups")
	}
	h, err := Find()
	if err != nil {
		t.Skip(err)
	}
	available, err := fields(h.Mount, "cgroup.controllers")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range controllers {
		if slices.Contains(available, c) {
			continue
		}
		if os.Getenv("MINIRUN_KERNEL") == "own" && slices.Contains([]string{"memory", "cpu", "pids", "io"}, c) {
			t.Fatalf("needs the %s controller, which our own kernel should have", c)
		}
		t.Skipf("needs the %s controller in cgroup v2 (examples/kernel/run has cpu, io, memory, pids)", c)
	}
	g, err := h.Group("/" + leftovers.Group() + "-" + strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-")) + "/a/group")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		top := Open(filepath.Join(h.Mount, strings.Split(strings.TrimPrefix(g.Dir, h.Mount), "/")[1]))
		if err := errors.Join(top.Kill(), top.Remove()); err != nil {
			t.Error(err)
		}
	})
	return g
}

// born records a process born in the group.
func born(t testing.TB, g *Group, r *specs.LinuxResources, stdout plan.FD, argv ...string) *plan.Plan {
	t.Helper()
	p := &plan.Plan{}
	fd, err := g.Add(p, r)
	if err != nil {
		t.Fatal(err)
	}
	p.Clone3(plan.Clone{Cgroup: fd, PidFD: true, Flags: unix.CLONE_NEWCGROUP})
	p.Close(fd)
	p.On(plan.Child)
	if stdout != nil {
		p.Dup3(stdout, 1, 0)
	}
	p.RtSigprocmask() // a child is born with all signals blocked
	p.Ready()
	p.Execve(argv[0], argv, []string{"PATH=/usr/bin:/bin", "GOMEMLIMIT=off"})
	return p
}

// start starts a process in the group; it is ended with the test.
func start(t testing.TB, g *Group, r *specs.LinuxResources, argv ...string) *plan.Process {
	t.Helper()
	p, err := born(t, g, r, nil, argv...).Start(plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.Kill(p.Pid, unix.SIGKILL)
		p.Wait()
	})
	return p
}

func check(t testing.TB, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func content(t testing.TB, g *Group, file, want string) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(g.Dir, file))
	if strings.TrimSpace(string(got)) != want {
		t.Errorf("%s = %q, %v, want %q", file, got, err, want)
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
	if err := Open(g.Dir).Remove(); !errors.Is(err, unix.EBUSY) {
		t.Errorf("Remove() of a group in use = %v, want %v", err, unix.EBUSY)
	}
	s, err := g.Stats()
	check(t, "Stats", err)
	if s.CPU.Usage == 0 {
		t.Errorf("Stats() = %+v, want some processor time", s)
	}
	check(t, "Kill", g.Kill())
	if status, err := p.Wait(); !status.Signaled() || status.Signal() != unix.SIGKILL {
		t.Errorf("Wait() = %v, %v, want killed", status, err)
	}
	check(t, "Kill again", g.Kill())
	check(t, "Remove", g.Remove())
	check(t, "Remove again", g.Remove())
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
	before, err := g.Stats()
	check(t, "Stats", err)
	time.Sleep(50 * time.Millisecond)
	if after, err := g.Stats(); after.CPU.Usage != before.CPU.Usage {
		t.Errorf("used %v, then %v (%v), want nothing while frozen", before.CPU.Usage, after.CPU.Usage, err)
	}
	check(t, "Thaw", g.Thaw())
	check(t, "wait", g.wait("frozen", 0, patience))
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
		if _, err := Open(path).Add(&plan.Plan{}, nil); err == nil || !strings.Contains(err.Error(), "is frozen") {
			t.Errorf("Add(%s) = %v, want an error: frozen", path, err)
		}
	}
}

func TestSignal(t *testing.T) {
	g := real(t)
	p := start(t, g, nil, "/bin/sh", "-c", `trap "exit 7" TERM; sleep 1000 & sleep 1000 & wait`)
	for sleeping := 0; sleeping < 2; time.Sleep(time.Millisecond) { // a shell that has not become sleep yet may lose it
		sleeping = 0
		list, err := g.Procs()
		check(t, "Procs", err)
		for _, pid := range list {
			if name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); string(name) == "sleep\n" {
				sleeping++
			}
		}
	}
	check(t, "Signal", g.Signal(unix.SIGTERM))
	if status, err := p.Wait(); status.ExitStatus() != 7 {
		t.Errorf("Wait() = %v, %v, want exit status 7", status, err)
	}
	check(t, "wait", g.wait("populated", 0, patience))
	check(t, "Signal to nobody", g.Signal(unix.SIGTERM))
}

// TestClear: a paused group is cleared while others enter it.
func TestClear(t *testing.T) {
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
	check(t, "Clear", g.Clear())
	check(t, "the others", others.Wait())
	if _, err := os.Stat(g.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the group is still there: %v", err)
	}
}

// TestNested: groups that the container made in its own.
func TestNested(t *testing.T) {
	g := real(t)
	p := start(t, g, nil, "/bin/sleep", "1000")
	nested := Open(g.Dir + "/of/the/container")
	q := start(t, nested, nil, "/bin/sleep", "1000")
	if pids, err := g.Procs(); !slices.Equal(pids, []int{p.Pid, q.Pid}) {
		t.Errorf("Procs() = %v, %v, want %d and %d", pids, err, p.Pid, q.Pid)
	}
	check(t, "Signal", g.Signal(unix.SIGKILL))
	check(t, "Remove", g.Remove())
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
	if path, _ := parseOwn(strings.NewReader(string(text))); path != "/" {
		t.Errorf("/proc/self/cgroup = %q, %v, want / as the path", text, err)
	}
}

// TestFaults makes each step of the runtime's fail: what was made must be gone.
func TestFaults(t *testing.T) {
	g := real(t)
	top := filepath.Dir(filepath.Dir(g.Dir))
	limits := &specs.LinuxResources{Unified: map[string]string{"cgroup.max.depth": "3", "cgroup.max.descendants": "5"}}
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
			Open(top).Remove()
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
	check(t, "Remove", Open(top).Remove())
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
	_, err := born(t, g, &specs.LinuxResources{Unified: map[string]string{"cgroup.max.depth": "deep"}}, nil, "/bin/true").Start(plan.Options{Notation: print.Step})
	if !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), `write(<cgroup.max.depth>, "deep", 4)`) {
		t.Errorf("Start() = %v, want EINVAL of cgroup.max.depth", err)
	}
	closeNew(before)
}

// TestHeldByV1: on a host with both versions the error says who has the controller.
func TestHeldByV1(t *testing.T) {
	g := real(t)
	mounts, err := readMounts()
	check(t, "mounts", err)
	v1 := v1Mount(mounts, "memory")
	if v1 == "" {
		t.Skip("needs a host where cgroup v1 holds the memory controller")
	}
	_, err = g.Add(&plan.Plan{}, resources(t, `{"memory":{"limit":67108864}}`))
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
	_, err := Open(g.Dir+"/x").Add(&plan.Plan{}, resources(t, `{"memory":{"limit":67108864}}`))
	if !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), "it has 1 processes of its own") {
		t.Errorf("Add() below pid %d = %v, want EBUSY, explained", p.Pid, err)
	}
}

func TestHugetlb(t *testing.T) {
	g := real(t, "hugetlb")
	start(t, g, resources(t, `{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}`), "/bin/sleep", "1000")
	content(t, g, "hugetlb.2MB.max", "4194304")
	content(t, g, "hugetlb.2MB.rsvd.max", "4194304")
	check(t, "Update", g.Update(resources(t, `{"hugepageLimits":[{"pageSize":"2MB","limit":0}]}`)))
	content(t, g, "hugetlb.2MB.max", "0")
	if s, err := g.Stats(); err != nil || s.Hugetlb["2MB"] != (HugetlbStats{}) {
		t.Errorf("Stats() = %+v, %v, want a limit of 0", s, err)
	}
}

func TestMemory(t *testing.T) {
	g := real(t, "memory")
	p := start(t, g, resources(t, `{"memory":{"limit":16777216,"swap":16777216,"reservation":1048576}}`), "/proc/self/exe", "eat")
	content(t, g, "memory.max", "16777216")
	content(t, g, "memory.low", "1048576")
	if status, err := p.Wait(); status.Signal() != unix.SIGKILL {
		t.Errorf("Wait() = %v, %v, want killed for want of memory", status, err)
	}
	if killed, err := g.OOMKilled(); !killed || err != nil {
		t.Errorf("OOMKilled() = %v, %v, want true", killed, err)
	}
	s, err := g.Stats()
	check(t, "Stats", err)
	if m := s.Memory; m == nil || m.Limit != 16777216 || m.Events["max"] == 0 || len(m.Stat) == 0 {
		t.Errorf("Stats() = %+v, want a limit that was hit", m)
	}
}

func TestMemoryUpdate(t *testing.T) {
	g := real(t, "memory")
	start(t, g, nil, "/bin/sleep", "1000")
	content(t, g, "memory.max", "max")
	check(t, "take back", writeFile(filepath.Dir(g.Dir), "cgroup.subtree_control", "-memory"))
	if s, err := g.Stats(); err != nil || s.Memory != nil {
		t.Errorf("Stats() without the controller = %+v, %v, want no Memory", s, err)
	}
	check(t, "Update", g.Update(resources(t, `{"memory":{"limit":33554432,"swap":67108864}}`)))
	content(t, g, "memory.max", "33554432")
	content(t, g, "memory.swap.max", "33554432")
	if err := g.Update(resources(t, `{"memory":{"limit":4096,"checkBeforeUpdate":true}}`)); err == nil || !strings.Contains(err.Error(), "bytes are in use") {
		t.Errorf("Update() below the usage = %v, want an error", err)
	}
	check(t, "Update", g.Update(resources(t, `{"memory":{"limit":-1}}`)))
	content(t, g, "memory.max", "max")
	content(t, g, "memory.swap.max", "max")
	if killed, err := g.OOMKilled(); killed || err != nil {
		t.Errorf("OOMKilled() = %v, %v, want false", killed, err)
	}
}

func TestPids(t *testing.T) {
	g := real(t, "pids")
	p := start(t, g, resources(t, `{"pids":{"limit":0}}`), "/bin/sh", "-c", "/bin/true; exit 0")
	content(t, g, "pids.max", "1")
	if status, err := p.Wait(); status.ExitStatus() == 0 {
		t.Errorf("Wait() = %v, %v, want a shell that cannot fork", status, err)
	}
	if events, err := pairs(g.Dir, "pids.events"); events["max"] == 0 {
		t.Errorf("pids.events = %v, %v, want max", events, err)
	}
	if s, err := g.Stats(); err != nil || *s.Pids != (PidsStats{Current: 0, Limit: 1}) {
		t.Errorf("Stats() = %+v, %v, want a limit of 1", s.Pids, err)
	}
}

func TestCPU(t *testing.T) {
	g := real(t, "cpu")
	start(t, g, resources(t, `{"cpu":{"shares":512,"quota":20000,"burst":20000}}`), "/bin/sh", "-c", "while :; do :; done")
	content(t, g, "cpu.weight", "59")
	content(t, g, "cpu.max", "20000 100000")
	content(t, g, "cpu.max.burst", "20000")
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		s, err := g.Stats()
		check(t, "Stats", err)
		if s.CPU.Throttled > 0 && s.CPU.ThrottledTime > 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("Stats() = %+v, want a throttled group", s.CPU)
		}
	}
	// Less: cpu.max is refused until cpu.max.burst is lower. More: the other way round.
	for _, quota := range []int{10_000, 50_000} {
		check(t, "Update", g.Update(resources(t, fmt.Sprintf(`{"cpu":{"quota":%d,"burst":%d}}`, quota, quota))))
		content(t, g, "cpu.max", strconv.Itoa(quota)+" 100000")
		content(t, g, "cpu.max.burst", strconv.Itoa(quota))
	}
	if err := g.Update(resources(t, `{"cpu":{"quota":10000}}`)); !errors.Is(err, unix.EINVAL) {
		t.Errorf("Update() to a quota below the burst = %v, want %v", err, unix.EINVAL)
	}
	check(t, "Update", g.Update(resources(t, `{"cpu":{"quota":-1,"idle":1,"shares":512}}`)))
	content(t, g, "cpu.max", "max 100000")
	content(t, g, "cpu.idle", "1")
	check(t, "Update", g.Update(resources(t, `{"cpu":{"idle":0,"shares":1024}}`)))
	content(t, g, "cpu.idle", "0")
	content(t, g, "cpu.weight", "100")
}

// TestIO limits the first block device there is.
func TestIO(t *testing.T) {
	g := real(t, "io")
	disks, _ := filepath.Glob("/sys/block/*/dev")
	if len(disks) == 0 {
		exec.Command("modprobe", "loop").Run() // ENOENT: there is no such program
		if disks, _ = filepath.Glob("/sys/block/*/dev"); len(disks) == 0 {
			t.Skip("needs a block device (modprobe loop)")
		}
	}
	var d specs.LinuxThrottleDevice
	number, err := os.ReadFile(disks[0])
	check(t, "read", err)
	fmt.Sscanf(string(number), "%d:%d", &d.Major, &d.Minor)
	d.Rate = 1 << 20
	r := &specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{ThrottleReadBpsDevice: []specs.LinuxThrottleDevice{d}}}
	start(t, g, r, "/bin/sleep", "1000")
	content(t, g, "io.max", fmt.Sprintf("%d:%d rbps=1048576 wbps=max riops=max wiops=max", d.Major, d.Minor))
	d.Rate = 0
	r.BlockIO.ThrottleReadBpsDevice[0] = d
	check(t, "Update", g.Update(r))
	content(t, g, "io.max", "")
	err = g.Update(resources(t, `{"blockIO":{"weight":500}}`))
	if has(g.Dir, "io.bfq.weight") || has(g.Dir, "io.weight") {
		check(t, "Update", err)
	} else if !errors.Is(err, unix.ENOENT) || !strings.Contains(err.Error(), "io.weight") {
		t.Errorf("Update() with a weight = %v, want %v of io.weight", err, unix.ENOENT)
	}
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
func prepared(b *testing.B) *Group {
	g := real(b)
	p, err := born(b, g, nil, nil, "/bin/true").Start(plan.Options{})
	if err != nil {
		b.Fatal(err)
	}
	p.Wait()
	check(b, "Remove", g.Remove())
	return g
}

func BenchmarkFind(b *testing.B) {
	for b.Loop() {
		if _, err := Find(); err != nil {
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
		check(b, "Remove", g.Remove())
		b.StartTimer()
	}
}
