package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	"github.com/urfave/cli/v2"

	"minirun/container"
	"minirun/container/update"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func updateCommand() *cli.Command {
	return &cli.Command{
		Name: "update", Usage: "change the limits of a container", ArgsUsage: "CONTAINER",
		Description: "Examples:\n" +
			"   minirun update --memory 64m --pids-limit 100 web\n" +
			"   minirun update --cpu-quota 50000 web             half a processor\n" +
			`   echo '{"memory":{"limit":-1}}' | minirun update -r - web`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "resources", Aliases: []string{"r"}, Usage: "the spec's linux.resources as JSON in `FILE`, or - for standard input, instead of flags"},
			&cli.StringFlag{Name: "memory", Aliases: []string{"m"}, Usage: "limit memory to `SIZE`; -1 for no limit"},
			&cli.StringFlag{Name: "memory-reservation", Usage: "keep `SIZE` of memory from being reclaimed"},
			&cli.StringFlag{Name: "memory-swap", Usage: "limit memory and swap together to `SIZE`; -1 for any swap"},
			&cli.StringFlag{Name: "cpu-share", Usage: "a share of the processors, `N` to 1024 of others"},
			&cli.StringFlag{Name: "cpu-quota", Usage: "`MICROSECONDS` of processor time in each period; -1 for no limit"},
			&cli.StringFlag{Name: "cpu-period", Usage: "the period: `MICROSECONDS`"},
			&cli.StringFlag{Name: "cpu-burst", Usage: "`MICROSECONDS` that may be saved up in idle periods"},
			&cli.StringFlag{Name: "cpu-idle", Usage: "`1` to run only when nobody else wants to, 0 not to"},
			&cli.StringFlag{Name: "cpu-rt-period", Hidden: true},
			&cli.StringFlag{Name: "cpu-rt-runtime", Hidden: true},
			&cli.StringFlag{Name: "cpuset-cpus", Usage: "run on processors `LIST`, such as 0-3,7"},
			&cli.StringFlag{Name: "cpuset-mems", Usage: "use memory nodes `LIST`"},
			&cli.StringFlag{Name: "pids-limit", Usage: "limit processes and threads to `N`; -1 for no limit"},
			&cli.StringFlag{Name: "blkio-weight", Usage: "a share of the disk time, `N` from 10 to 1000"},
			&cli.StringFlag{Name: "kernel-memory", Hidden: true},
			&cli.StringFlag{Name: "kernel-memory-tcp", Hidden: true},
			&cli.StringFlag{Name: "l3-cache-schema", Usage: "parts of the processors' caches, `SCHEMA` such as L3:0=7f0;1=1f"},
			&cli.StringFlag{Name: "mem-bw-schema", Usage: "shares of the memory bandwidth, `SCHEMA` such as MB:0=20;1=70"},
		},
		Action: func(c *cli.Context) error {
			r, err := resources(c)
			if err != nil {
				return err
			}
			return one(c, func(k *container.Container) error {
				return errors.Join(update.Schemata(k, schemata(c)), update.Resources(k, r))
			})
		},
	}
}

// resources are what the flags, or the file, ask for. What they do not mention
// is nil.
func resources(c *cli.Context) (*specs.LinuxResources, error) {
	r := specs.LinuxResources{CPU: &specs.LinuxCPU{}, Memory: &specs.LinuxMemory{}, Pids: &specs.LinuxPids{}, BlockIO: &specs.LinuxBlockIO{}}
	if c.IsSet("resources") {
		if c.NumFlags() > len([]string{"resources", "r"}) {
			return nil, usage{fmt.Errorf("update: --resources and a limit as well: want only one of them")}
		}
		return &r, readResources(c.String("resources"), &r)
	}
	for _, name := range []string{"kernel-memory", "kernel-memory-tcp"} {
		if c.IsSet(name) {
			warn("update: --" + name + " is left out: cgroup v2 counts the kernel's memory with the rest")
		}
	}
	r.CPU.Cpus, r.CPU.Mems = c.String("cpuset-cpus"), c.String("cpuset-mems")
	for _, f := range []struct {
		name string
		set  func(string) error
	}{
		{"memory", size(&r.Memory.Limit)}, {"memory-reservation", size(&r.Memory.Reservation)}, {"memory-swap", size(&r.Memory.Swap)},
		{"cpu-share", unsigned(&r.CPU.Shares)}, {"cpu-quota", signed(&r.CPU.Quota)}, {"cpu-period", unsigned(&r.CPU.Period)},
		{"cpu-burst", unsigned(&r.CPU.Burst)}, {"cpu-idle", signed(&r.CPU.Idle)},
		{"cpu-rt-period", unsigned(&r.CPU.RealtimePeriod)}, {"cpu-rt-runtime", signed(&r.CPU.RealtimeRuntime)},
		{"pids-limit", signed(&r.Pids.Limit)}, {"blkio-weight", weight(&r.BlockIO.Weight)},
	} {
		if text := c.String(f.name); text != "" {
			if err := f.set(text); err != nil {
				return nil, usage{fmt.Errorf("update: --%s %q: %w", f.name, text, err)}
			}
		}
	}
	return &r, nil
}

// schemata are the lines that the flags ask for, in the order of runtime-spec.
func schemata(c *cli.Context) (lines []string) {
	for _, name := range []string{"l3-cache-schema", "mem-bw-schema"} {
		if c.IsSet(name) {
			lines = append(lines, c.String(name))
		}
	}
	return lines
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

// notANumber leaves out what strconv repeats.
func notANumber(err error) error {
	if err == nil {
		return nil
	}
	_, cause, _ := strings.Cut(err.Error(), ": ")
	return fmt.Errorf("want a number: %s", cause[strings.LastIndex(cause, ": ")+2:])
}
