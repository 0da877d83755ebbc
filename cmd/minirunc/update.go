package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-units"

	"minirun/container"
	change "minirun/container/update"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A limit is a flag of update: its value as text, and where it goes.
type limit struct {
	name  string
	value *string
	set   func(string) error
}

func update(c *call) error {
	// Limits that no flag mentions are nil, and stay as they are.
	r := &specs.LinuxResources{CPU: &specs.LinuxCPU{}, Memory: &specs.LinuxMemory{}, Pids: &specs.LinuxPids{}, BlockIO: &specs.LinuxBlockIO{}}
	file := c.flags.text("resources r", "the spec's linux.resources as JSON in `FILE`, or - for standard input, instead of flags")
	limits := c.limitFlags(r)
	c.flags.StringVar(&r.CPU.Cpus, "cpuset-cpus", "", "run on processors `LIST`, such as 0-3,7")
	c.flags.StringVar(&r.CPU.Mems, "cpuset-mems", "", "use memory nodes `LIST`")
	c.flags.text("kernel-memory", "")
	c.flags.text("kernel-memory-tcp", "")
	schemata := c.schemataFlags()
	if err := c.parse(1, 1); err != nil {
		return err
	}
	if *file != "" {
		if c.flags.NFlag() > 1 {
			return c.usage(errors.New("--resources and a limit as well: want only one of them"))
		}
		if err := readResources(*file, r); err != nil {
			return err
		}
	}
	for _, l := range limits {
		if *l.value == "" {
			continue
		}
		if err := l.set(*l.value); err != nil {
			return fmt.Errorf("update: --%s %q: %w", l.name, *l.value, err)
		}
	}
	for _, name := range []string{"kernel-memory", "kernel-memory-tcp"} {
		if c.flags.given(name) {
			c.log.warn("update: --" + name + " is left out: cgroup v2 counts the kernel's memory with the rest")
		}
	}
	return c.one(func(k *container.Container) error {
		return errors.Join(change.Schemata(k, schemata()), change.Resources(k, r))
	})
}

// schemataFlags declares the flags for resctrl, and returns a function for their
// values, which are in the order of the runtime-spec.
func (c *call) schemataFlags() func() []string {
	caches := c.flags.text("l3-cache-schema", "parts of the processors' caches, `SCHEMA` such as L3:0=7f0;1=1f")
	bandwidth := c.flags.text("mem-bw-schema", "shares of the memory bandwidth, `SCHEMA` such as MB:0=20;1=70")
	return func() []string {
		return slices.DeleteFunc([]string{*caches, *bandwidth}, func(s string) bool { return s == "" })
	}
}

// limitFlags declares the flags that are numbers.
func (c *call) limitFlags(r *specs.LinuxResources) (limits []limit) {
	for _, f := range []struct {
		names, usage string
		set          func(string) error
	}{
		{"memory m", "limit memory to `SIZE`; -1 for no limit", size(&r.Memory.Limit)},
		{"memory-reservation", "keep `SIZE` of memory from being reclaimed", size(&r.Memory.Reservation)},
		{"memory-swap", "limit memory and swap together to `SIZE`; -1 for any swap", size(&r.Memory.Swap)},
		{"cpu-share", "a share of the processors, `N` to 1024 of others", unsigned(&r.CPU.Shares)},
		{"cpu-quota", "`MICROSECONDS` of processor time in each period; -1 for no limit", signed(&r.CPU.Quota)},
		{"cpu-period", "the period: `MICROSECONDS`", unsigned(&r.CPU.Period)},
		{"cpu-burst", "`MICROSECONDS` that may be saved up in idle periods", unsigned(&r.CPU.Burst)},
		{"cpu-idle", "`1` to run only when nobody else wants to, 0 not to", signed(&r.CPU.Idle)},
		{"cpu-rt-period", "", unsigned(&r.CPU.RealtimePeriod)},
		{"cpu-rt-runtime", "", signed(&r.CPU.RealtimeRuntime)},
		{"pids-limit", "limit processes and threads to `N`; -1 for no limit", signed(&r.Pids.Limit)},
		{"blkio-weight", "a share of the disk time, `N` from 10 to 1000", weight(&r.BlockIO.Weight)},
	} {
		name, _, _ := strings.Cut(f.names, " ")
		limits = append(limits, limit{name, c.flags.text(f.names, f.usage), f.set})
	}
	return limits
}

// readResources reads the JSON that engines send.
func readResources(path string, r *specs.LinuxResources) error {
	data, err := os.ReadFile(path)
	if path == "-" {
		path = "standard input"
		data, err = io.ReadAll(os.Stdin)
	}
	if err != nil {
		return fmt.Errorf("update: %w", err)
	}
	if err := json.Unmarshal(data, r); err != nil {
		return fmt.Errorf("update: %s: %w", path, err)
	}
	return nil
}

// size parses bytes, such as 64m; -1 is no limit.
func size(to **int64) func(string) error {
	return func(text string) error {
		n, err := int64(-1), error(nil)
		if text != "-1" {
			if n, err = units.RAMInBytes(text); err != nil {
				return fmt.Errorf("want a size such as 64m, or -1")
			}
		}
		*to = &n
		return nil
	}
}

func signed(to **int64) func(string) error {
	return func(text string) error {
		n, err := strconv.ParseInt(text, 10, 64)
		*to = &n
		return notANumber(err)
	}
}

func unsigned(to **uint64) func(string) error {
	return func(text string) error {
		n, err := strconv.ParseUint(text, 10, 64)
		*to = &n
		return notANumber(err)
	}
}

func weight(to **uint16) func(string) error {
	return func(text string) error {
		n, err := strconv.ParseUint(text, 10, 16)
		*to = new(uint16(n))
		return notANumber(err)
	}
}

// notANumber is strconv's error without the words that the caller prints already.
func notANumber(err error) error {
	if err == nil {
		return nil
	}
	_, cause, _ := strings.Cut(err.Error(), ": ")
	return fmt.Errorf("want a number: %s", cause[strings.LastIndex(cause, ": ")+2:])
}
