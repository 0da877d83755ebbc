package cgroups

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"minirun/plan"
)

// A Group is a directory of a cgroup2 file system, whether it exists or not.
type Group struct {
	Dir string // absolute

	top string // where the file system is mounted; "" if nobody looked
}

// Open returns the group of an existing container, from its state. Nothing is
// opened, and nothing is to be closed.
func Open(dir string) *Group { return &Group{Dir: dir} }

// Add records the steps that make the group, hand controllers down to it, and
// write the limits in r, each with its undo. The returned descriptor is for
// [plan.Clone]: the process is born in the group. Nobody needs to close it
// before the runtime ends.
//
// It looks at the groups above to know what to record, and changes nothing. A
// limit that the host cannot set is an error, and so is a group that has
// processes or is frozen: a container shares its limits with nobody.
//
// Privileges: write permission in the group above. Linux 5.7.
func (g *Group) Add(p *plan.Plan, r *specs.LinuxResources) (plan.FD, error) {
	list, err := writes(r)
	if err != nil {
		return nil, err
	}
	levels, err := g.survey()
	if err != nil {
		return nil, err
	}
	if err := vacant(levels); err != nil {
		return nil, err
	}
	if err := handDown(levels, list); err != nil {
		return nil, err
	}
	record(p, levels, list)
	if !levels[len(levels)-1].exists {
		p.Mkdirat(plan.CWD, g.Dir, 0o755).Undo("rmdir "+g.Dir, g.Remove)
	}
	dir := p.Openat(plan.CWD, g.Dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0).As("cgroup")
	for _, w := range list {
		g.limit(p, dir, w)
	}
	return dir, nil
}

// vacant refuses a group that a container cannot have for itself. The lowest
// level that exists decides: what will be made below a frozen one is born frozen.
func vacant(levels []level) error {
	i := len(levels) - 1
	for !levels[i].exists {
		i--
	}
	dir := levels[i].dir
	events, err := pairs(dir, "cgroup.events")
	if errors.Is(err, unix.ENOENT) {
		return nil // the root has none
	}
	switch {
	case err != nil:
		return err
	case events["frozen"] == 1:
		return fmt.Errorf("cgroup %s: is frozen: a new container in it could not run", dir)
	case i == len(levels)-1 && events["populated"] == 1:
		return fmt.Errorf("cgroup %s: has processes already: a container wants one of its own", dir)
	case i == len(levels)-1 && len(levels[i].given) > 0:
		return fmt.Errorf("cgroup %s: hands controllers down (%s), so it cannot have processes", dir, strings.Join(levels[i].given, " "))
	}
	return nil
}

// limit records one write. Only what depends on which files there are is a
// function and not the system calls themselves.
func (g *Group) limit(p *plan.Plan, dir plan.FD, w write) {
	if w.Optional || w.Else != nil {
		p.Do(fmt.Sprintf("write %s", w.conditions()), func(*plan.Process) error { return w.to(g.Dir) })
		return
	}
	fd := p.Openat(dir, w.File, unix.O_WRONLY|unix.O_CLOEXEC, 0).As(w.File)
	p.Write(fd, w.Value).Shell("echo %s > %s/%s", w.Value, g.Dir, w.File)
	p.Close(fd)
}

// conditions is the write with what it depends on.
func (w write) conditions() string {
	s := fmt.Sprintf("%q to %s", w.Value, w.File)
	switch {
	case w.Else != nil:
		return s + ", or " + w.Else.conditions() + " if there is no such file"
	case w.Optional:
		return s + ", if there is such a file"
	}
	return s
}

// to writes to a file of the group in dir.
func (w write) to(dir string) error {
	err := writeFile(dir, w.File, w.Value)
	switch {
	case !errors.Is(err, unix.ENOENT):
		return err
	case w.Else != nil:
		return w.Else.to(dir)
	case w.Optional:
		return nil
	}
	return err
}

// Update changes the limits of a group that exists. What r does not mention
// stays as it is; if a limit is refused, those written before it stay too.
// With memory.checkBeforeUpdate, a limit below what is in use is an error
// instead of a reason to kill.
func (g *Group) Update(r *specs.LinuxResources) error {
	r, err := g.complete(r)
	if err != nil {
		return err
	}
	list, err := writes(r)
	if err != nil || len(list) == 0 {
		return err
	}
	levels, err := g.survey()
	if err != nil {
		return err
	}
	if !levels[len(levels)-1].exists {
		return fmt.Errorf("cgroup %s: %w", g.Dir, unix.ENOENT)
	}
	if err := g.checkMemory(r); err != nil {
		return err
	}
	if err := handDown(levels, list); err != nil {
		return err
	}
	give(levels)
	return g.write(list)
}

// complete adds to r what the group has now, where the meaning of a property
// hangs on another that r does not mention: cpu.max holds the quota and the
// period; memory.swap is swap and memory.limit together.
func (g *Group) complete(r *specs.LinuxResources) (*specs.LinuxResources, error) {
	full := *r
	if r.CPU != nil && (value(r.CPU.Quota) == 0) != (value(r.CPU.Period) == 0) {
		quota, period, err := g.cpuMax()
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
		limit, err := number(g.Dir, "memory.max")
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return nil, err
		}
		if m := *r.Memory; err == nil && limit != Unlimited {
			m.Limit = new(int64(limit))
			full.Memory = &m
		}
	}
	return &full, nil
}

// cpuMax reads cpu.max, "50000 100000" or "max 100000". Where there is no such
// file yet, both are zero: nothing was asked for.
func (g *Group) cpuMax() (quota int64, period uint64, err error) {
	words, err := fields(g.Dir, "cpu.max")
	if errors.Is(err, unix.ENOENT) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	var limit uint64
	if len(words) != 2 {
		return 0, 0, fmt.Errorf("read %s: %q: not two words", filepath.Join(g.Dir, "cpu.max"), words)
	}
	if err := errors.Join(parse(words[0], &limit), parse(words[1], &period)); err != nil {
		return 0, 0, wrap(g.Dir, "cpu.max", err)
	}
	if limit == Unlimited {
		return -1, period, nil
	}
	return int64(limit), period, nil
}

// give is what [record] records, done at once. A controller that is needed and
// does not come shows in the writes that follow, as a missing file.
func give(levels []level) {
	for _, l := range levels {
		for _, c := range l.give {
			writeFile(l.dir, "cgroup.subtree_control", "+"+c) // see handDownErrnos
		}
	}
}

// write writes the limits. Two of them may forbid each other's new value as
// long as the other's is old (cpu.max and cpu.max.burst), so whatever the
// kernel calls invalid is tried once more after the rest.
func (g *Group) write(list []write) error {
	var again []write
	for _, w := range list {
		err := w.to(g.Dir)
		if errors.Is(err, unix.EINVAL) {
			again = append(again, w)
		} else if err != nil {
			return err
		}
	}
	for _, w := range again {
		if err := w.to(g.Dir); err != nil {
			return err
		}
	}
	return nil
}

// checkMemory refuses a limit that the group is over already, if asked to.
func (g *Group) checkMemory(r *specs.LinuxResources) error {
	if r.Memory == nil || !value(r.Memory.CheckBeforeUpdate) || value(r.Memory.Limit) <= 0 {
		return nil
	}
	used, err := number(g.Dir, "memory.current")
	if err == nil && uint64(*r.Memory.Limit) <= used {
		return fmt.Errorf("memory.limit %d: %d bytes are in use", *r.Memory.Limit, used)
	}
	if errors.Is(err, unix.ENOENT) {
		return nil // not yet under the memory controller: nothing was counted
	}
	return err
}

// Needed returns an error that names the first limit in r that only a group of
// its own can have, or the first property that is wrong; nil if r asks for
// nothing.
func (g *Group) Needed(r *specs.LinuxResources) error {
	list, err := writes(r)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(list, func(w write) bool { return !w.Optional }); i >= 0 {
		return fmt.Errorf("limit %s for cgroup %s", list[i], g.Dir)
	}
	return nil
}

// Permitted says whether we may make the group, or use it if it exists: for an
// ordinary user, whether it is below a group that was delegated to that user.
func (g *Group) Permitted() bool {
	dir := g.Dir
	for unix.Access(dir, unix.F_OK) == unix.ENOENT && dir != "/" {
		dir = filepath.Dir(dir)
	}
	return unix.Access(dir, unix.W_OK) == nil && unix.Access(filepath.Join(dir, "cgroup.procs"), unix.W_OK) == nil
}

// The control files.

// writeFile writes one line to a control file. Why not os.WriteFile? It would
// try to make a missing file, and hide ENOENT behind EACCES.
func writeFile(dir, file, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("write %q: %w", value, err)
	}
	_, err = f.WriteString(value)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %q: %w", value, err)
	}
	return nil
}

// read reads a control file. Why not os.ReadFile? It makes twice as many
// system calls, and every start reads a file a level.
func read(dir, file string) (string, error) {
	path := filepath.Join(dir, file)
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd) // EIO cannot be: nothing was written
	var text []byte
	for buffer := make([]byte, 4096); ; {
		n, err := unix.Read(fd, buffer)
		if err != nil {
			return "", &os.PathError{Op: "read", Path: path, Err: err}
		}
		if text = append(text, buffer[:n]...); n == 0 {
			return string(text), nil
		}
	}
}

// fields reads a control file that is a list of words.
func fields(dir, file string) ([]string, error) {
	text, err := read(dir, file)
	return strings.Fields(text), err
}

// numbers reads a control file that is a list of numbers.
func numbers(dir, file string) ([]int, error) {
	words, err := fields(dir, file)
	if err != nil {
		return nil, err
	}
	list := make([]int, len(words))
	for i, w := range words {
		if list[i], err = strconv.Atoi(w); err != nil {
			return nil, fmt.Errorf("read %s: %w", filepath.Join(dir, file), err)
		}
	}
	return list, nil
}
