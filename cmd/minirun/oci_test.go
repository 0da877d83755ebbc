package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go/features"
	"github.com/rogpeppe/go-internal/testscript"

	cgroupstats "minirun/cgroups/stats"
	"minirun/container/bundle"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Commands of scripts for what container engines use:
//
//	bundle DIR PROGRAM...   make a bundle with the tests' programs
//	strict FILE TYPE        FILE is the JSON of TYPE: all that it says is in the
//	                        type, and all that the type wants is said
//	apart N COMMAND...      COMMAND ends with exit code N; what it prints goes into
//	                        the files out and err: a container that it makes keeps
//	                        them open, and nobody waits for the end of a file

func apart(ts *testscript.TestScript, neg bool, args []string) {
	exits(ts, neg, append([]string{args[0], "sh", "-c", `"$@" </dev/null >out 2>err || { code=$?; cat out err >&2; exit $code; }`, "sh"}, args[1:]...))
}

func bundleFor(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(writeBundle(dir, args[1:]))
}

// writeBundle makes a bundle whose root directory is that of the tests' image.
func writeBundle(dir string, args []string) error {
	rootfs := filepath.Join(dir, "rootfs")
	if err := os.MkdirAll(rootfs, 0o755); err != nil {
		return err
	}
	if out, err := exec.Command("tar", "-xf", programsTar, "-C", rootfs).CombinedOutput(); err != nil {
		return fmt.Errorf("tar: %w: %s", err, out)
	}
	spec := bundle.Example(false)
	spec.Process.Args, spec.Process.Terminal = args, false
	data, err := json.MarshalIndent(spec, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "config.json"), data, 0o644)
}

// What callers of runc decode. State and list: libcontainer's containerState;
// the events: package types; both as runc 1.5 has them.
type runcState struct {
	Version     string            `json:"ociVersion"`
	ID          string            `json:"id"`
	InitPid     int               `json:"pid"`
	Status      string            `json:"status"`
	Bundle      string            `json:"bundle"`
	Rootfs      string            `json:"rootfs"`
	Created     time.Time         `json:"created"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Owner       string            `json:"owner"`
}

type runcEvent struct {
	Type string     `json:"type"`
	ID   string     `json:"id"`
	Data *runcStats `json:"data,omitempty"`
}

type runcStats struct {
	CPU struct {
		Usage struct {
			Total        uint64   `json:"total,omitempty"`
			Percpu       []uint64 `json:"percpu,omitempty"`
			PercpuKernel []uint64 `json:"percpu_kernel,omitempty"`
			PercpuUser   []uint64 `json:"percpu_user,omitempty"`
			Kernel       uint64   `json:"kernel"`
			User         uint64   `json:"user"`
		} `json:"usage,omitempty"`
		Throttling struct {
			Periods          uint64 `json:"periods,omitempty"`
			ThrottledPeriods uint64 `json:"throttledPeriods,omitempty"`
			ThrottledTime    uint64 `json:"throttledTime,omitempty"`
		} `json:"throttling,omitempty"`
		PSI *runcPressure `json:"psi,omitempty"`
	} `json:"cpu"`
	CPUSet struct {
		CPUs                  []uint16 `json:"cpus,omitempty"`
		CPUExclusive          uint64   `json:"cpu_exclusive"`
		Mems                  []uint16 `json:"mems,omitempty"`
		MemHardwall           uint64   `json:"mem_hardwall"`
		MemExclusive          uint64   `json:"mem_exclusive"`
		MemoryMigrate         uint64   `json:"memory_migrate"`
		MemorySpreadPage      uint64   `json:"memory_spread_page"`
		MemorySpreadSlab      uint64   `json:"memory_spread_slab"`
		MemoryPressure        uint64   `json:"memory_pressure"`
		SchedLoadBalance      uint64   `json:"sched_load_balance"`
		SchedRelaxDomainLevel int64    `json:"sched_relax_domain_level"`
	} `json:"cpuset"`
	Memory struct {
		Cache     uint64            `json:"cache,omitempty"`
		Usage     runcMemory        `json:"usage,omitempty"`
		Swap      runcMemory        `json:"swap,omitempty"`
		Kernel    runcMemory        `json:"kernel,omitempty"`
		KernelTCP runcMemory        `json:"kernelTCP,omitempty"`
		Raw       map[string]uint64 `json:"raw,omitempty"`
		PSI       *runcPressure     `json:"psi,omitempty"`
	} `json:"memory"`
	Pids struct {
		Current uint64 `json:"current,omitempty"`
		Limit   uint64 `json:"limit,omitempty"`
	} `json:"pids"`
	Blkio struct {
		IoServiceBytesRecursive []runcDevice  `json:"ioServiceBytesRecursive,omitempty"`
		IoServicedRecursive     []runcDevice  `json:"ioServicedRecursive,omitempty"`
		IoQueuedRecursive       []runcDevice  `json:"ioQueueRecursive,omitempty"`
		IoServiceTimeRecursive  []runcDevice  `json:"ioServiceTimeRecursive,omitempty"`
		IoWaitTimeRecursive     []runcDevice  `json:"ioWaitTimeRecursive,omitempty"`
		IoMergedRecursive       []runcDevice  `json:"ioMergedRecursive,omitempty"`
		IoTimeRecursive         []runcDevice  `json:"ioTimeRecursive,omitempty"`
		SectorsRecursive        []runcDevice  `json:"sectorsRecursive,omitempty"`
		PSI                     *runcPressure `json:"psi,omitempty"`
	} `json:"blkio"`
	Hugetlb map[string]struct {
		Usage   uint64 `json:"usage,omitempty"`
		Max     uint64 `json:"max,omitempty"`
		Failcnt uint64 `json:"failcnt"`
	} `json:"hugetlb"`
	IntelRdt          struct{}    `json:"intel_rdt"`
	NetworkInterfaces []*struct { // with no tags
		Name                                                                             string
		RxBytes, RxPackets, RxErrors, RxDropped, TxBytes, TxPackets, TxErrors, TxDropped uint64
	} `json:"network_interfaces"`
}

type runcMemory struct {
	Limit   uint64 `json:"limit"`
	Usage   uint64 `json:"usage,omitempty"`
	Max     uint64 `json:"max,omitempty"`
	Failcnt uint64 `json:"failcnt"`
}

type runcDevice struct {
	Major uint64 `json:"major,omitempty"`
	Minor uint64 `json:"minor,omitempty"`
	Op    string `json:"op,omitempty"`
	Value uint64 `json:"value,omitempty"`
}

type runcPressure struct {
	Some runcStall `json:"some"`
	Full runcStall `json:"full"`
}

type runcStall struct {
	Avg10  float64 `json:"avg10"`
	Avg60  float64 `json:"avg60"`
	Avg300 float64 `json:"avg300"`
	Total  uint64  `json:"total"`
}

// formats are the types by the names that scripts have for them.
var formats = map[string]any{
	"state": runcState{}, "list": []runcState{}, "pids": []int{}, "event": runcEvent{}, "features": features.Features{}, "spec": specs.Spec{},
}

func strictly(ts *testscript.TestScript, neg bool, args []string) {
	if err := checkStrictly([]byte(ts.ReadFile(args[0])), formats[args[1]]); (err != nil) != neg {
		ts.Fatalf("%s as %s: %v", args[0], args[1], err)
	}
}

// checkStrictly decodes JSON into a type and compares it with what the type
// makes of that again: nothing is unknown, nothing is missing.
func checkStrictly(data []byte, format any) error {
	to := reflect.New(reflect.TypeOf(format))
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(to.Interface()); err != nil {
		return err
	}
	if d.More() {
		return fmt.Errorf("more than one value")
	}
	again, err := json.Marshal(to.Interface())
	if err != nil {
		return err
	}
	var was, is any
	if err := json.Unmarshal(data, &was); err != nil {
		return err
	}
	if err := json.Unmarshal(again, &is); err != nil {
		return err
	}
	if !reflect.DeepEqual(was, is) {
		return fmt.Errorf("%s becomes %s", data, again)
	}
	return nil
}

// TestStrict: the check above can fail.
func TestStrict(t *testing.T) {
	state := `{"ociVersion":"1","id":"x","pid":0,"status":"stopped","bundle":"/","rootfs":"/","created":"2026-01-02T03:04:05Z","owner":""}`
	for text, want := range map[string]bool{
		state: true,
		strings.Replace(state, `"pid"`, `"Pids"`, 1):     false,
		strings.Replace(state, `"pid":0,`, ``, 1):        false,
		strings.Replace(state, `"pid":0`, `"pid":""`, 1): false,
		state + state: false,
	} {
		if err := checkStrictly([]byte(text), runcState{}); (err == nil) != want {
			t.Errorf("checkStrictly(%s) = %v, want it to be good: %v", text, err, want)
		}
	}
}

// TestStatsForm: the form of events, with all that the kernel can tell.
func TestStatsForm(t *testing.T) {
	full := &cgroupstats.Stats{
		CPU:      cgroupstats.CPU{Usage: 3 * time.Microsecond, User: 2 * time.Microsecond, System: time.Microsecond, Periods: 4, Throttled: 5, ThrottledTime: 6},
		Memory:   &cgroupstats.Memory{Usage: 10, Limit: 20, Peak: 15, SwapUsage: 1, SwapLimit: 2, SwapPeak: 1, Stat: map[string]uint64{"file": 7, "anon": 3}, Events: map[string]uint64{"max": 9}},
		Pids:     &cgroupstats.Pids{Current: 1, Limit: 2},
		IO:       []cgroupstats.IO{{Major: 8, Minor: 16, ReadBytes: 1, WriteBytes: 2, ReadCount: 3, WriteCount: 4}},
		Hugetlb:  map[string]cgroupstats.Hugetlb{"2MB": {Usage: 1, Limit: 2, Failed: 3}},
		Pressure: map[string]cgroupstats.Pressure{"cpu": {Some: cgroupstats.Stall{Avg10: 0.5, Total: 7 * time.Microsecond}}, "memory": {}, "io": {}},
	}
	const want = `{"type":"stats","id":"x","data":{"cpu":{"usage":{"total":3000,"kernel":1000,"user":2000},` +
		`"throttling":{"periods":4,"throttledPeriods":5,"throttledTime":6},` +
		`"psi":{"some":{"avg10":0.5,"avg60":0,"avg300":0,"total":7},"full":{"avg10":0,"avg60":0,"avg300":0,"total":0}}},` +
		`"cpuset":{"cpu_exclusive":0,"mem_hardwall":0,"mem_exclusive":0,"memory_migrate":0,"memory_spread_page":0,"memory_spread_slab":0,"memory_pressure":0,"sched_load_balance":0,"sched_relax_domain_level":0},` +
		`"memory":{"cache":7,"usage":{"limit":20,"usage":10,"max":15,"failcnt":9},"swap":{"limit":22,"usage":11,"failcnt":0},"kernel":{"limit":0,"failcnt":0},"kernelTCP":{"limit":0,"failcnt":0},"raw":{"anon":3,"file":7},` +
		`"psi":{"some":{"avg10":0,"avg60":0,"avg300":0,"total":0},"full":{"avg10":0,"avg60":0,"avg300":0,"total":0}}},` +
		`"pids":{"current":1,"limit":2},` +
		`"blkio":{"ioServiceBytesRecursive":[{"major":8,"minor":16,"op":"Read","value":1},{"major":8,"minor":16,"op":"Write","value":2}],` +
		`"ioServicedRecursive":[{"major":8,"minor":16,"op":"Read","value":3},{"major":8,"minor":16,"op":"Write","value":4}],` +
		`"psi":{"some":{"avg10":0,"avg60":0,"avg300":0,"total":0},"full":{"avg10":0,"avg60":0,"avg300":0,"total":0}}},` +
		`"hugetlb":{"2MB":{"usage":1,"failcnt":3}},"intel_rdt":{},"network_interfaces":null}}`
	for name, c := range map[string]struct {
		stats *cgroupstats.Stats
		want  string
	}{"all": {full, want}, "nothing": {&cgroupstats.Stats{}, ""}} {
		data, err := json.Marshal(event{"stats", "x", statsOf(c.stats)})
		must(t, err)
		if c.want != "" && string(data) != c.want {
			t.Errorf("%s: an event is\n%s, want\n%s", name, data, c.want)
		}
		if err := checkStrictly(data, runcEvent{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	none := &cgroupstats.Stats{Memory: &cgroupstats.Memory{Usage: 10, Limit: cgroupstats.Unlimited, SwapLimit: 5}, Pids: &cgroupstats.Pids{Limit: cgroupstats.Unlimited}}
	if s := statsOf(none); s.Memory.Usage.Limit != cgroupstats.Unlimited || s.Memory.Swap.Limit != cgroupstats.Unlimited || s.Pids.Limit != 0 {
		t.Errorf("statsOf without limits = %+v", s)
	}
}

// TestOnly: the lines of ps(1) are chosen by its column PID, wherever that is.
func TestOnly(t *testing.T) {
	for text, want := range map[string]string{
		"UID   PID CMD\nroot    1 init\nroot   12 sh -c 34\n": "UID   PID CMD\nroot   12 sh -c 34\n",
		"  PID COMMAND\n   34 a b\n  123 c\n\n  12 d":         "  PID COMMAND\n   34 a b\n  12 d",
		"COMMAND\nsh\n": "",
	} {
		var out strings.Builder
		if err := only(&out, text, []int{12, 34}); out.String() != want || (err == nil) != (want != "") {
			t.Errorf("only(%q) = %q, %v; want %q", text, out.String(), err, want)
		}
	}
}
