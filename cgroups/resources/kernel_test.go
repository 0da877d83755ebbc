package resources

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"minirun/cgroups"
	"minirun/examples/grouptest"
	"minirun/plan"
)

// These tests give real groups limits, as root, wherever cgroup v2 has the
// controllers (examples/kernel/run).

func TestMain(m *testing.M) { grouptest.Main(m) }

// start starts a process in a group with limits.
func start(t *testing.T, g *cgroups.Group, text string, argv ...string) *plan.Process {
	t.Helper()
	list, err := New(resources(t, text))
	grouptest.Check(t, "New", err)
	return grouptest.Start(t, g, list, argv...)
}

func TestHugetlb(t *testing.T) {
	g := grouptest.Real(t, "hugetlb")
	start(t, g, `{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}`, "/bin/sleep", "1000")
	grouptest.Content(t, g, "hugetlb.2MB.max", "4194304")
	grouptest.Content(t, g, "hugetlb.2MB.rsvd.max", "4194304")
	grouptest.Check(t, "Update", update(t, g, `{"hugepageLimits":[{"pageSize":"2MB","limit":0}]}`))
	grouptest.Content(t, g, "hugetlb.2MB.max", "0")
}

func TestMemory(t *testing.T) {
	g := grouptest.Real(t, "memory")
	p := start(t, g, `{"memory":{"limit":16777216,"swap":16777216,"reservation":1048576}}`, "/proc/self/exe", "eat")
	grouptest.Content(t, g, "memory.max", "16777216")
	grouptest.Content(t, g, "memory.low", "1048576")
	if status, err := p.Wait(); status.Signal() != unix.SIGKILL {
		t.Errorf("Wait() = %v, %v, want a kill because of the limit", status, err)
	}
}

func TestMemoryUpdate(t *testing.T) {
	g := grouptest.Real(t, "memory")
	start(t, g, `{}`, "/bin/sleep", "1000")
	grouptest.Content(t, g, "memory.max", "max")
	grouptest.Check(t, "take back", os.WriteFile(filepath.Dir(g.Dir)+"/cgroup.subtree_control", []byte("-memory"), 0))
	grouptest.Check(t, "Update", update(t, g, `{"memory":{"limit":33554432,"swap":67108864}}`))
	grouptest.Content(t, g, "memory.max", "33554432")
	grouptest.Content(t, g, "memory.swap.max", "33554432")
	if err := update(t, g, `{"memory":{"limit":4096,"checkBeforeUpdate":true}}`); err == nil || !strings.Contains(err.Error(), "bytes are in use") {
		t.Errorf("Update() below the usage = %v, want an error", err)
	}
	grouptest.Check(t, "Update", update(t, g, `{"memory":{"limit":-1}}`))
	grouptest.Content(t, g, "memory.max", "max")
	grouptest.Content(t, g, "memory.swap.max", "max")
}

func TestPids(t *testing.T) {
	g := grouptest.Real(t, "pids")
	p := start(t, g, `{"pids":{"limit":0}}`, "/bin/sh", "-c", "/bin/true; exit 0")
	grouptest.Content(t, g, "pids.max", "1")
	if status, err := p.Wait(); status.ExitStatus() == 0 {
		t.Errorf("Wait() = %v, %v, want a shell that cannot fork", status, err)
	}
	if events, err := g.ReadFlatKeyed("pids.events"); events["max"] == 0 {
		t.Errorf("pids.events = %v, %v, want max", events, err)
	}
}

func TestCPU(t *testing.T) {
	g := grouptest.Real(t, "cpu")
	start(t, g, `{"cpu":{"shares":512,"quota":20000,"burst":20000}}`, "/bin/sh", "-c", "while :; do :; done")
	grouptest.Content(t, g, "cpu.weight", "59")
	grouptest.Content(t, g, "cpu.max", "20000 100000")
	grouptest.Content(t, g, "cpu.max.burst", "20000")
	// Less: cpu.max is refused until cpu.max.burst is lower. More: the other way round.
	for _, quota := range []int{10_000, 50_000} {
		grouptest.Check(t, "Update", update(t, g, fmt.Sprintf(`{"cpu":{"quota":%d,"burst":%d}}`, quota, quota)))
		grouptest.Content(t, g, "cpu.max", strconv.Itoa(quota)+" 100000")
		grouptest.Content(t, g, "cpu.max.burst", strconv.Itoa(quota))
	}
	if err := update(t, g, `{"cpu":{"quota":10000}}`); !errors.Is(err, unix.EINVAL) {
		t.Errorf("Update() to a quota below the burst = %v, want %v", err, unix.EINVAL)
	}
	grouptest.Check(t, "Update", update(t, g, `{"cpu":{"quota":-1,"idle":1,"shares":512}}`))
	grouptest.Content(t, g, "cpu.max", "max 100000")
	grouptest.Content(t, g, "cpu.idle", "1")
	grouptest.Check(t, "Update", update(t, g, `{"cpu":{"idle":0,"shares":1024}}`))
	grouptest.Content(t, g, "cpu.idle", "0")
	grouptest.Content(t, g, "cpu.weight", "100")
}

// TestIO limits the first block device there is.
func TestIO(t *testing.T) {
	g := grouptest.Real(t, "io")
	disks, _ := filepath.Glob("/sys/block/*/dev")
	if len(disks) == 0 {
		exec.Command("modprobe", "loop").Run() // ENOENT: there is no such program
		if disks, _ = filepath.Glob("/sys/block/*/dev"); len(disks) == 0 {
			t.Skip("needs a block device (modprobe loop)")
		}
	}
	var major, minor int
	number, err := os.ReadFile(disks[0])
	grouptest.Check(t, "read", err)
	fmt.Sscanf(string(number), "%d:%d", &major, &minor)
	limit := func(rate int) string {
		return fmt.Sprintf(`{"blockIO":{"throttleReadBpsDevice":[{"major":%d,"minor":%d,"rate":%d}]}}`, major, minor, rate)
	}
	start(t, g, limit(1<<20), "/bin/sleep", "1000")
	grouptest.Content(t, g, "io.max", fmt.Sprintf("%d:%d rbps=1048576 wbps=max riops=max wiops=max", major, minor))
	grouptest.Check(t, "Update", update(t, g, limit(0)))
	grouptest.Content(t, g, "io.max", "")
	err = update(t, g, `{"blockIO":{"weight":500}}`)
	_, bfq := g.Read("io.bfq.weight")
	_, plain := g.Read("io.weight")
	if bfq == nil || plain == nil {
		grouptest.Check(t, "Update", err)
	} else if !errors.Is(err, unix.ENOENT) || !strings.Contains(err.Error(), "io.weight") {
		t.Errorf("Update() with a weight = %v, want %v of io.weight", err, unix.ENOENT)
	}
}
