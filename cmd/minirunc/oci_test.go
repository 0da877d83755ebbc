package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	cgroupstats "minirun/cgroups/stats"

	"minirun/cmd/testbed"
)

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
		if err := testbed.CheckStrictly([]byte(text), testbed.RuncState{}); (err == nil) != want {
			t.Errorf("testbed.CheckStrictly(%s) = %v, want it to be good: %v", text, err, want)
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
		testbed.Must(t, err)
		if c.want != "" && string(data) != c.want {
			t.Errorf("%s: an event is\n%s, want\n%s", name, data, c.want)
		}
		if err := testbed.CheckStrictly(data, testbed.RuncEvent{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	none := &cgroupstats.Stats{Memory: &cgroupstats.Memory{Usage: 10, Limit: cgroupstats.Unlimited, SwapLimit: 5}, Pids: &cgroupstats.Pids{Limit: cgroupstats.Unlimited}}
	if s := statsOf(none); s.Memory.Usage.Limit != cgroupstats.Unlimited || s.Memory.Swap.Limit != cgroupstats.Unlimited || s.Pids.Limit != 0 {
		t.Errorf("statsOf without limits = %+v", s)
	}
}

// TestLines: the lines of ps(1) are chosen by its column PID, wherever that is.
func TestLines(t *testing.T) {
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
