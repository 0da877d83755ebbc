package affinity

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
)

// CPUs are the processors that a process which joins a container may run on. Nil
// leaves them as they are.
type CPUs struct {
	list string
	bits []byte // bit n is processor n
}

// NewCPUs checks process.execCPUAffinity; nil without one. An error names the
// property.
func NewCPUs(a *specs.CPUAffinity) (cpus *CPUs, err error) {
	if a == nil {
		return nil, nil
	}
	for _, f := range []struct{ name, list string }{{"initial", a.Initial}, {"final", a.Final}} {
		if f.list == "" {
			continue
		}
		bits, err := bitmap(f.list, 8192)
		if err != nil {
			return nil, fmt.Errorf("process.execCPUAffinity.%s %q: %w", f.name, f.list, err)
		}
		cpus = &CPUs{f.list, bits}
	}
	return cpus, nil
}

// Record records the affinity.
func (c *CPUs) Record(p *plan.Plan) {
	if c != nil {
		p.Call("sched_setaffinity", unix.SYS_SCHED_SETAFFINITY, plan.Num(0), plan.Num(len(c.bits)), &plan.Memory{Bytes: c.bits, Show: func() string { return "[" + c.list + "]" }})
	}
}

// A Memory is a memory policy: the arguments of set_mempolicy(2). Nil leaves it
// as it is.
type Memory struct {
	mode  int    // MPOL_…, with flags
	nodes []byte // bit n is node n; nil: none
}

var (
	modes = map[specs.MemoryPolicyModeType]int{
		specs.MpolDefault: unix.MPOL_DEFAULT, specs.MpolPreferred: unix.MPOL_PREFERRED, specs.MpolBind: unix.MPOL_BIND, specs.MpolInterleave: unix.MPOL_INTERLEAVE,
		specs.MpolLocal: unix.MPOL_LOCAL, specs.MpolPreferredMany: unix.MPOL_PREFERRED_MANY, specs.MpolWeightedInterleave: unix.MPOL_WEIGHTED_INTERLEAVE,
	}
	modeFlags = map[specs.MemoryPolicyFlagType]int{
		specs.MpolFNumaBalancing: unix.MPOL_F_NUMA_BALANCING, specs.MpolFRelativeNodes: unix.MPOL_F_RELATIVE_NODES, specs.MpolFStaticNodes: unix.MPOL_F_STATIC_NODES,
	}
)

// NewMemory checks linux.memoryPolicy; nil without one. An error names the
// property.
func NewMemory(s *specs.LinuxMemoryPolicy) (_ *Memory, err error) {
	if s == nil {
		return nil, nil
	}
	mode, ok := modes[s.Mode]
	if !ok {
		return nil, fmt.Errorf("linux.memoryPolicy.mode %q: no such mode", s.Mode)
	}
	for _, name := range s.Flags {
		flag, ok := modeFlags[name]
		if !ok {
			return nil, fmt.Errorf("linux.memoryPolicy.flags %q: no such flag", name)
		}
		mode |= flag
	}
	m := &Memory{mode: mode}
	if s.Nodes != "" {
		if m.nodes, err = bitmap(s.Nodes, 1024); err != nil {
			return nil, fmt.Errorf("linux.memoryPolicy.nodes %q: %w", s.Nodes, err)
		}
	}
	return m, nil
}

// Record records the policy. set_mempolicy(2) reads one bit less than it is told
// that there are.
func (m *Memory) Record(p *plan.Plan) {
	if m == nil {
		return
	}
	nodes, count := plan.Arg(plan.Null), 0
	if m.nodes != nil {
		nodes = &plan.Memory{Bytes: m.nodes, Show: func() string { return fmt.Sprintf("[%#x]", m.nodes) }}
		count = 8*len(m.nodes) + 1
	}
	p.Call("set_mempolicy", unix.SYS_SET_MEMPOLICY, plan.Num(m.mode), nodes, plan.Num(count))
}

// MemoryFeatures says which modes and flags a spec can ask for.
func MemoryFeatures() *features.MemoryPolicy {
	return &features.MemoryPolicy{Modes: keys(modes), Flags: keys(modeFlags)}
}

// keys are those of a table, sorted.
func keys[K ~string, V any](table map[K]V) (list []string) {
	for _, k := range slices.Sorted(maps.Keys(table)) {
		list = append(list, string(k))
	}
	return list
}

// bitmap reads a list of numbers below limit, as the kernel prints those of
// CPUs and memory nodes ("0-3,7"), into bits: whole words of 64, as it takes them.
func bitmap(list string, limit int) ([]byte, error) {
	bits := make([]byte, limit/8)
	last := 0
	for _, part := range strings.Split(list, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			to = from
		}
		a, err1 := strconv.ParseUint(from, 10, 32)
		b, err2 := strconv.ParseUint(to, 10, 32)
		if err1 != nil || err2 != nil || a > b || b >= uint64(limit) {
			return nil, fmt.Errorf("%q: want numbers from 0 to %d, or ranges of them", part, limit-1)
		}
		for n := a; n <= b; n++ {
			bits[n/8] |= 1 << (n % 8)
		}
		last = max(last, int(b))
	}
	return slices.Clip(bits[:(last/64+1)*8]), nil
}
