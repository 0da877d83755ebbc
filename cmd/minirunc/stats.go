package main

import (
	cgroupstats "minirun/cgroups/stats"
)

// The types below are the form in which events prints what a container uses: the one
// that callers of runc parse. It was made for cgroup v1. Values that cgroup v2 does
// not count are zero, or left out. Times are in nanoseconds, sizes in bytes; no limit
// is the largest number.

type stats struct {
	CPU      statsCPU              `json:"cpu"`
	CPUSet   statsCPUSet           `json:"cpuset"`
	Memory   statsMemory           `json:"memory"`
	Pids     statsPids             `json:"pids"`
	IO       statsIO               `json:"blkio"`
	Hugetlb  map[string]statsPages `json:"hugetlb"`
	IntelRdt struct{}              `json:"intel_rdt"`
	Network  []struct{}            `json:"network_interfaces"` // null: its namespace has them, not the cgroup
}

type statsCPU struct {
	Usage struct {
		Total  uint64 `json:"total,omitempty"`
		Kernel uint64 `json:"kernel"`
		User   uint64 `json:"user"`
	} `json:"usage"`
	Throttling struct {
		Periods          uint64 `json:"periods,omitempty"`
		ThrottledPeriods uint64 `json:"throttledPeriods,omitempty"`
		ThrottledTime    uint64 `json:"throttledTime,omitempty"`
	} `json:"throttling"`
	PSI *statsPressure `json:"psi,omitempty"`
}

// A statsCPUSet is always zero: only cgroup v1 has these.
type statsCPUSet struct {
	CPUExclusive          uint64 `json:"cpu_exclusive"`
	MemHardwall           uint64 `json:"mem_hardwall"`
	MemExclusive          uint64 `json:"mem_exclusive"`
	MemoryMigrate         uint64 `json:"memory_migrate"`
	MemorySpreadPage      uint64 `json:"memory_spread_page"`
	MemorySpreadSlab      uint64 `json:"memory_spread_slab"`
	MemoryPressure        uint64 `json:"memory_pressure"`
	SchedLoadBalance      uint64 `json:"sched_load_balance"`
	SchedRelaxDomainLevel int64  `json:"sched_relax_domain_level"`
}

type statsMemory struct {
	Cache     uint64            `json:"cache,omitempty"`
	Usage     statsBytes        `json:"usage"`
	Swap      statsBytes        `json:"swap"` // memory and swap together
	Kernel    statsBytes        `json:"kernel"`
	KernelTCP statsBytes        `json:"kernelTCP"`
	Raw       map[string]uint64 `json:"raw,omitempty"` // memory.stat
	PSI       *statsPressure    `json:"psi,omitempty"`
}

type statsBytes struct {
	Limit   uint64 `json:"limit"`
	Usage   uint64 `json:"usage,omitempty"`
	Max     uint64 `json:"max,omitempty"` // the highest usage so far
	Failcnt uint64 `json:"failcnt"`
}

type statsPids struct {
	Current uint64 `json:"current,omitempty"`
	Limit   uint64 `json:"limit,omitempty"` // 0: none
}

type statsIO struct {
	Bytes      []statsDevice  `json:"ioServiceBytesRecursive,omitempty"`
	Operations []statsDevice  `json:"ioServicedRecursive,omitempty"`
	PSI        *statsPressure `json:"psi,omitempty"`
}

type statsDevice struct {
	Major uint64 `json:"major,omitempty"`
	Minor uint64 `json:"minor,omitempty"`
	Op    string `json:"op,omitempty"` // Read or Write
	Value uint64 `json:"value,omitempty"`
}

type statsPages struct {
	Usage   uint64 `json:"usage,omitempty"`
	Max     uint64 `json:"max,omitempty"`
	Failcnt uint64 `json:"failcnt"`
}

type statsPressure struct {
	Some statsStall `json:"some"`
	Full statsStall `json:"full"`
}

type statsStall struct {
	Avg10  float64 `json:"avg10"`
	Avg60  float64 `json:"avg60"`
	Avg300 float64 `json:"avg300"`
	Total  uint64  `json:"total"` // microseconds, as the kernel has it
}

func statsOf(s *cgroupstats.Stats) stats {
	t := stats{Memory: memoryStats(s), Hugetlb: map[string]statsPages{}}
	t.CPU.Usage.Total, t.CPU.Usage.Kernel, t.CPU.Usage.User = uint64(s.CPU.Usage), uint64(s.CPU.System), uint64(s.CPU.User)
	t.CPU.Throttling.Periods, t.CPU.Throttling.ThrottledPeriods = s.CPU.Periods, s.CPU.Throttled
	t.CPU.Throttling.ThrottledTime = uint64(s.CPU.ThrottledTime)
	t.CPU.PSI, t.Memory.PSI, t.IO.PSI = pressure(s, "cpu"), pressure(s, "memory"), pressure(s, "io")
	if s.Pids != nil {
		t.Pids.Current = s.Pids.Current
		if s.Pids.Limit != cgroupstats.Unlimited {
			t.Pids.Limit = s.Pids.Limit
		}
	}
	for _, d := range s.IO {
		t.IO.Bytes = append(t.IO.Bytes, statsDevice{d.Major, d.Minor, "Read", d.ReadBytes}, statsDevice{d.Major, d.Minor, "Write", d.WriteBytes})
		t.IO.Operations = append(t.IO.Operations, statsDevice{d.Major, d.Minor, "Read", d.ReadCount}, statsDevice{d.Major, d.Minor, "Write", d.WriteCount})
	}
	for size, h := range s.Hugetlb {
		t.Hugetlb[size] = statsPages{Usage: h.Usage, Failcnt: h.Failed}
	}
	return t
}

// memoryStats counts swap as cgroup v1 did: together with memory. The highest usage of
// the sum is not known.
func memoryStats(s *cgroupstats.Stats) (m statsMemory) {
	if s.Memory == nil {
		return m
	}
	m.Cache, m.Raw = s.Memory.Stat["file"], s.Memory.Stat
	m.Usage = statsBytes{s.Memory.Limit, s.Memory.Usage, s.Memory.Peak, s.Memory.Events["max"]}
	m.Swap = statsBytes{Limit: s.Memory.SwapLimit, Usage: s.Memory.Usage + s.Memory.SwapUsage}
	if s.Memory.SwapLimit != cgroupstats.Unlimited && s.Memory.Limit != cgroupstats.Unlimited {
		m.Swap.Limit += s.Memory.Limit
	} else {
		m.Swap.Limit = cgroupstats.Unlimited
	}
	return m
}

// pressure is that of one resource; nil if the kernel measures none.
func pressure(s *cgroupstats.Stats, resource string) *statsPressure {
	p, ok := s.Pressure[resource]
	if !ok {
		return nil
	}
	return &statsPressure{stall(p.Some), stall(p.Full)}
}

func stall(s cgroupstats.Stall) statsStall {
	return statsStall{s.Avg10, s.Avg60, s.Avg300, uint64(s.Total.Microseconds())}
}
