package affinity

import (
	"encoding/json"
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"minirun/examples/leftovers"
	"minirun/plan"
	"minirun/process/processtest"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestRefusals: what is not taken, and how that is said.
func TestRefusals(t *testing.T) {
	for text, want := range map[string]string{
		`"mode": "X"`:                                `linux.memoryPolicy.mode "X": no such mode`,
		`"mode": "MPOL_BIND", "flags": ["X"]`:        `linux.memoryPolicy.flags "X": no such flag`,
		`"mode": "MPOL_BIND", "nodes": "0,3-2"`:      `linux.memoryPolicy.nodes "0,3-2": "3-2": want numbers from 0 to 1023, or ranges of them`,
		`"mode": "MPOL_BIND", "nodes": "4294967296"`: `linux.memoryPolicy.nodes "4294967296": "4294967296": want numbers from 0 to 1023, or ranges of them`,
	} {
		var m specs.LinuxMemoryPolicy
		if err := json.Unmarshal([]byte("{"+text+"}"), &m); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if got, err := NewMemory(&m); err == nil || err.Error() != want || got != nil {
			t.Errorf("NewMemory(%s) = %v, %v; want %s", text, got, err, want)
		}
	}
	const want = `process.execCPUAffinity.initial "x": "x": want numbers from 0 to 8191, or ranges of them`
	if _, err := NewCPUs(&specs.CPUAffinity{Initial: "x", Final: "0"}); err == nil || err.Error() != want {
		t.Errorf("NewCPUs() = %v, want %s", err, want)
	}
}

// TestPlan: the calls, and none where nothing is asked for.
func TestPlan(t *testing.T) {
	memory, err := NewMemory(&specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "0-1,3"})
	if err != nil {
		t.Fatal(err)
	}
	local, err := NewMemory(&specs.LinuxMemoryPolicy{Mode: specs.MpolLocal})
	if err != nil {
		t.Fatal(err)
	}
	cpus, err := NewCPUs(&specs.CPUAffinity{Initial: "0", Final: "0-3,7"})
	if err != nil {
		t.Fatal(err)
	}
	noMemory, err1 := NewMemory(nil)
	noCPUs, err2 := NewCPUs(nil)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	got := processtest.Text(t, plan.Child, func(p *plan.Plan) {
		cpus.Record(p)
		memory.Record(p)
		local.Record(p)
		noMemory.Record(p)
		noCPUs.Record(p)
	})
	const want = `  1 child   sched_setaffinity(0, 8, [0-3,7])
  2 child   set_mempolicy(2, [0x0b00000000000000], 65)
  3 child   set_mempolicy(4, NULL, 0)
`
	if got != want {
		t.Errorf("the steps are\n%s\nwant\n%s", got, want)
	}
}

// FuzzBitmap: no list makes it panic, and each has whole words.
func FuzzBitmap(f *testing.F) {
	for _, seed := range []string{"", "0", "0-3,7", "63,64", "3-2", "1023", "1024", " 1 , 2", "-", "0-"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		if bits, err := bitmap(list, 1024); err == nil && (len(bits) == 0 || len(bits)%8 != 0 || len(bits) > 128) {
			t.Errorf("bitmap(%q) = %d bytes", list, len(bits))
		}
	})
}

// TestMemory: a process with a memory policy.
func TestMemory(t *testing.T) {
	processtest.NeedRoot(t)
	m, err := NewMemory(&specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "0", Flags: []specs.MemoryPolicyFlagType{specs.MpolFStaticNodes}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := processtest.Run(t, plan.Clone{}, `head -1 /proc/self/numa_maps | cut -d' ' -f2`, m.Record)
	if errors.Is(err, unix.ENOSYS) {
		t.Skip("no memory policies: a kernel with CONFIG_NUMA has them")
	}
	if err != nil || got != "bind=static:0" {
		t.Errorf("printed %q, %v; want bind=static:0", got, err)
	}
}

// TestCPUs: a process on one CPU.
func TestCPUs(t *testing.T) {
	processtest.NeedRoot(t)
	c, err := NewCPUs(&specs.CPUAffinity{Initial: "0-1", Final: "0"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := processtest.Run(t, plan.Clone{}, "grep Cpus_allowed_list /proc/self/status | cut -f2", c.Record)
	if got != "0" || err != nil {
		t.Errorf("runs on %q, %v; want 0", got, err)
	}
}

// TestMain fails a package that leaves something behind.
func TestMain(m *testing.M) { os.Exit(leftovers.Guard(m.Run)) }
