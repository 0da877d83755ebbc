package cgroups

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"minirun/plan"
)

// This file is about another tree of groups: those of the resctrl file system,
// by which processors share caches and memory bandwidth out (Intel RDT, AMD
// QoS). It is no cgroup: a process is in one group of each.
//
//	closID          a directory of resctrl, a class of service; "/" is the class that all begin in
//	schemata        its file of shares, a line for each kind: L3:0=7f0;1=1f
//	tasks           its processes; who writes 0 there is meant himself
//	mon_groups/ID   counts for a part of a class
//
// So the container process puts itself in, before it is anything else, and what
// it makes is born there.

// ErrNoResctrl says that there is no resctrl file system to make classes in.
var ErrNoResctrl = errors.New("resctrl is not mounted (no Intel RDT or AMD QoS here, or nobody has mounted it)")

// A Class is what linux.intelRdt asks for (runtime-spec, config-linux.md,
// "IntelRdt"), as it is in a container's state.
type Class struct {
	Dir     string `json:"dir"`               // the class, a directory
	Own     bool   `json:"own,omitempty"`     // it is the container's, and goes with it
	Monitor string `json:"monitor,omitempty"` // the directory that counts for the container alone; "": none

	schemata []string // lines to write
	exists   bool
}

// FindResctrl returns where resctrl is mounted, or [ErrNoResctrl].
func FindResctrl() (string, error) {
	const place = "/sys/fs/resctrl" // where everybody has it (resctrl.rst)
	var s unix.Statfs_t
	if err := unix.Statfs(place, &s); err != nil || s.Type != unix.RDTGROUP_SUPER_MAGIC {
		return "", ErrNoResctrl
	}
	return place, nil
}

// NewClass reads what the spec asks for, below the mounted resctrl. A class that
// is there already must have what is asked for; one that has only a name must be
// there. Nothing is changed.
func NewClass(mount, id string, r *specs.LinuxIntelRdt) (*Class, error) {
	name := r.ClosID
	c := &Class{Own: name == ""}
	if c.Own {
		name = id
	}
	if name != "/" && (strings.ContainsAny(name, "/\x00\n") || slices.Contains([]string{".", "..", "info", "mon_data", "mon_groups"}, name)) {
		return nil, fmt.Errorf("linux.intelRdt.closID %q: want the name of a directory, or /", r.ClosID)
	}
	c.Dir = filepath.Join(mount, name)
	if r.EnableMonitoring {
		c.Monitor = filepath.Join(c.Dir, "mon_groups", id)
	}
	for _, line := range append([]string{r.L3CacheSchema, r.MemBwSchema}, r.Schemata...) {
		if strings.Contains(line, "\n") {
			return nil, fmt.Errorf("linux.intelRdt: schema %q: want one line", line)
		}
		if line != "" {
			c.schemata = append(c.schemata, line)
		}
	}
	return c, c.compare(r.ClosID != "")
}

// compare holds the class against what is there.
func (c *Class) compare(named bool) error {
	has, err := os.ReadFile(filepath.Join(c.Dir, "schemata"))
	switch {
	case errors.Is(err, unix.ENOENT) && named && len(c.schemata) == 0:
		return fmt.Errorf("linux.intelRdt.closID: %s: no such class, and no schema to make it with", c.Dir)
	case errors.Is(err, unix.ENOENT):
		return nil
	case err != nil:
		return fmt.Errorf("linux.intelRdt: %w", err)
	case c.Own:
		return fmt.Errorf("linux.intelRdt: %s: %w", c.Dir, unix.EEXIST)
	}
	c.exists = true
	there := map[string]map[string]string{}
	for line := range strings.Lines(string(has)) {
		kind, shares := parseSchema(line)
		there[kind] = shares
	}
	for _, line := range c.schemata {
		kind, shares := parseSchema(line)
		for domain, share := range shares {
			if there[kind][domain] != share {
				return fmt.Errorf("linux.intelRdt: %s exists, and has not %q but %q", c.Dir, line, strings.TrimSpace(string(has)))
			}
		}
	}
	return nil
}

// parseSchema takes a line such as "L3:0=7f0;1=1f" apart. The kernel pads its
// numbers, so leading zeros do not count.
func parseSchema(line string) (kind string, shares map[string]string) {
	kind, list, _ := strings.Cut(strings.TrimSpace(line), ":")
	shares = map[string]string{}
	for s := range strings.SplitSeq(list, ";") {
		domain, share, _ := strings.Cut(s, "=")
		shares[strings.TrimSpace(domain)] = strings.ToLower(strings.TrimLeft(strings.TrimSpace(share), "0"))
	}
	return kind, shares
}

// Add records the steps that make the class and its directory of counts, each
// with its undo, and returns its files of tasks, for [EnterClass]. A nil Class
// has none. Privileges: root.
func (c *Class) Add(p *plan.Plan) []plan.FD {
	if c == nil {
		return nil
	}
	if !c.exists {
		p.Note("the processor's caches and memory bandwidth, shared out by resctrl")
		p.Mkdirat(plan.CWD, c.Dir, 0o755).Undo("rmdir "+c.Dir, func() error { return removeClass(c.Dir) })
		for _, line := range c.schemata {
			fd := p.Openat(plan.CWD, filepath.Join(c.Dir, "schemata"), unix.O_WRONLY|unix.O_CLOEXEC, 0).As("schemata")
			p.Write(fd, line+"\n").Shell("echo %s > %s/schemata", line, c.Dir)
			p.Close(fd)
		}
	}
	if c.Monitor != "" {
		p.Mkdirat(plan.CWD, c.Monitor, 0o755).Undo("rmdir "+c.Monitor, func() error { return removeClass(c.Monitor) })
	}
	return c.tasks(p)
}

// Join is Add for one more process of a container that has a class. A class that
// somebody has removed is none any more.
func (c *Class) Join(p *plan.Plan) []plan.FD {
	if c == nil {
		return nil
	}
	if _, err := os.Stat(c.Dir); gone(err) {
		return nil
	}
	return c.tasks(p)
}

func (c *Class) tasks(p *plan.Plan) (tasks []plan.FD) {
	for _, dir := range []string{c.Dir, c.Monitor} {
		if dir != "" {
			tasks = append(tasks, p.Openat(plan.CWD, filepath.Join(dir, "tasks"), unix.O_WRONLY|unix.O_CLOEXEC, 0).As("tasks"))
		}
	}
	return tasks
}

// EnterClass records that the child puts itself into the class.
func EnterClass(p *plan.Plan, tasks []plan.FD) {
	for _, fd := range tasks {
		p.Write(fd, "0").Shell("echo $$ > %s", fd)
		p.Close(fd)
	}
}

// Update changes the shares of a class, also for whoever else is in it.
func (c *Class) Update(schemata []string) error {
	switch {
	case len(schemata) == 0:
		return nil
	case c == nil:
		return errors.New("it has no class of resctrl's (linux.intelRdt)")
	}
	for _, line := range schemata {
		if err := writeFile(c.Dir, "schemata", line+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// Remove removes what was made for the container, and nothing that was there
// before, or has a name that others may use. What is gone is success.
func (c *Class) Remove() error {
	if c == nil {
		return nil
	}
	var err error
	if c.Monitor != "" {
		err = removeClass(c.Monitor)
	}
	if c.Own {
		err = errors.Join(err, removeClass(c.Dir))
	}
	return err
}

func removeClass(dir string) error {
	if err := unix.Rmdir(dir); err != nil && !gone(err) {
		return fmt.Errorf("rmdir %s: %w", dir, err)
	}
	return nil
}
