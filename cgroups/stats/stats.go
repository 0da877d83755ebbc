package stats

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"minirun/cgroups"
)

// Unlimited is the limit "max".
const Unlimited = math.MaxUint64

// Stats are what a group and the groups below it use. Sums begin when the group was
// made. The part of a controller that was not handed down is nil.
type Stats struct {
	CPU      CPU
	Memory   *Memory
	Pids     *Pids
	IO       []IO
	Hugetlb  map[string]Hugetlb  // by page size, such as "2MB"
	Pressure map[string]Pressure // of "cpu", "memory" and "io"; empty if the kernel measures none
}

// CPU are processor times. The last three are zero without a cpu.max.
type CPU struct {
	Usage, User, System time.Duration
	Periods, Throttled  uint64        // periods of cpu.max: all of them, and those in which the group was stopped
	ThrottledTime       time.Duration // how long it was stopped
}

// Memory is in bytes. Limits may be [Unlimited].
type Memory struct {
	Usage, Limit, Peak             uint64            // Peak: 0 before Linux 5.19
	SwapUsage, SwapLimit, SwapPeak uint64            // 0 where the kernel accounts no swap
	Stat                           map[string]uint64 // memory.stat: by kind, such as "anon" and "file"
	Events                         map[string]uint64 // memory.events: how often "max" was hit, "oom_kill" killed
}

// Pids counts processes and threads. Limit may be [Unlimited].
type Pids struct{ Current, Limit uint64 }

// IO counts bytes and operations of one block device.
type IO struct {
	Major, Minor                                 uint64
	ReadBytes, WriteBytes, ReadCount, WriteCount uint64
}

// Hugetlb is in bytes of huge pages; Failed is how often the limit forbade one.
// Limit may be [Unlimited].
type Hugetlb struct{ Usage, Limit, Failed uint64 }

// A Pressure says how long processes waited for a resource: some of them, or
// all at once.
type Pressure struct{ Some, Full Stall }

// A Stall is a share of time in percent, over the last 10, 60 and 300 seconds,
// and the sum.
type Stall struct {
	Avg10, Avg60, Avg300 float64
	Total                time.Duration
}

// Read measures the group.
func Read(g *cgroups.Group) (*Stats, error) {
	s := &Stats{}
	for _, part := range []func(*cgroups.Group, *Stats) error{readCPU, readMemory, readPids, readIO, readHugetlb, readPressure} {
		if err := part(g, s); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func readCPU(g *cgroups.Group, s *Stats) error {
	c, err := g.ReadFlatKeyed("cpu.stat")
	usec := func(key string) time.Duration { return time.Duration(c[key]) * time.Microsecond }
	s.CPU = CPU{
		Usage: usec("usage_usec"), User: usec("user_usec"), System: usec("system_usec"),
		Periods: c["nr_periods"], Throttled: c["nr_throttled"], ThrottledTime: usec("throttled_usec"),
	}
	return err
}

func readMemory(g *cgroups.Group, s *Stats) error {
	if !has(g, "memory.current") {
		return nil
	}
	var m Memory
	var errs [2]error
	m.Stat, errs[0] = g.ReadFlatKeyed("memory.stat")
	m.Events, errs[1] = g.ReadFlatKeyed("memory.events")
	s.Memory = &m
	return errors.Join(errs[0], errs[1], readNumbers(g, map[string]*uint64{
		"memory.current": &m.Usage, "memory.max": &m.Limit, "memory.peak": &m.Peak,
		"memory.swap.current": &m.SwapUsage, "memory.swap.max": &m.SwapLimit, "memory.swap.peak": &m.SwapPeak,
	}))
}

func readPids(g *cgroups.Group, s *Stats) error {
	if !has(g, "pids.current") {
		return nil
	}
	s.Pids = &Pids{}
	return readNumbers(g, map[string]*uint64{"pids.current": &s.Pids.Current, "pids.max": &s.Pids.Limit})
}

// readIO reads io.stat, one device a line. Some kernels put the numbers of
// devices that did nothing in front of the next; the last number counts.
//
//	8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0
func readIO(g *cgroups.Group, s *Stats) error {
	text, err := g.Read("io.stat")
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	for line := range strings.Lines(text) {
		var d IO
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
	return wrap(g, "io.stat", err)
}

// readHugetlb finds the page sizes by their files, hugetlb.2MB.current.
func readHugetlb(g *cgroups.Group, s *Stats) error {
	files, _ := filepath.Glob(filepath.Join(g.Dir, "hugetlb.*.current")) // the pattern is good
	for _, f := range files {
		size := strings.Split(filepath.Base(f), ".")[1]
		if strings.HasSuffix(f, ".rsvd.current") {
			continue
		}
		var h Hugetlb
		events, err := g.ReadFlatKeyed("hugetlb." + size + ".events")
		h.Failed = events["max"]
		err = errors.Join(err, readNumbers(g, map[string]*uint64{"hugetlb." + size + ".current": &h.Usage, "hugetlb." + size + ".max": &h.Limit}))
		if err != nil {
			return err
		}
		if s.Hugetlb == nil {
			s.Hugetlb = map[string]Hugetlb{}
		}
		s.Hugetlb[size] = h
	}
	return nil
}

// readPressure reads cpu.pressure and its like (PSI):
//
//	some avg10=0.12 avg60=0.05 avg300=0.01 total=5120
//	full avg10=0.00 avg60=0.00 avg300=0.00 total=0
func readPressure(g *cgroups.Group, s *Stats) error {
	s.Pressure = map[string]Pressure{}
	for _, resource := range []string{"cpu", "memory", "io"} {
		text, err := g.Read(resource + ".pressure")
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
			continue // the kernel was built, or booted, without it
		}
		p, parseErr := parsePressure(text)
		if err = errors.Join(err, parseErr); err != nil {
			return wrap(g, resource+".pressure", err)
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

// readNumbers reads control files of one number, or "max". A number whose file
// is missing stays as it is.
func readNumbers(g *cgroups.Group, files map[string]*uint64) error {
	for file, to := range files {
		text, err := g.Read(file)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err == nil {
			err = wrap(g, file, parse(strings.TrimSpace(text), to))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func parse(text string, n *uint64) (err error) {
	if text == "max" {
		*n = Unlimited
		return nil
	}
	*n, err = strconv.ParseUint(text, 10, 64)
	return err
}

func has(g *cgroups.Group, file string) bool {
	return unix.Access(filepath.Join(g.Dir, file), unix.F_OK) == nil
}

func wrap(g *cgroups.Group, file string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("read %s: %w", filepath.Join(g.Dir, file), err)
}
