package cgroups

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// This file measures. Control files come in three formats (cgroup-v2.rst,
// "Interface Files"), shown at their parsers.

// Unlimited is the limit "max".
const Unlimited = math.MaxUint64

// Stats are what a group and those below it use, since it was made where it is
// a sum. What a controller counts that was not handed down is nil.
type Stats struct {
	CPU      CPUStats
	Memory   *MemoryStats
	Pids     *PidsStats
	IO       []IOStats
	Hugetlb  map[string]HugetlbStats // by page size, such as "2MB"
	Pressure map[string]Pressure     // of "cpu", "memory" and "io"; empty if the kernel measures none
}

// CPUStats are processor times. The last three are zero without a cpu.max.
type CPUStats struct {
	Usage, User, System time.Duration
	Periods, Throttled  uint64        // of cpu.max: how many there were, and in how many the group was stopped
	ThrottledTime       time.Duration // for how long
}

// MemoryStats are bytes. Limits may be [Unlimited].
type MemoryStats struct {
	Usage, Limit, Peak             uint64            // Peak: 0 before Linux 5.19
	SwapUsage, SwapLimit, SwapPeak uint64            // 0 where the kernel accounts no swap
	Stat                           map[string]uint64 // memory.stat: by kind, such as "anon" and "file"
	Events                         map[string]uint64 // memory.events: how often "max" was hit, "oom_kill" killed
}

// PidsStats count processes and threads. Limit may be [Unlimited].
type PidsStats struct{ Current, Limit uint64 }

// IOStats are bytes and operations of one block device.
type IOStats struct {
	Major, Minor                                 uint64
	ReadBytes, WriteBytes, ReadCount, WriteCount uint64
}

// HugetlbStats are bytes in huge pages; Failed is how often the limit forbade
// one. Limit may be [Unlimited].
type HugetlbStats struct{ Usage, Limit, Failed uint64 }

// A Pressure says how long processes waited for a resource: some of them, or
// all at once.
type Pressure struct{ Some, Full Stall }

// A Stall is a share of time in percent, over the last 10, 60 and 300 seconds,
// and the sum.
type Stall struct {
	Avg10, Avg60, Avg300 float64
	Total                time.Duration
}

// Stats measures the group.
func (g *Group) Stats() (*Stats, error) {
	s := &Stats{}
	for _, part := range []func(string, *Stats) error{cpuStats, memoryStats, pidsStats, ioStats, hugetlbStats, pressures} {
		if err := part(g.Dir, s); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// OOMKilled says whether the kernel killed a process of the group because of
// its memory limit. It is false where the memory controller is not handed down
// and for a group that is gone.
func (g *Group) OOMKilled() (bool, error) {
	events, err := pairs(g.Dir, "memory.events")
	if gone(err) {
		return false, nil
	}
	return events["oom_kill"] > 0, err
}

func cpuStats(dir string, s *Stats) error {
	c, err := pairs(dir, "cpu.stat")
	usec := func(key string) time.Duration { return time.Duration(c[key]) * time.Microsecond }
	s.CPU = CPUStats{
		Usage: usec("usage_usec"), User: usec("user_usec"), System: usec("system_usec"),
		Periods: c["nr_periods"], Throttled: c["nr_throttled"], ThrottledTime: usec("throttled_usec"),
	}
	return err
}

func memoryStats(dir string, s *Stats) error {
	if !has(dir, "memory.current") {
		return nil
	}
	var m MemoryStats
	var errs [2]error
	m.Stat, errs[0] = pairs(dir, "memory.stat")
	m.Events, errs[1] = pairs(dir, "memory.events")
	s.Memory = &m
	return errors.Join(errs[0], errs[1], readNumbers(dir, map[string]*uint64{
		"memory.current": &m.Usage, "memory.max": &m.Limit, "memory.peak": &m.Peak,
		"memory.swap.current": &m.SwapUsage, "memory.swap.max": &m.SwapLimit, "memory.swap.peak": &m.SwapPeak,
	}))
}

func pidsStats(dir string, s *Stats) error {
	if !has(dir, "pids.current") {
		return nil
	}
	s.Pids = &PidsStats{}
	return readNumbers(dir, map[string]*uint64{"pids.current": &s.Pids.Current, "pids.max": &s.Pids.Limit})
}

// ioStats reads io.stat, one device a line. Some kernels put the numbers of
// devices that did nothing in front of the next; the last number counts.
//
//	8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0
func ioStats(dir string, s *Stats) error {
	text, err := read(dir, "io.stat")
	if gone(err) {
		return nil
	}
	for line := range strings.Lines(text) {
		var d IOStats
		values := map[string]*uint64{"rbytes": &d.ReadBytes, "wbytes": &d.WriteBytes, "rios": &d.ReadCount, "wios": &d.WriteCount}
		active := false
		for word := range strings.FieldsSeq(line) {
			if key, text, ok := strings.Cut(word, "="); !ok {
				major, minor, _ := strings.Cut(word, ":")
				err = errors.Join(err, parse(major, &d.Major), parse(minor, &d.Minor))
			} else if v := values[key]; v != nil {
				active, err = true, errors.Join(err, parse(text, v))
			}
		}
		if active {
			s.IO = append(s.IO, d)
		}
	}
	return wrap(dir, "io.stat", err)
}

// hugetlbStats finds the page sizes by their files, hugetlb.2MB.current.
func hugetlbStats(dir string, s *Stats) error {
	files, _ := filepath.Glob(filepath.Join(dir, "hugetlb.*.current")) // the pattern is good
	for _, f := range files {
		size := strings.Split(filepath.Base(f), ".")[1]
		if strings.HasSuffix(f, ".rsvd.current") {
			continue
		}
		var h HugetlbStats
		events, err := pairs(dir, "hugetlb."+size+".events")
		h.Failed = events["max"]
		err = errors.Join(err, readNumbers(dir, map[string]*uint64{"hugetlb." + size + ".current": &h.Usage, "hugetlb." + size + ".max": &h.Limit}))
		if err != nil {
			return err
		}
		if s.Hugetlb == nil {
			s.Hugetlb = map[string]HugetlbStats{}
		}
		s.Hugetlb[size] = h
	}
	return nil
}

// pressures reads cpu.pressure and its like (PSI):
//
//	some avg10=0.12 avg60=0.05 avg300=0.01 total=5120
//	full avg10=0.00 avg60=0.00 avg300=0.00 total=0
func pressures(dir string, s *Stats) error {
	s.Pressure = map[string]Pressure{}
	for _, resource := range []string{"cpu", "memory", "io"} {
		text, err := read(dir, resource+".pressure")
		if gone(err) || errors.Is(err, unix.EOPNOTSUPP) {
			continue // the kernel was built, or booted, without it
		}
		p, parseErr := parsePressure(text)
		if err = errors.Join(err, parseErr); err != nil {
			return wrap(dir, resource+".pressure", err)
		}
		s.Pressure[resource] = p
	}
	return nil
}

func parsePressure(text string) (p Pressure, _ error) {
	for line := range strings.Lines(text) {
		var kind string
		var s Stall
		var usec int64
		if _, err := fmt.Sscanf(line, "%s avg10=%f avg60=%f avg300=%f total=%d", &kind, &s.Avg10, &s.Avg60, &s.Avg300, &usec); err != nil {
			return p, fmt.Errorf("%q: %w", line, err)
		}
		s.Total = time.Duration(usec) * time.Microsecond
		if kind == "some" {
			p.Some = s
		} else {
			p.Full = s
		}
	}
	return p, nil
}

// pairs reads a control file of keys and numbers.
func pairs(dir, file string) (map[string]uint64, error) {
	text, err := read(dir, file)
	if err != nil {
		return nil, err
	}
	m, err := parsePairs(text)
	return m, wrap(dir, file, err)
}

// parsePairs parses lines such as
//
//	usage_usec 3520
func parsePairs(text string) (map[string]uint64, error) {
	m := map[string]uint64{}
	for line := range strings.Lines(text) {
		var n uint64
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if err := parse(value, &n); err != nil {
			return nil, err
		}
		m[key] = n
	}
	return m, nil
}

// readNumbers reads control files of one number, or "max". A number whose file
// is missing stays as it is.
func readNumbers(dir string, files map[string]*uint64) error {
	for file, to := range files {
		n, err := number(dir, file)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return err
		}
		*to = n
	}
	return nil
}

func number(dir, file string) (n uint64, _ error) {
	text, err := read(dir, file)
	if err != nil {
		return 0, err
	}
	return n, wrap(dir, file, parse(strings.TrimSpace(text), &n))
}

func parse(text string, n *uint64) (err error) {
	if text == none {
		*n = Unlimited
		return nil
	}
	*n, err = strconv.ParseUint(text, 10, 64)
	return err
}

func has(dir, file string) bool { return unix.Access(filepath.Join(dir, file), unix.F_OK) == nil }

func wrap(dir, file string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("read %s: %w", filepath.Join(dir, file), err)
}
