// Package resctrl puts a container into a class of service of the resctrl file
// system, by which processors share out their caches and memory bandwidth (Intel
// RDT, AMD QoS).
//
// It is not a cgroup: its groups are another tree, and a process is in one group of
// each tree.
//
//	closID          a directory of resctrl, a class of service; "/" is the class
//	                in which all processes begin
//	schemata        its file of shares, one line for each kind: L3:0=7f0;1=1f
//	tasks           its processes; a process that writes 0 there joins the class
//	mon_groups/ID   counters for a part of the class
//
// A process inherits the class of its parent. So the container process joins before
// it does anything else, and what it starts is born in the class.
//
// [New] reads linux.intelRdt (runtime-spec, config-linux.md, "IntelRdt"),
// [Class.Add] records how the class is made, [Enter] how the process joins.
//
// Left out: mounting resctrl. That is the administrator's choice.
//
// Kernel: Linux 4.10; [resctrl.rst].
//
// [resctrl.rst]: https://docs.kernel.org/filesystems/resctrl.html
package resctrl

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

// ErrNotMounted says that there is no resctrl file system to make classes in.
var ErrNotMounted = errors.New("resctrl is not mounted (no Intel RDT or AMD QoS here, or nobody has mounted it)")

// A Class is what linux.intelRdt asks for, in the form in which a container's state
// keeps it. A nil Class is a container without one.
type Class struct {
	Dir     string `json:"dir"`               // the directory of the class
	Own     bool   `json:"own,omitempty"`     // it is the container's alone, and is removed with it
	Monitor string `json:"monitor,omitempty"` // the directory that counts for the container alone; "": none

	schemata []string // lines to write
	exists   bool
}

// A Mark is the container's, by which it is seen whether a directory is still the one that
// was made for it (package owner).
type Mark interface {
	Set(dir string, privileged bool) []plan.Arg                 // the arguments of setxattr(2), by which the directory gets it
	Restore(dir string, privileged bool) (string, func() error) // the undo of that
	On(dir string) (bool, error)                                // the directory is there, and has it
	Sweep(dir string) error                                     // remove a directory that has none
}

// Find returns where resctrl is mounted, or [ErrNotMounted].
func Find() (string, error) {
	const place = "/sys/fs/resctrl" // where it is mounted everywhere (resctrl.rst)
	var s unix.Statfs_t
	if err := unix.Statfs(place, &s); err != nil || s.Type != unix.RDTGROUP_SUPER_MAGIC {
		return "", ErrNotMounted
	}
	return place, nil
}

// New reads what the spec asks for; nil if it asks for nothing. find returns the
// mounted resctrl. If the class exists, its shares must be those that are asked for.
// If only its name is given, it must exist. Nothing is changed.
func New(r *specs.LinuxIntelRdt, id string, find func() (mount string, err error)) (*Class, error) {
	if r == nil {
		return nil, nil
	}
	mount, err := find()
	if err != nil {
		return nil, fmt.Errorf("linux.intelRdt: %w", err)
	}
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

// compare compares the class with what exists.
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

// parseSchema splits a line such as "L3:0=7f0;1=1f". The kernel pads its numbers,
// so leading zeros do not count.
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
// with its undo, and returns the files of tasks for [Enter]. What is made for the container
// alone gets its mark (package owner). Privileges: root.
func (c *Class) Add(p *plan.Plan, mark Mark) []plan.FD {
	if c == nil {
		return nil
	}
	if !c.exists {
		p.Note("the processor's caches and memory bandwidth, shared out by resctrl")
		p.Mkdirat(plan.CWD, c.Dir, 0o755).Undo("rmdir "+c.Dir, func() error { return rmdir(c.Dir) })
		if c.Own {
			set(p, mark, c.Dir)
		}
		c.share(p, c.schemata)
	}
	if c.Monitor != "" {
		p.Mkdirat(plan.CWD, c.Monitor, 0o755).Undo("rmdir "+c.Monitor, func() error { return rmdir(c.Monitor) })
		set(p, mark, c.Monitor)
	}
	return c.tasks(p)
}

// set records that a directory gets a mark: root's, because only root makes classes.
func set(p *plan.Plan, mark Mark, dir string) {
	p.Call("setxattr", unix.SYS_SETXATTR, mark.Set(dir, true)...).Undo(mark.Restore(dir, true))
}

// share records the writes of lines of schemata.
func (c *Class) share(p *plan.Plan, schemata []string) {
	for _, line := range schemata {
		fd := p.Openat(plan.CWD, filepath.Join(c.Dir, "schemata"), unix.O_WRONLY|unix.O_CLOEXEC, 0).As("schemata")
		p.Write(fd, line+"\n")
		p.Close(fd)
	}
}

// Join is Add for one more process of a container. If the class was removed
// meanwhile, it returns nothing.
func (c *Class) Join(p *plan.Plan, mark Mark) ([]plan.FD, error) {
	if c == nil {
		return nil, nil
	}
	if there, err := c.there(mark); !there || err != nil {
		return nil, err
	}
	return c.tasks(p), nil
}

// there says whether the class still exists: one of the container's own with its mark, one
// with a name of its own under that name.
func (c *Class) there(mark Mark) (bool, error) {
	if c.Own {
		return mark.On(c.Dir)
	}
	_, err := os.Stat(c.Dir)
	return !isRemoved(err), nil
}

func (c *Class) tasks(p *plan.Plan) (tasks []plan.FD) {
	for _, dir := range []string{c.Dir, c.Monitor} {
		if dir != "" {
			tasks = append(tasks, p.Openat(plan.CWD, filepath.Join(dir, "tasks"), unix.O_WRONLY|unix.O_CLOEXEC, 0).As("tasks"))
		}
	}
	return tasks
}

// Enter records that the child joins the class.
func Enter(p *plan.Plan, tasks []plan.FD) {
	for _, fd := range tasks {
		p.Write(fd, "0")
		p.Close(fd)
	}
}

// Update records new shares of the class. They also hold for other containers that
// are in it.
func (c *Class) Update(p *plan.Plan, schemata []string, mark Mark) error {
	if c == nil && len(schemata) > 0 {
		return errors.New("it has no class of resctrl's (linux.intelRdt)")
	}
	if c != nil {
		if there, err := c.there(mark); err != nil {
			return err
		} else if !there {
			return fmt.Errorf("its class %s was removed", c.Dir)
		}
	}
	for _, line := range schemata {
		if strings.Contains(line, "\n") {
			return fmt.Errorf("schema %q: want one line", line)
		}
	}
	if c != nil {
		c.share(p, schemata)
	}
	return nil
}

// Remove removes what was made for the container alone: the directories with its mark. A
// class that existed before, or has a name that other containers may use, stays. So does
// one that was made with this name after the container's was removed. A directory that was
// removed is a success. unborn says that create was killed before it had a process, so
// perhaps before the mark.
func (c *Class) Remove(mark Mark, unborn bool) error {
	if c == nil {
		return nil
	}
	var errs []error
	for _, dir := range []string{c.Monitor, c.Dir} {
		if dir == "" || dir == c.Dir && !c.Own {
			continue
		}
		own, err := mark.On(dir)
		if own {
			err = rmdir(dir)
		} else if err == nil && unborn {
			err = mark.Sweep(dir)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func rmdir(dir string) error {
	if err := unix.Rmdir(dir); err != nil && !isRemoved(err) {
		return fmt.Errorf("rmdir %s: %w", dir, err)
	}
	return nil
}

func isRemoved(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) }
