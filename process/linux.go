package process

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A memoryPolicy is an argument list of set_mempolicy(2).
type memoryPolicy struct {
	mode  int
	nodes []byte // bit n is node n; nil: none
}

// Linux reads what the spec keeps under linux although it is the process's:
// the personality and the memory policy. Errors name the property.
func (i *Identity) Linux(l *specs.Linux) error {
	if l == nil {
		return nil
	}
	return errors.Join(i.readPersonality(l.Personality), i.readMemoryPolicy(l.MemoryPolicy))
}

func (i *Identity) readPersonality(p *specs.LinuxPersonality) error {
	if p == nil {
		return nil
	}
	domain := map[specs.LinuxPersonalityDomain]int{specs.PerLinux: 0, specs.PerLinux32: 8}
	number, ok := domain[p.Domain]
	if !ok {
		return fmt.Errorf("linux.personality.domain %q: want LINUX or LINUX32", p.Domain)
	}
	if len(p.Flags) > 0 {
		return fmt.Errorf("linux.personality.flags %q: no flags are defined", p.Flags)
	}
	i.personal = &number
	return nil
}

// modes and flags of set_mempolicy(2).
var (
	memoryModes = map[specs.MemoryPolicyModeType]int{
		specs.MpolDefault: unix.MPOL_DEFAULT, specs.MpolPreferred: unix.MPOL_PREFERRED, specs.MpolBind: unix.MPOL_BIND, specs.MpolInterleave: unix.MPOL_INTERLEAVE,
		specs.MpolLocal: unix.MPOL_LOCAL, specs.MpolPreferredMany: unix.MPOL_PREFERRED_MANY, specs.MpolWeightedInterleave: unix.MPOL_WEIGHTED_INTERLEAVE,
	}
	memoryFlags = map[specs.MemoryPolicyFlagType]int{
		specs.MpolFNumaBalancing: unix.MPOL_F_NUMA_BALANCING, specs.MpolFRelativeNodes: unix.MPOL_F_RELATIVE_NODES, specs.MpolFStaticNodes: unix.MPOL_F_STATIC_NODES,
	}
)

func (i *Identity) readMemoryPolicy(m *specs.LinuxMemoryPolicy) (err error) {
	if m == nil {
		return nil
	}
	mode, ok := memoryModes[m.Mode]
	if !ok {
		return fmt.Errorf("linux.memoryPolicy.mode %q: no such mode", m.Mode)
	}
	for _, name := range m.Flags {
		flag, ok := memoryFlags[name]
		if !ok {
			return fmt.Errorf("linux.memoryPolicy.flags %q: no such flag", name)
		}
		mode |= flag
	}
	i.memory = &memoryPolicy{mode: mode}
	if m.Nodes != "" {
		if i.memory.nodes, err = bitmap(m.Nodes, 1024); err != nil {
			return fmt.Errorf("linux.memoryPolicy.nodes %q: %w", m.Nodes, err)
		}
	}
	return nil
}

// bitmap reads a list of numbers below limit, as the kernel prints those of
// CPUs and memory nodes ("0-3,7"), into bits: whole words of 64.
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

// Affinity records on which CPUs a process runs that joins a container:
// execCPUAffinity.final, else initial. (Initial is for the time before it joins
// the container's cgroup, but it is born there.)
func (i *Identity) Affinity(p *plan.Plan) {
	if a := i.cpus; a.bits != nil {
		p.Call("sched_setaffinity", unix.SYS_SCHED_SETAFFINITY, plan.Number(0), plan.Number(len(a.bits)), plan.Block(a.bits, func() string { return "[" + a.list + "]" }))
	}
}

// A cpuSet is a list of CPUs, as it was written and as the kernel wants it.
type cpuSet struct {
	list string
	bits []byte // nil: none was asked for
}

// affinity reads the lists. An error names the property.
func affinity(a *specs.CPUAffinity) (set cpuSet, err error) {
	if a == nil {
		return set, nil
	}
	for _, f := range []struct{ name, list string }{{"initial", a.Initial}, {"final", a.Final}} {
		if f.list == "" {
			continue
		}
		if set.bits, err = bitmap(f.list, 8192); err != nil {
			return set, fmt.Errorf("process.execCPUAffinity.%s %q: %w", f.name, f.list, err)
		}
		set.list = f.list
	}
	return set, nil
}
