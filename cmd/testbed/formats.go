package testbed

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go/features"
	"github.com/rogpeppe/go-internal/testscript"

	"minirun/container/example"

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
	ts.Check(WriteBundle(dir, args[1:]))
}

// WriteBundle makes a bundle whose root directory is that of the tests' image.
func WriteBundle(dir string, args []string) error {
	rootfs := filepath.Join(dir, "rootfs")
	if err := os.MkdirAll(rootfs, 0o755); err != nil {
		return err
	}
	if out, err := exec.Command("tar", "-xf", Programs, "-C", rootfs).CombinedOutput(); err != nil {
		return fmt.Errorf("tar: %w: %s", err, out)
	}
	spec := example.Spec(false)
	spec.Process.Args, spec.Process.Terminal = args, false
	data, err := json.MarshalIndent(spec, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "config.json"), data, 0o644)
}

// What callers of runc decode. State and list: libcontainer's containerState;
// the events: package types; both as runc 1.5 has them.
type RuncState struct {
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

type RuncEvent struct {
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
	"state": RuncState{}, "list": []RuncState{}, "pids": []int{}, "event": RuncEvent{}, "features": features.Features{}, "spec": specs.Spec{},
}

func strictly(ts *testscript.TestScript, neg bool, args []string) {
	if err := CheckStrictly([]byte(ts.ReadFile(args[0])), formats[args[1]]); (err != nil) != neg {
		ts.Fatalf("%s as %s: %v", args[0], args[1], err)
	}
}

// CheckStrictly decodes JSON into a type and compares it with what the type
// makes of that again: nothing is unknown, nothing is missing.
func CheckStrictly(data []byte, format any) error {
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
