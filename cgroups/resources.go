package cgroups

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// This file translates the spec's linux.resources into writes to files of a
// cgroup v2 group. It looks at nothing but the spec. The spec was written for
// cgroup v1; what v2 says differently is converted, what v2 does not have is an
// error. A property that is missing or zero asks for nothing, -1 asks for no
// limit.

// A write is one line for one control file.
type write struct {
	File  string // below the group's directory, such as memory.max
	Value string

	// Optional: where the file does not exist, what is asked for holds already,
	// such as "no limit".
	Optional bool

	// Else is what to write instead where the file does not exist.
	Else *write
}

func (w write) String() string { return w.File + " " + w.Value }

// controller is whose file it is; "" for a file that every group has.
func (w write) controller() string {
	name, _, _ := strings.Cut(w.File, ".")
	if name == "cgroup" {
		return ""
	}
	return name
}

const none = "max" // what the kernel calls no limit

// writes translates resources, in the order in which to write. Errors name the
// property.
func writes(r *specs.LinuxResources) ([]write, error) {
	if r == nil {
		return nil, nil
	}
	var all []write
	for _, translate := range []func(*specs.LinuxResources) ([]write, error){
		pids, memory, blockIO, cpu, cpuset, hugetlb, rdma, network,
		unified, // last: what is said in v2's own words wins
	} {
		list, err := translate(r)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	for _, w := range all {
		if strings.ContainsAny(w.File, "/\n\x00") || strings.ContainsAny(w.Value, "\n\x00") {
			return nil, fmt.Errorf("%q: not a control file and one line", w)
		}
	}
	return all, nil
}

// pids: zero asks for a limit here, of as few as can be. That is one, since
// pids.max 0 would forbid the container process itself.
func pids(r *specs.LinuxResources) ([]write, error) {
	if r.Pids == nil || r.Pids.Limit == nil {
		return nil, nil
	}
	limit := *r.Pids.Limit
	if limit < 0 {
		return []write{{File: "pids.max", Value: none, Optional: true}}, nil
	}
	return []write{{File: "pids.max", Value: decimal(max(limit, 1))}}, nil
}

// memory: swap first, since a limit that is lowered before swap is allowed may
// have to kill where it could have swapped.
func memory(r *specs.LinuxResources) ([]write, error) {
	m := r.Memory
	if m == nil {
		return nil, nil
	}
	if err := memoryOfV1(m); err != nil {
		return nil, err
	}
	limit, swap, reservation := value(m.Limit), value(m.Swap), value(m.Reservation)
	for _, p := range []struct {
		name  string
		bytes int64
	}{{"limit", limit}, {"swap", swap}, {"reservation", reservation}} {
		if p.bytes < -1 {
			return nil, fmt.Errorf("memory.%s %d: neither bytes nor -1", p.name, p.bytes)
		}
	}
	swapMax, err := swapOnly(limit, swap)
	if err != nil {
		return nil, err
	}
	var list []write
	if swapMax != "" {
		// A kernel that accounts no swap has no file for it. Then there is no
		// limit, and mostly no swap.
		list = append(list, write{File: "memory.swap.max", Value: swapMax, Optional: swapMax == none || swapMax == "0"})
	}
	list = append(list, limitUnlessZero("memory.max", limit)...)
	return append(list, limitUnlessZero("memory.low", reservation)...), nil
}

// swapOnly is how much swap a group may use in v2, where the spec, as v1, says
// how much memory and swap together. "" means nothing is asked for.
func swapOnly(limit, swap int64) (string, error) {
	switch {
	case swap == -1, swap == 0 && limit == -1:
		return none, nil
	case swap == 0:
		return "", nil
	case limit <= 0:
		return "", fmt.Errorf("memory.swap %d: is memory and swap together, and memory.limit is missing", swap)
	case swap < limit:
		return "", fmt.Errorf("memory.swap %d: is memory and swap together, but less than memory.limit %d", swap, limit)
	}
	return decimal(swap - limit), nil
}

// memoryOfV1 refuses what only cgroup v1 could do.
func memoryOfV1(m *specs.LinuxMemory) error {
	switch {
	case value(m.Kernel) > 0:
		return notInV2("memory.kernel", *m.Kernel)
	case value(m.KernelTCP) > 0:
		return notInV2("memory.kernelTCP", *m.KernelTCP)
	case m.Swappiness != nil:
		return notInV2("memory.swappiness", *m.Swappiness)
	case value(m.DisableOOMKiller):
		return notInV2("memory.disableOOMKiller", true)
	}
	return nil // useHierarchy: v2 always does
}

// blockIO: weights and rates of block devices, given as major:minor.
func blockIO(r *specs.LinuxResources) ([]write, error) {
	b := r.BlockIO
	if b == nil {
		return nil, nil
	}
	list, err := ioWeights(b)
	if err != nil {
		return nil, err
	}
	for _, t := range []struct {
		property, key string
		devices       []specs.LinuxThrottleDevice
	}{
		{"throttleReadBpsDevice", "rbps", b.ThrottleReadBpsDevice},
		{"throttleWriteBpsDevice", "wbps", b.ThrottleWriteBpsDevice},
		{"throttleReadIOPSDevice", "riops", b.ThrottleReadIOPSDevice},
		{"throttleWriteIOPSDevice", "wiops", b.ThrottleWriteIOPSDevice},
	} {
		for _, d := range t.devices {
			number, err := device(t.property, d.LinuxBlockIODevice)
			if err != nil {
				return nil, err
			}
			rate := strconv.FormatUint(d.Rate, 10)
			if d.Rate == 0 {
				rate = none // as in v1
			}
			list = append(list, write{File: "io.max", Value: number + t.key + "=" + rate, Optional: rate == none})
		}
	}
	return list, nil
}

func ioWeights(b *specs.LinuxBlockIO) ([]write, error) {
	if value(b.LeafWeight) != 0 {
		return nil, notInV2("blockIO.leafWeight", *b.LeafWeight)
	}
	list, err := ioWeight("weight", "", value(b.Weight))
	if err != nil {
		return nil, err
	}
	for _, d := range b.WeightDevice {
		if value(d.LeafWeight) != 0 {
			return nil, notInV2("blockIO.weightDevice leafWeight", *d.LeafWeight)
		}
		number, err := device("weightDevice", d.LinuxBlockIODevice)
		if err != nil {
			return nil, err
		}
		one, err := ioWeight("weightDevice "+number, number, value(d.Weight))
		if err != nil {
			return nil, err
		}
		list = append(list, one...)
	}
	return list, nil
}

// ioWeight is one share of the disk time. The BFQ scheduler takes the 10 to
// 1000 of v1; where the kernel has none, io.weight wants 1 to 10000.
func ioWeight(property, number string, weight uint16) ([]write, error) {
	if weight == 0 {
		return nil, nil
	}
	if weight < 10 || weight > 1000 {
		return nil, fmt.Errorf("blockIO.%s %d: not from 10 to 1000", property, weight)
	}
	other := 1 + (int64(weight)-10)*9999/990
	return []write{{
		File: "io.bfq.weight", Value: number + decimal(int64(weight)),
		Else: &write{File: "io.weight", Value: number + decimal(other)},
	}}, nil
}

// device is the start of a line about one block device.
func device(property string, d specs.LinuxBlockIODevice) (string, error) {
	if d.Major < 0 || d.Minor < 0 {
		return "", fmt.Errorf("blockIO.%s %d:%d: not a device number", property, d.Major, d.Minor)
	}
	return fmt.Sprintf("%d:%d ", d.Major, d.Minor), nil
}

// cpu: shares, quota and idle.
func cpu(r *specs.LinuxResources) ([]write, error) {
	c := r.CPU
	if c == nil {
		return nil, nil
	}
	switch {
	case value(c.RealtimeRuntime) != 0:
		return nil, notInV2("cpu.realtimeRuntime", *c.RealtimeRuntime)
	case value(c.RealtimePeriod) != 0:
		return nil, notInV2("cpu.realtimePeriod", *c.RealtimePeriod)
	case value(c.Idle) < 0 || value(c.Idle) > 1:
		return nil, fmt.Errorf("cpu.idle %d: neither 0 nor 1", *c.Idle)
	}
	var list []write
	if c.Idle != nil {
		list = append(list, write{File: "cpu.idle", Value: decimal(*c.Idle), Optional: *c.Idle == 0})
	}
	// An idle group has no weight: the kernel refuses the write.
	if shares := value(c.Shares); shares != 0 && value(c.Idle) == 0 {
		list = append(list, write{File: "cpu.weight", Value: decimal(cpuWeight(shares))})
	}
	quota, period := value(c.Quota), value(c.Period)
	if quota != 0 || period != 0 {
		list = append(list, cpuMax(quota, period))
	}
	if c.Burst != nil { // after the quota, of which it may be at most as much
		list = append(list, write{File: "cpu.max.burst", Value: strconv.FormatUint(*c.Burst, 10), Optional: *c.Burst == 0})
	}
	return list, nil
}

// cpuMax is how many microseconds of processor time the group gets in each
// period; a quota of 0 or less is no limit.
func cpuMax(quota int64, period uint64) write {
	if period == 0 {
		period = 100_000 // the kernel's own
	}
	limit := none
	if quota > 0 {
		limit = decimal(quota)
	}
	return write{File: "cpu.max", Value: limit + " " + strconv.FormatUint(period, 10), Optional: quota <= 0}
}

// cpuWeight converts the shares of v1 (2 to 262144, 1024 if nothing is said)
// to a weight (1 to 10000, 100 if nothing is said). The curve goes through
// these three points; a straight line would give the usual 1024 shares a
// weight of 39, and containers less than the processes around them. All
// runtimes must convert alike.
func cpuWeight(shares uint64) int64 {
	switch {
	case shares <= 2:
		return 1
	case shares >= 262_144:
		return 10_000
	}
	l := math.Log2(float64(shares))
	exponent := (float64(l*l)+float64(125*l))/612 - 7.0/34.0 // float64(): no fused multiply-add, which rounds otherwise
	return int64(math.Ceil(math.Pow(10, exponent)))
}

// cpuset: which processors and memory nodes, as lists such as "0-3,7".
func cpuset(r *specs.LinuxResources) (list []write, _ error) {
	if r.CPU == nil {
		return nil, nil
	}
	if r.CPU.Cpus != "" {
		list = append(list, write{File: "cpuset.cpus", Value: r.CPU.Cpus})
	}
	if r.CPU.Mems != "" {
		list = append(list, write{File: "cpuset.mems", Value: r.CPU.Mems})
	}
	return list, nil
}

// hugetlb: zero is a limit here: no huge pages. Why two files? The first counts
// pages in use, the second pages that mmap(2) reserved.
func hugetlb(r *specs.LinuxResources) (list []write, _ error) {
	for _, h := range r.HugepageLimits {
		if h.Pagesize == "" || strings.Trim(h.Pagesize, "0123456789KMGB") != "" {
			return nil, fmt.Errorf("hugepageLimits pageSize %q: not a size such as 2MB", h.Pagesize)
		}
		limit := strconv.FormatUint(h.Limit, 10)
		list = append(list,
			write{File: "hugetlb." + h.Pagesize + ".max", Value: limit},
			write{File: "hugetlb." + h.Pagesize + ".rsvd.max", Value: limit, Optional: true}) // before Linux 5.7 there was one
	}
	return list, nil
}

// rdma: handles and objects of InfiniBand devices.
func rdma(r *specs.LinuxResources) (list []write, _ error) {
	for _, name := range slices.Sorted(maps.Keys(r.Rdma)) {
		if name == "" || strings.ContainsAny(name, " \t") {
			return nil, fmt.Errorf("rdma %q: not the name of a device", name)
		}
		line := name
		if n := r.Rdma[name].HcaHandles; n != nil {
			line += " hca_handle=" + decimal(int64(*n))
		}
		if n := r.Rdma[name].HcaObjects; n != nil {
			line += " hca_object=" + decimal(int64(*n))
		}
		if line != name {
			list = append(list, write{File: "rdma.max", Value: line})
		}
	}
	return list, nil
}

// network marked packets in v1. In v2 the firewall knows groups by their path.
func network(r *specs.LinuxResources) ([]write, error) {
	switch n := r.Network; {
	case n == nil:
		return nil, nil
	case value(n.ClassID) != 0:
		return nil, notInV2("network.classID", *n.ClassID)
	case len(n.Priorities) > 0:
		return nil, notInV2("network.priorities", n.Priorities)
	}
	return nil, nil
}

// unifiedCore are the files without a controller that are limits or switches.
// The others move or kill processes, or hand on controllers.
var unifiedCore = []string{"cgroup.max.depth", "cgroup.max.descendants", "cgroup.pressure"}

// unified: file names and values of v2 as they are, one write a line.
func unified(r *specs.LinuxResources) (list []write, _ error) {
	for _, file := range slices.Sorted(maps.Keys(r.Unified)) {
		controller, name, _ := strings.Cut(file, ".")
		switch {
		case controller == "" || name == "" || strings.Contains(file, "/"):
			return nil, fmt.Errorf("unified %q: not the name of a control file", file)
		case controller == "cgroup" && !slices.Contains(unifiedCore, file):
			return nil, fmt.Errorf("unified %q: not a limit", file)
		}
		for line := range strings.Lines(r.Unified[file]) {
			if line = strings.TrimSuffix(line, "\n"); line != "" {
				list = append(list, write{File: file, Value: line})
			}
		}
	}
	return list, nil
}

// limitUnlessZero is one write of bytes or, for -1, no limit.
func limitUnlessZero(file string, bytes int64) []write {
	switch bytes {
	case 0:
		return nil
	case -1:
		return []write{{File: file, Value: none, Optional: true}}
	}
	return []write{{File: file, Value: decimal(bytes)}}
}

func notInV2(property string, v any) error {
	return fmt.Errorf("%s %v: cgroup v2 has no such control", property, v)
}

// value is what p points to, or zero.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }
