// Package resources translates the spec's linux.resources into writes to the
// control files of a cgroup v2 group.
//
// The spec was written for cgroup v1. So some properties have other names in v2
// (memory.limit is memory.max), some have other units (cpu.shares are 2 to 262144,
// cpu.weight is 1 to 10000), and some have another meaning (memory.swap is memory
// and swap together, memory.swap.max is swap alone). What v2 does not have is an
// error. A property that is missing or zero asks for nothing, -1 asks for no limit.
//
//	memory.limit, reservation, swap   memory.max, memory.low, memory.swap.max
//	cpu.shares, quota, period, burst  cpu.weight, cpu.max, cpu.max.burst
//	cpu.cpus, mems, idle              cpuset.cpus, cpuset.mems, cpu.idle
//	pids.limit                        pids.max
//	blockIO                           io.bfq.weight or io.weight, io.max
//	hugepageLimits, rdma              hugetlb.SIZE.max, rdma.max
//	unified                           names and values of v2, as they are
//
// [New] depends on nothing but the spec. [Change] is for a group that exists: it
// reads what the group has now where the spec's words depend on that. Both return
// [cgroups.Write] values; [cgroups.Group.Add] and [cgroups.Group.Update] record them
// in a plan.
//
// Devices are in package devices, because v2 has no file for them.
//
// Man page: [cgroups(7)]; the kernel's [cgroup-v2.rst] says what each file means;
// runtime-spec, config-linux.md, "Control groups".
//
// [cgroups(7)]: https://man7.org/linux/man-pages/man7/cgroups.7.html
// [cgroup-v2.rst]: https://docs.kernel.org/admin-guide/cgroup-v2.html
package resources

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"minirun/cgroups"
)

type write = cgroups.Write

const unlimited = "max" // the kernel's word for no limit

// New translates resources, in the order in which to write. Errors name the
// property. It returns nothing for nil.
func New(r *specs.LinuxResources) ([]cgroups.Write, error) {
	if r == nil {
		return nil, nil
	}
	var all []write
	for _, translate := range []func(*specs.LinuxResources) ([]write, error){
		onlyV1, pids, memory, blockIO, cpu, hugetlb, rdma,
		unified, // last, so that what is said in v2's own words wins
	} {
		list, err := translate(r)
		if err != nil {
			return nil, fmt.Errorf("linux.resources.%w", err)
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

// Refuse says that a container without a cgroup of its own cannot have its limits. dir
// is the group that it would have had, and why says why it has none. It returns nil if
// all limits are optional, which means that the kernel's defaults do as well.
func Refuse(limits []cgroups.Write, dir, why string) error {
	for _, w := range limits {
		if !w.Optional {
			return fmt.Errorf("limit %s for cgroup %s: %s", w, dir, why)
		}
	}
	return nil
}

// onlyV1 refuses what cgroup v2 has no control for. It accepts
// memory.useHierarchy, because v2 always does that.
func onlyV1(r *specs.LinuxResources) ([]write, error) {
	m, c, b, n := value(r.Memory), value(r.CPU), value(r.BlockIO), value(r.Network)
	hasLeaf := func(d specs.LinuxWeightDevice) bool { return value(d.LeafWeight) != 0 }
	for _, p := range []struct {
		property string
		asked    bool
	}{
		{"memory.kernel", value(m.Kernel) > 0},
		{"memory.kernelTCP", value(m.KernelTCP) > 0},
		{"memory.swappiness", m.Swappiness != nil},
		{"memory.disableOOMKiller", value(m.DisableOOMKiller)},
		{"cpu.realtimeRuntime", value(c.RealtimeRuntime) != 0},
		{"cpu.realtimePeriod", value(c.RealtimePeriod) != 0},
		{"blockIO.leafWeight", value(b.LeafWeight) != 0},
		{"blockIO.weightDevice leafWeight", slices.ContainsFunc(b.WeightDevice, hasLeaf)},
		{"network.classID", value(n.ClassID) != 0},
		{"network.priorities", len(n.Priorities) > 0},
	} {
		if p.asked {
			return nil, fmt.Errorf("%s: cgroup v2 has no such control", p.property)
		}
	}
	return nil, nil
}

// pids: zero asks for the lowest limit. That is one, because pids.max 0 would
// forbid the container process itself.
func pids(r *specs.LinuxResources) ([]write, error) {
	limit := value(r.Pids).Limit
	switch {
	case limit == nil:
		return nil, nil
	case *limit < 0:
		return []write{{File: "pids.max", Value: unlimited, Optional: true}}, nil
	}
	return []write{{File: "pids.max", Value: decimal(max(*limit, 1))}}, nil
}

// memory: swap first. If the limit were lowered before swap is allowed, the kernel
// might kill where it could have swapped.
func memory(r *specs.LinuxResources) (list []write, _ error) {
	m := value(r.Memory)
	limit, swap, reservation := value(m.Limit), value(m.Swap), value(m.Reservation)
	swapMax, err := swapOnly(limit, swap)
	if err != nil {
		return nil, err
	}
	if swapMax != "" {
		// A kernel that does not account swap has no file for it. Then there is
		// no limit, and usually no swap.
		list = append(list, write{File: "memory.swap.max", Value: swapMax, Optional: swapMax == unlimited || swapMax == "0"})
	}
	for _, p := range []struct {
		property, file string
		bytes          int64
	}{{"limit", "memory.max", limit}, {"reservation", "memory.low", reservation}} {
		switch {
		case p.bytes < -1:
			return nil, fmt.Errorf("memory.%s %d: neither bytes nor -1", p.property, p.bytes)
		case p.bytes == -1:
			list = append(list, write{File: p.file, Value: unlimited, Optional: true})
		case p.bytes > 0:
			list = append(list, write{File: p.file, Value: decimal(p.bytes)})
		}
	}
	return list, nil
}

// swapOnly is how much swap a group may use in v2. The spec says, as v1 does, how
// much memory and swap together. "" means that nothing is asked for.
func swapOnly(limit, swap int64) (string, error) {
	switch {
	case swap < -1:
		return "", fmt.Errorf("memory.swap %d: neither bytes nor -1", swap)
	case swap == -1, swap == 0 && limit == -1:
		return unlimited, nil
	case swap == 0:
		return "", nil
	case limit <= 0:
		return "", fmt.Errorf("memory.swap %d: is memory and swap together, and memory.limit is missing", swap)
	case swap < limit:
		return "", fmt.Errorf("memory.swap %d: is memory and swap together, but less than memory.limit %d", swap, limit)
	}
	return decimal(swap - limit), nil
}

// blockIO: weights and rates of block devices, given as major:minor.
func blockIO(r *specs.LinuxResources) ([]write, error) {
	b := value(r.BlockIO)
	list, err := ioWeights(&b)
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
				rate = unlimited // as in v1
			}
			list = append(list, write{File: "io.max", Value: number + t.key + "=" + rate, Optional: rate == unlimited})
		}
	}
	return list, nil
}

func ioWeights(b *specs.LinuxBlockIO) ([]write, error) {
	list, err := ioWeight("weight", "", value(b.Weight))
	for _, d := range b.WeightDevice {
		number, deviceErr := device("weightDevice", d.LinuxBlockIODevice)
		one, weightErr := ioWeight(strings.TrimSpace("weightDevice "+number), number, value(d.Weight))
		list, err = append(list, one...), cmp.Or(err, deviceErr, weightErr)
	}
	return list, err
}

// ioWeight is one share of the disk time. The BFQ scheduler takes the 10 to
// 1000 of v1; where the kernel has unlimited, io.weight wants 1 to 10000.
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

// cpu: share, quota, and which processors and memory nodes (lists such as "0-3,7").
func cpu(r *specs.LinuxResources) (list []write, _ error) {
	c := value(r.CPU)
	idle, shares, quota, period := value(c.Idle), value(c.Shares), value(c.Quota), value(c.Period)
	if idle < 0 || idle > 1 {
		return nil, fmt.Errorf("cpu.idle %d: neither 0 nor 1", idle)
	}
	if c.Idle != nil {
		list = append(list, write{File: "cpu.idle", Value: decimal(idle), Optional: idle == 0})
	}
	if shares != 0 && idle == 0 { // an idle group has no weight: the kernel refuses the write
		list = append(list, write{File: "cpu.weight", Value: decimal(cpuWeight(shares))})
	}
	if quota != 0 || period != 0 {
		list = append(list, cpuMax(quota, period))
	}
	if c.Burst != nil { // after the quota, because the kernel allows no burst above it
		list = append(list, write{File: "cpu.max.burst", Value: strconv.FormatUint(*c.Burst, 10), Optional: *c.Burst == 0})
	}
	if c.Cpus != "" {
		list = append(list, write{File: "cpuset.cpus", Value: c.Cpus})
	}
	if c.Mems != "" {
		list = append(list, write{File: "cpuset.mems", Value: c.Mems})
	}
	return list, nil
}

// cpuMax is how many microseconds of processor time the group gets in each
// period; a quota of 0 or less is no limit.
func cpuMax(quota int64, period uint64) write {
	if period == 0 {
		period = 100_000 // the kernel's own
	}
	limit := unlimited
	if quota > 0 {
		limit = decimal(quota)
	}
	return write{File: "cpu.max", Value: limit + " " + strconv.FormatUint(period, 10), Optional: quota <= 0}
}

// cpuWeight converts the shares of v1 (2 to 262144, by default 1024) to a weight (1
// to 10000, by default 100). The curve goes through these three points. On a straight
// line the default of 1024 shares would be a weight of 39, and containers would get
// less than the processes around them. All runtimes must convert alike.
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

// hugetlb: zero is a limit here, and means no huge pages. Why two files? The first
// limits pages in use, the second pages that mmap(2) reserved.
func hugetlb(r *specs.LinuxResources) (list []write, _ error) {
	for _, h := range r.HugepageLimits {
		if h.Pagesize == "" || strings.Trim(h.Pagesize, "0123456789KMGB") != "" {
			return nil, fmt.Errorf("hugepageLimits pageSize %q: not a size such as 2MB", h.Pagesize)
		}
		limit := strconv.FormatUint(h.Limit, 10)
		list = append(list,
			write{File: "hugetlb." + h.Pagesize + ".max", Value: limit},
			write{File: "hugetlb." + h.Pagesize + ".rsvd.max", Value: limit})
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

// unifiedCore are the files without a controller that are limits or switches. The
// others move or kill processes, or hand controllers down.
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

// value is what p points to, or zero.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }
