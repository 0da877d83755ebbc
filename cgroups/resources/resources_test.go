package resources

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// translations are linux.resources as in config.json, and the writes they
// mean: "?" marks what may be missing, "|" what is written instead.
var translations = []struct{ resources, want string }{
	{`{}`, ``},
	{`{"memory":{},"cpu":{},"pids":{},"blockIO":{},"network":{},"hugepageLimits":[],"rdma":{},"unified":{}}`, ``},
	{`{"memory":{"limit":0,"swap":0,"reservation":0,"kernel":0,"kernelTCP":-1,"disableOOMKiller":false,"useHierarchy":true}}`, ``},
	{`{"cpu":{"shares":0,"quota":0,"period":0,"realtimeRuntime":0,"realtimePeriod":0,"cpus":"","mems":""}}`, ``},
	{`{"blockIO":{"weight":0,"leafWeight":0},"network":{"classID":0}}`, ``},
	{`{"devices":[{"allow":false,"access":"rwm"}]}`, ``},

	{`{"pids":{"limit":20}}`, `pids.max 20`},
	{`{"pids":{"limit":0}}`, `pids.max 1`},
	{`{"pids":{"limit":-1}}`, `pids.max max?`},
	{`{"pids":{"limit":-2}}`, `pids.max max?`},

	{`{"memory":{"limit":67108864}}`, `memory.max 67108864`},
	{`{"memory":{"limit":-1}}`, `memory.swap.max max?; memory.max max?`},
	{`{"memory":{"limit":-1,"swap":-1}}`, `memory.swap.max max?; memory.max max?`},
	{`{"memory":{"swap":-1}}`, `memory.swap.max max?`},
	{`{"memory":{"limit":100,"swap":-1}}`, `memory.swap.max max?; memory.max 100`},
	{`{"memory":{"limit":100,"swap":300}}`, `memory.swap.max 200; memory.max 100`},
	{`{"memory":{"limit":100,"swap":100}}`, `memory.swap.max 0?; memory.max 100`},
	{`{"memory":{"reservation":50}}`, `memory.low 50`},
	{`{"memory":{"reservation":-1}}`, `memory.low max?`},

	{`{"cpu":{"shares":1024}}`, `cpu.weight 100`},
	{`{"cpu":{"quota":50000}}`, `cpu.max 50000 100000`},
	{`{"cpu":{"quota":50000,"period":20000}}`, `cpu.max 50000 20000`},
	{`{"cpu":{"period":20000}}`, `cpu.max max 20000?`},
	{`{"cpu":{"quota":-1}}`, `cpu.max max 100000?`},
	{`{"cpu":{"quota":-1,"period":20000}}`, `cpu.max max 20000?`},
	{`{"cpu":{"quota":50000,"burst":10000}}`, `cpu.max 50000 100000; cpu.max.burst 10000`},
	{`{"cpu":{"burst":0}}`, `cpu.max.burst 0?`},
	{`{"cpu":{"idle":0,"shares":1024}}`, `cpu.idle 0?; cpu.weight 100`},
	{`{"cpu":{"idle":1,"shares":1024}}`, `cpu.idle 1`},
	{`{"cpu":{"cpus":"0-1,3","mems":"0"}}`, `cpuset.cpus 0-1,3; cpuset.mems 0`},

	{`{"blockIO":{"weight":10}}`, `io.bfq.weight 10|io.weight 1`},
	{`{"blockIO":{"weight":100}}`, `io.bfq.weight 100|io.weight 910`},
	{`{"blockIO":{"weight":500}}`, `io.bfq.weight 500|io.weight 4950`},
	{`{"blockIO":{"weight":1000}}`, `io.bfq.weight 1000|io.weight 10000`},
	{`{"blockIO":{"weightDevice":[{"major":8,"minor":16,"weight":500}]}}`, `io.bfq.weight 8:16 500|io.weight 8:16 4950`},
	{`{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":600}],"throttleWriteBpsDevice":[{"major":8,"minor":0,"rate":700}],
	  "throttleReadIOPSDevice":[{"major":8,"minor":0,"rate":800}],"throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":0}]}}`,
		`io.max 8:0 rbps=600; io.max 8:0 wbps=700; io.max 8:0 riops=800; io.max 8:0 wiops=max?`},

	{`{"hugepageLimits":[{"pageSize":"2MB","limit":4194304},{"pageSize":"1GB","limit":0}]}`,
		`hugetlb.2MB.max 4194304; hugetlb.2MB.rsvd.max 4194304; hugetlb.1GB.max 0; hugetlb.1GB.rsvd.max 0`},
	{`{"rdma":{"mlx5_1":{"hcaHandles":3,"hcaObjects":10000},"mlx4_0":{"hcaObjects":0},"idle":{}}}`,
		`rdma.max mlx4_0 hca_object=0; rdma.max mlx5_1 hca_handle=3 hca_object=10000`},
	{`{"unified":{"memory.high":"1000","cgroup.max.depth":"2","io.max":"8:0 rbps=1\n8:16 rbps=2\n","memory.low":""}}`,
		`cgroup.max.depth 2; io.max 8:0 rbps=1; io.max 8:16 rbps=2; memory.high 1000`},

	// The order: pids, memory, io, cpu, cpuset, hugetlb, rdma, unified.
	{`{"unified":{"pids.max":"7"},"rdma":{"d":{"hcaHandles":1}},"hugepageLimits":[{"pageSize":"2MB","limit":1}],"cpu":{"cpus":"0","shares":2},
	  "blockIO":{"weight":10},"memory":{"limit":5},"pids":{"limit":3}}`,
		`pids.max 3; memory.max 5; io.bfq.weight 10|io.weight 1; cpu.weight 1; cpuset.cpus 0; hugetlb.2MB.max 1; hugetlb.2MB.rsvd.max 1; rdma.max d hca_handle=1; pids.max 7`},
}

func TestNew(t *testing.T) {
	for _, test := range translations {
		list, err := New(resources(t, test.resources))
		if got := show(list); err != nil || got != test.want {
			t.Errorf("New(%s) = %s, %v\nwant %s", test.resources, got, err, test.want)
		}
	}
	if list, err := New(nil); list != nil || err != nil {
		t.Errorf("New(nil) = %v, %v, want nothing", list, err)
	}
}

func TestRefused(t *testing.T) {
	for _, test := range []struct{ resources, want string }{
		{`{"memory":{"limit":-5}}`, `linux.resources.memory.limit -5: neither bytes nor -1`},
		{`{"memory":{"reservation":-2}}`, `linux.resources.memory.reservation -2: neither bytes nor -1`},
		{`{"memory":{"limit":-5,"swap":-5}}`, `linux.resources.memory.swap -5: neither bytes nor -1`},
		{`{"memory":{"swap":100}}`, `linux.resources.memory.swap 100: is memory and swap together, and memory.limit is missing`},
		{`{"memory":{"limit":-1,"swap":100}}`, `linux.resources.memory.swap 100: is memory and swap together, and memory.limit is missing`},
		{`{"memory":{"limit":100,"swap":99}}`, `linux.resources.memory.swap 99: is memory and swap together, but less than memory.limit 100`},
		{`{"memory":{"kernel":1}}`, `linux.resources.memory.kernel: cgroup v2 has no such control`},
		{`{"memory":{"kernelTCP":1}}`, `linux.resources.memory.kernelTCP: cgroup v2 has no such control`},
		{`{"memory":{"swappiness":60}}`, `linux.resources.memory.swappiness: cgroup v2 has no such control`},
		{`{"memory":{"disableOOMKiller":true}}`, `linux.resources.memory.disableOOMKiller: cgroup v2 has no such control`},
		{`{"cpu":{"realtimeRuntime":1}}`, `linux.resources.cpu.realtimeRuntime: cgroup v2 has no such control`},
		{`{"cpu":{"realtimePeriod":1}}`, `linux.resources.cpu.realtimePeriod: cgroup v2 has no such control`},
		{`{"cpu":{"idle":2}}`, `linux.resources.cpu.idle 2: neither 0 nor 1`},
		{`{"cpu":{"idle":-1}}`, `linux.resources.cpu.idle -1: neither 0 nor 1`},
		{`{"blockIO":{"weight":9}}`, `linux.resources.blockIO.weight 9: not from 10 to 1000`},
		{`{"blockIO":{"weight":1001}}`, `linux.resources.blockIO.weight 1001: not from 10 to 1000`},
		{`{"blockIO":{"leafWeight":10}}`, `linux.resources.blockIO.leafWeight: cgroup v2 has no such control`},
		{`{"blockIO":{"weightDevice":[{"major":8,"minor":0,"leafWeight":10}]}}`, `linux.resources.blockIO.weightDevice leafWeight: cgroup v2 has no such control`},
		{`{"blockIO":{"weightDevice":[{"major":8,"minor":-1,"weight":10}]}}`, `linux.resources.blockIO.weightDevice 8:-1: not a device number`},
		{`{"blockIO":{"weightDevice":[{"major":8,"minor":1,"weight":1}]}}`, `linux.resources.blockIO.weightDevice 8:1 1: not from 10 to 1000`},
		{`{"blockIO":{"throttleReadBpsDevice":[{"major":-8,"minor":0,"rate":1}]}}`, `linux.resources.blockIO.throttleReadBpsDevice -8:0: not a device number`},
		{`{"hugepageLimits":[{"pageSize":"../2MB","limit":1}]}`, `linux.resources.hugepageLimits pageSize "../2MB": not a size such as 2MB`},
		{`{"hugepageLimits":[{"pageSize":"","limit":1}]}`, `linux.resources.hugepageLimits pageSize "": not a size such as 2MB`},
		{`{"rdma":{"a b":{"hcaHandles":1}}}`, `linux.resources.rdma "a b": not the name of a device`},
		{`{"network":{"classID":1}}`, `linux.resources.network.classID: cgroup v2 has no such control`},
		{`{"network":{"priorities":[{"name":"eth0","priority":1}]}}`, `linux.resources.network.priorities: cgroup v2 has no such control`},
		{`{"unified":{"../memory.max":"1"}}`, `linux.resources.unified "../memory.max": not the name of a control file`},
		{`{"unified":{"memory/max.x":"1"}}`, `linux.resources.unified "memory/max.x": not the name of a control file`},
		{`{"unified":{"..":"1"}}`, `linux.resources.unified "..": not the name of a control file`},
		{`{"unified":{"":"1"}}`, `linux.resources.unified "": not the name of a control file`},
		{`{"unified":{"memory":"1"}}`, `linux.resources.unified "memory": not the name of a control file`},
		{`{"unified":{"cgroup.procs":"1"}}`, `linux.resources.unified "cgroup.procs": not a limit`},
		{`{"unified":{"cgroup.freeze":"1"}}`, `linux.resources.unified "cgroup.freeze": not a limit`},
		{`{"cpu":{"cpus":"0\n1"}}`, `"cpuset.cpus 0\n1": not a control file and one line`},
		{`{"unified":{"memory.max":"1\u0000"}}`, `"memory.max 1\x00": not a control file and one line`},
	} {
		if list, err := New(resources(t, test.resources)); err == nil || err.Error() != test.want {
			t.Errorf("New(%s) = %s, %v\nwant %s", test.resources, show(list), err, test.want)
		}
	}
}

// TestCPUWeight has the values that runc and crun compute. At 1024 the curve
// meets a whole number, where rounding could differ.
func TestCPUWeight(t *testing.T) {
	want := map[uint64]int64{
		1: 1, 2: 1, 3: 2, 10: 4, 102: 17, 128: 21, 256: 35, 512: 59, 1000: 99, 1011: 99, 1024: 100, 1025: 101, 2048: 174, 4096: 303,
		10240: 639, 65536: 3023, 262143: 10000, 262144: 10000, 1 << 40: 10000,
	}
	for shares := uint64(1012); shares < 1024; shares++ {
		want[shares] = 100
	}
	for shares, weight := range want {
		if got := cpuWeight(shares); got != weight {
			t.Errorf("cpuWeight(%d) = %d, want %d", shares, got, weight)
		}
	}
	for shares := uint64(1); shares < 1<<18; shares++ {
		if a, b := cpuWeight(shares), cpuWeight(shares+1); a > b || a < 1 || b > 10_000 {
			t.Fatalf("cpuWeight(%d, %d) = %d, %d, want a rise between 1 and 10000", shares, shares+1, a, b)
		}
	}
}

// FuzzNew: whatever the spec says, what comes out are lines for files right
// in the group's directory, the same every time.
func FuzzNew(f *testing.F) {
	for _, test := range translations {
		f.Add([]byte(test.resources))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var r specs.LinuxResources
		if json.Unmarshal(data, &r) != nil {
			return
		}
		list, err := New(&r)
		again, _ := New(&r)
		if err == nil && !reflect.DeepEqual(list, again) {
			t.Errorf("New(%s) = %s, then %s", data, show(list), show(again))
		}
		for _, w := range list {
			if strings.Contains(w.File, "/") || !strings.Contains(w.File, ".") || w.Value == "" || strings.ContainsAny(w.Value, "\n\x00") {
				t.Errorf("New(%s) has %q", data, w)
			}
			if c := w.Controller(); c == "" && !strings.HasPrefix(w.File, "cgroup.") {
				t.Errorf("New(%s) has %q, of no controller", data, w)
			}
		}
	})
}

func resources(t testing.TB, text string) *specs.LinuxResources {
	t.Helper()
	var r specs.LinuxResources
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

func show(list []write) string {
	var lines []string
	for _, w := range list {
		s := w.String()
		if w.Optional {
			s += "?"
		}
		if w.Else != nil {
			s += "|" + w.Else.String()
		}
		lines = append(lines, s)
	}
	return strings.Join(lines, "; ")
}

func Example() {
	limit, shares := int64(64<<20), uint64(512)
	list, err := New(&specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: &limit},
		CPU:    &specs.LinuxCPU{Shares: &shares},
	})
	for _, w := range list {
		fmt.Println(w)
	}
	fmt.Println(err)
	// Output:
	// memory.max 67108864
	// cpu.weight 59
	// <nil>
}
