package resources

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"minirun/cgroups"
)

// This file is about changing the limits of a group that exists.

// Change translates new limits for a group that exists. What r does not mention
// stays as it is. With memory.checkBeforeUpdate a limit below the memory in use is
// an error; without, the kernel kills until the group fits. Nothing is changed.
func Change(g *cgroups.Group, r *specs.LinuxResources) ([]cgroups.Write, error) {
	r, err := complete(g, r)
	if err != nil {
		return nil, err
	}
	list, err := New(r)
	if err != nil {
		return nil, err
	}
	if err := checkMemory(g, r); err != nil {
		return nil, err
	}
	return list, lowerBurstFirst(g, list)
}

// complete adds to r what the group has now, where a property depends on another
// one that r does not mention: cpu.max holds quota and period, and memory.swap is
// swap and memory.limit together.
func complete(g *cgroups.Group, r *specs.LinuxResources) (*specs.LinuxResources, error) {
	full := *r
	if r.CPU != nil && (value(r.CPU.Quota) == 0) != (value(r.CPU.Period) == 0) {
		quota, period, err := readCPUMax(g)
		if err != nil {
			return nil, err
		}
		c := *r.CPU
		if value(c.Quota) == 0 {
			c.Quota = &quota
		} else {
			c.Period = &period
		}
		full.CPU = &c
	}
	if r.Memory != nil && value(r.Memory.Swap) > 0 && value(r.Memory.Limit) == 0 {
		limit, err := readNumber(g, "memory.max")
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return nil, err
		}
		if m := *r.Memory; err == nil && limit >= 0 {
			m.Limit = &limit
			full.Memory = &m
		}
	}
	return &full, nil
}

// checkMemory refuses a limit that the group exceeds already, if r asks for that.
func checkMemory(g *cgroups.Group, r *specs.LinuxResources) error {
	if r.Memory == nil || !value(r.Memory.CheckBeforeUpdate) || value(r.Memory.Limit) <= 0 {
		return nil
	}
	used, err := readNumber(g, "memory.current")
	if err == nil && *r.Memory.Limit <= used {
		return fmt.Errorf("memory.limit %d: %d bytes are in use", *r.Memory.Limit, used)
	}
	if errors.Is(err, unix.ENOENT) {
		return nil // without the memory controller nothing was counted
	}
	return err
}

// lowerBurstFirst orders cpu.max and cpu.max.burst. The kernel allows no burst above
// the quota, so a quota below the present burst must wait for the new burst.
func lowerBurstFirst(g *cgroups.Group, list []write) error {
	find := func(file string) int { return slices.IndexFunc(list, func(w write) bool { return w.File == file }) }
	quota, burst := find("cpu.max"), find("cpu.max.burst")
	if quota < 0 || burst < quota {
		return nil
	}
	now, err := readNumber(g, "cpu.max.burst")
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	first, _, _ := strings.Cut(list[quota].Value, " ")
	if n, parseErr := strconv.ParseInt(first, 10, 64); parseErr == nil && n < now { // not a number: no limit
		list[quota], list[burst] = list[burst], list[quota]
	}
	return err
}

// readCPUMax reads cpu.max, "50000 100000" or "max 100000". A quota of -1 is no
// limit. Without the cpu controller both are zero: nothing was asked for.
func readCPUMax(g *cgroups.Group) (quota int64, period uint64, err error) {
	text, err := g.Read("cpu.max")
	if errors.Is(err, unix.ENOENT) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	words := strings.Fields(text)
	if len(words) != 2 {
		return 0, 0, fmt.Errorf("read %s: %q: not two words", filepath.Join(g.Dir, "cpu.max"), words)
	}
	quota, err = parseNumber(words[0])
	period, errPeriod := strconv.ParseUint(words[1], 10, 64)
	if err := errors.Join(err, errPeriod); err != nil {
		return 0, 0, fmt.Errorf("read %s: %w", filepath.Join(g.Dir, "cpu.max"), err)
	}
	return quota, period, nil
}

// readNumber reads a control file of one number; -1 is no limit.
func readNumber(g *cgroups.Group, file string) (int64, error) {
	text, err := g.Read(file)
	if err != nil {
		return 0, err
	}
	n, err := parseNumber(strings.TrimSpace(text))
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", filepath.Join(g.Dir, file), err)
	}
	return n, nil
}

func parseNumber(text string) (int64, error) {
	if text == unlimited {
		return -1, nil
	}
	return strconv.ParseInt(text, 10, 64)
}
