package stats

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"minirun/cgroups"
	"minirun/examples/grouptest"
	"minirun/plan"
)

func TestMain(m *testing.M) { grouptest.Main(m) }

func TestRead(t *testing.T) {
	w := grouptest.NewWorld(t, "web/cpu.stat: usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 5\nnr_throttled 4\nthrottled_usec 3",
		"web/memory.current: 4096", "web/memory.max: max", "web/memory.stat: anon 4000\nfile 96", "web/memory.events: low 0\noom_kill 2",
		"web/memory.swap.current: 7", "web/memory.swap.max: 8", "web/pids.current: 2", "web/pids.max: 20",
		"web/io.stat: 253:0 254:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6 cost.usage=9\n7:1 ",
		"web/hugetlb.2MB.current: 2097152", "web/hugetlb.2MB.max: 4194304", "web/hugetlb.2MB.events: max 3", "web/hugetlb.2MB.rsvd.current: 1",
		"web/io.pressure: some avg10=1.50 avg60=0.05 avg300=0.01 total=5120\nfull avg10=0.25 avg60=0.00 avg300=0.00 total=12")
	g := w.Group(t, "/web")
	s, err := Read(g)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%+v\n%+v\n%+v\n%+v\n%+v\n%+v", s.CPU, *s.Memory, *s.Pids, s.IO, s.Hugetlb, s.Pressure)
	want := `{Usage:30µs User:20µs System:10µs Periods:5 Throttled:4 ThrottledTime:3µs}
{Usage:4096 Limit:18446744073709551615 Peak:0 SwapUsage:7 SwapLimit:8 SwapPeak:0 Stat:map[anon:4000 file:96] Events:map[low:0 oom_kill:2]}
{Current:2 Limit:20}
[{Major:254 Minor:0 ReadBytes:1 WriteBytes:2 ReadCount:3 WriteCount:4}]
map[2MB:{Usage:2097152 Limit:4194304 Failed:3}]
map[io:{Some:{Avg10:1.5 Avg60:0.05 Avg300:0.01 Total:5.12ms} Full:{Avg10:0.25 Avg60:0 Avg300:0 Total:12µs}}]`
	if got != want {
		t.Errorf("Read() = %s\nwant %s", got, want)
	}
	for _, broken := range []string{"cpu.stat: usage_usec", "memory.current: much", "io.stat: 8:0 rbytes=x", "io.stat: x rbytes=1", "io.pressure: some avg10=x"} {
		file, _, _ := strings.Cut(broken, ":")
		w := grouptest.NewWorld(t, "web/cpu.stat: usage_usec 0", "web/"+broken)
		if s, err := Read(w.Group(t, "/web")); err == nil || !strings.Contains(err.Error(), "/web/"+file) {
			t.Errorf("Read() with %q = %+v, %v, want an error that names the file", broken, s, err)
		}
	}
}

// TestReal: what a real group's processes use.
func TestReal(t *testing.T) {
	g := grouptest.Real(t)
	grouptest.Start(t, g, nil, "/bin/sh", "-c", "while :; do :; done")
	s, err := Read(g)
	for end := time.Now().Add(5 * time.Second); err == nil && s.CPU.Usage == 0 && time.Now().Before(end); s, err = Read(g) {
		time.Sleep(time.Millisecond) // the kernel adds up what a process has used at each of its ticks
	}
	if err != nil || s.CPU.Usage == 0 {
		t.Errorf("Read() = %+v, %v, want some processor time", s, err)
	}
}

func TestHugetlb(t *testing.T) {
	g := grouptest.Real(t, "hugetlb")
	grouptest.Start(t, g, []cgroups.Write{{File: "hugetlb.2MB.max", Value: "0"}}, "/bin/sleep", "1000")
	if s, err := Read(g); err != nil || s.Hugetlb["2MB"] != (Hugetlb{}) {
		t.Errorf("Read() = %+v, %v, want a limit of 0", s, err)
	}
}

func TestMemory(t *testing.T) {
	g := grouptest.Real(t, "memory")
	p := grouptest.Start(t, g, []cgroups.Write{{File: "memory.swap.max", Value: "0", Optional: true}, {File: "memory.max", Value: "16777216"}}, "/proc/self/exe", "eat")
	p.Wait()
	s, err := Read(g)
	grouptest.Check(t, "Read", err)
	if m := s.Memory; m == nil || m.Limit != 16777216 || m.Events["max"] == 0 || len(m.Stat) == 0 {
		t.Errorf("Read() = %+v, want a limit that was hit", m)
	}
}

// TestWithoutMemory: the controller is not handed down.
func TestWithoutMemory(t *testing.T) {
	g := grouptest.Real(t, "memory")
	grouptest.Start(t, g, nil, "/bin/sleep", "1000")
	p := &plan.Plan{}
	above := filepath.Dir(g.Dir)
	file := p.Openat(plan.CWD, above+"/cgroup.subtree_control", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	p.Write(file, "-memory")
	_, err := p.Start(plan.Options{})
	grouptest.Check(t, "take back", err)
	if s, err := Read(g); err != nil || s.Memory != nil {
		t.Errorf("Read() without the controller = %+v, %v, want no Memory", s, err)
	}
}

func TestPids(t *testing.T) {
	g := grouptest.Real(t, "pids")
	p := grouptest.Start(t, g, []cgroups.Write{{File: "pids.max", Value: "1"}}, "/bin/sh", "-c", "/bin/true; exit 0")
	p.Wait()
	if s, err := Read(g); err != nil || *s.Pids != (Pids{Current: 0, Limit: 1}) {
		t.Errorf("Read() = %+v, %v, want a limit of 1", s, err)
	}
}

func TestCPU(t *testing.T) {
	g := grouptest.Real(t, "cpu")
	grouptest.Start(t, g, []cgroups.Write{{File: "cpu.max", Value: "20000 100000"}}, "/bin/sh", "-c", "while :; do :; done")
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		s, err := Read(g)
		grouptest.Check(t, "Read", err)
		if s.CPU.Throttled > 0 && s.CPU.ThrottledTime > 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("Read() = %+v, want a throttled group", s.CPU)
		}
	}
}

// FuzzParse: the parser of what the kernel prints survives anything.
func FuzzParse(f *testing.F) {
	f.Add("some avg10=1.50 avg60=0.05 avg300=0.01 total=5120\n")
	f.Fuzz(func(t *testing.T, text string) { parsePressure(text) })
}
