package cgroups

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/plan"
)

// This file records how a group is made and limited. In the plan it looks so:
//
//	mkdirat(AT_FDCWD, "/sys/fs/cgroup/minirun-web", 0755)
//	openat(AT_FDCWD, "/sys/fs/cgroup/minirun-web", O_PATH|…) = <cgroup>
//	openat(<cgroup>, "memory.max", O_WRONLY|O_CLOEXEC) = <memory.max>
//	write(<memory.max>, "67108864", 8)
//	close(<memory.max>)
//
// and then clone3 starts the process in <cgroup>. So the limits hold before the
// process executes its first instruction.

// A Group is a directory of a cgroup2 file system. It need not exist.
type Group struct {
	Dir string // absolute

	mount string // where the file system is mounted; "" after Open: unknown
}

// Open returns the group of an existing container, whose directory is in its
// state. Nothing is opened, so nothing must be closed.
func Open(dir string) *Group { return &Group{Dir: dir} }

// A Write is one line for one control file of a group: usually a limit.
type Write struct {
	File  string // name in the group's directory, such as memory.max
	Value string // such as 67108864, or max for no limit

	// Optional: a missing file is no error, because without it the group has
	// what the line asks for, such as no limit.
	Optional bool

	// Else is written instead if the file is missing; nil: nothing is.
	Else *Write
}

// String is how errors name the write.
func (w Write) String() string { return w.File + " " + w.Value }

// Controller is the name of the controller that the file belongs to; "" for a
// file that every group has.
func (w Write) Controller() string {
	name, _, _ := strings.Cut(w.File, ".")
	if name == "cgroup" {
		return ""
	}
	return name
}

// Add records the steps that make the group, hand controllers down to it and
// write its limits. The returned descriptor is for [plan.Clone]: the process is
// born in the group. It stays open until the plan has run.
//
// Only the making of directories has an undo. The limits go with the group.
// Controllers that were handed down stay so, because other groups may use them by
// then.
//
// Add reads the groups above to know what to record, and changes nothing. Three
// things are errors: a limit that the host cannot set, a group that has
// processes, because a container must not share its limits, and a frozen group,
// because the container would not run. After the first the steps are there all the
// same, for a plan that is only printed.
//
// Privileges: write permission in the group above. Linux 5.7.
func (g *Group) Add(p *plan.Plan, limits []Write) (plan.FD, error) {
	levels, err := g.levels()
	if err != nil {
		return nil, err
	}
	if err := checkUnused(levels); err != nil {
		return nil, err
	}
	needed, missing := chooseControllers(levels, limits)
	// From the top down: a group gets the files of a controller when the level above
	// enables it, so the limits come last.
	handDown(p, levels, needed)
	if !levels[len(levels)-1].exists {
		p.Mkdirat(plan.CWD, g.Dir, 0o755).Undo("rmdir "+g.Dir, g.Remove)
	}
	return g.Limit(p, limits), missing
}

// Update records the steps that change the limits of a group that exists. They
// have no undo: if the kernel refuses a limit, those before it stay.
func (g *Group) Update(p *plan.Plan, limits []Write) error {
	levels, err := g.levels()
	if err != nil {
		return err
	}
	if !levels[len(levels)-1].exists {
		return fmt.Errorf("cgroup %s: %w", g.Dir, unix.ENOENT)
	}
	needed, err := chooseControllers(levels, limits)
	if err != nil {
		return err
	}
	handDown(p, levels, needed)
	g.Limit(p, limits)
	return nil
}

// Limit records the writes of the limits and nothing else. The group must have its
// controllers already. It returns the group's descriptor.
func (g *Group) Limit(p *plan.Plan, limits []Write) plan.FD {
	dir := p.Openat(plan.CWD, g.Dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0).As("cgroup")
	for _, w := range limits {
		writeLimit(p, dir, w)
	}
	return dir
}

// writeLimit records one write: open, write, close. A missing file that is optional is
// no failure: the plan skips the steps that use its descriptor.
func writeLimit(p *plan.Plan, dir plan.FD, w Write) {
	open := func(w Write) *plan.Step {
		return p.Openat(dir, w.File, unix.O_WRONLY|unix.O_CLOEXEC, 0).As(w.File)
	}
	line := func(file *plan.Step, w Write) {
		p.Write(file, w.Value)
		p.Close(file)
	}
	switch {
	case w.Else != nil:
		// Alternatives follow each other in a plan, so both are opened before either
		// is written. If the first exists, the plan skips the second and, for lack
		// of a descriptor, its write.
		var file, other *plan.Step
		p.Alternatives([]unix.Errno{unix.ENOENT}, func() { file, other = open(w), open(*w.Else) })
		line(file, w)
		line(other, *w.Else)
	case w.Optional:
		line(open(w).Tolerate(unix.ENOENT), w)
	default:
		line(open(w), w)
	}
}

// checkUnused refuses a group that a new container cannot use. The lowest level
// that exists decides, because a group made below a frozen one is frozen too.
func checkUnused(levels []level) error {
	i := len(levels) - 1
	for !levels[i].exists { // the top exists, see levels
		i--
	}
	lowest := levels[i]
	events, err := Open(lowest.dir).ReadFlatKeyed("cgroup.events")
	if errors.Is(err, unix.ENOENT) {
		return nil // the root has no such file
	}
	switch own := i == len(levels)-1; {
	case err != nil:
		return err
	case events["frozen"] == 1:
		return fmt.Errorf("cgroup %s: is frozen: a new container in it could not run", lowest.dir)
	case own && events["populated"] == 1: // its processes, or those of groups below
		return fmt.Errorf("cgroup %s: has processes already: a container wants one of its own", lowest.dir)
	case own && len(lowest.enabled) > 0: // clone3 would fail with EBUSY, and not say why
		return fmt.Errorf("cgroup %s: hands controllers down (%s), so it cannot have processes", lowest.dir, strings.Join(lowest.enabled, " "))
	}
	return nil
}

// Writable says whether the runtime may make the group, or use it if it exists.
// An ordinary user may only below a group that was delegated to that user.
func (g *Group) Writable() bool {
	// The lowest level that exists decides, because the others are made in it.
	dir := g.Dir
	for unix.Access(dir, unix.F_OK) == unix.ENOENT && dir != "/" {
		dir = filepath.Dir(dir)
	}
	// Both are needed: making groups needs the directory, CLONE_INTO_CGROUP needs
	// cgroup.procs.
	return unix.Access(dir, unix.W_OK) == nil && unix.Access(filepath.Join(dir, "cgroup.procs"), unix.W_OK) == nil
}
