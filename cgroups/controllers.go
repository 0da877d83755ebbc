package cgroups

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"minirun/plan"
)

// This file hands controllers down to a group. Each level above it has two files:
//
//	cgroup.controllers       the controllers that the level itself may use
//	cgroup.subtree_control   those that it enables for the groups below it;
//	                         writing "+memory" adds one, "-memory" removes one
//
// For a group /minirun/web, on a machine that was just started, that is
//
//	echo +memory > /sys/fs/cgroup/cgroup.subtree_control           now /minirun has memory.max
//	echo +memory > /sys/fs/cgroup/minirun/cgroup.subtree_control   and /minirun/web has it, too
//
// Every controller that the top has is handed down, not only those that the
// limits need. So the group can be measured, it can be limited later, and a
// runtime inside the container can limit its own containers. (The price: each
// further controller adds about 45 us to making and removing a group.) A level
// keeps what was written, so usually a start only reads one small file a level.
// Nothing is ever disabled again, because other groups may depend on it by then.

// A level is one group on the way from the top of the file system to the group
// itself.
type level struct {
	dir     string
	exists  bool
	enabled []string // its cgroup.subtree_control
	enable  []string // what is to be added to that
}

// levels reads the levels: the top is the first, the group itself the last.
func (g *Group) levels() ([]level, error) {
	var levels []level
	for dir := g.Dir; ; dir = filepath.Dir(dir) {
		enabled, err := readWords(dir, "cgroup.subtree_control")
		if n := len(levels); n > 0 && levels[n-1].exists && err != nil {
			break // dir is not a group, so the one before was the top
		}
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return nil, err // ENOENT: the plan will make this level
		}
		levels = append(levels, level{dir: dir, exists: err == nil, enabled: enabled})
		if dir == g.mount || dir == "/" {
			break
		}
	}
	slices.Reverse(levels)
	if !levels[0].exists {
		return nil, fmt.Errorf("cgroup %s: %w", g.Dir, ErrNotMounted)
	}
	return levels, nil
}

// Controllers reads which controllers the group at dir may use, and picks those
// that the limits need. A limit whose controller is missing is an error that says
// who has it. Optional limits need none.
func Controllers(dir string, limits []Write) (available, needed []string, err error) {
	if available, err = readWords(dir, "cgroup.controllers"); err != nil {
		return nil, nil, err
	}
	for _, w := range limits {
		c := w.Controller()
		if c == "" || w.Optional || slices.Contains(needed, c) {
			continue
		}
		if !slices.Contains(available, c) {
			return nil, nil, fmt.Errorf("%s: %w", w, whoHolds(c, dir))
		}
		needed = append(needed, c)
	}
	return available, needed, nil
}

// chooseControllers decides what each level above the group must enable, and
// returns the controllers that the limits need. The others are welcome.
func chooseControllers(levels []level, limits []Write) (needed []string, err error) {
	available, needed, err := Controllers(levels[0].dir, limits)
	if err != nil {
		return nil, err
	}
	// Each level can enable only what the level above has enabled for it. So available
	// shrinks on the way down, where a level keeps controllers to itself.
	for i := range levels[:len(levels)-1] {
		l := &levels[i]
		l.enable = without(available, l.enabled)
		if len(l.enable) == 0 || !l.exists {
			continue // a level that the plan makes has no processes
		}
		if reason := cannotEnable(l.dir); reason != nil {
			l.enable, available = nil, l.enabled
			if missing := without(needed, available); len(missing) > 0 {
				return nil, refuse(limits, missing, l.dir, reason)
			}
		}
	}
	return needed, nil
}

// refuse is the error for the first limit whose controller is missing.
func refuse(limits []Write, missing []string, dir string, reason error) error {
	i := slices.IndexFunc(limits, func(w Write) bool { return !w.Optional && slices.Contains(missing, w.Controller()) })
	return fmt.Errorf("%s: hand %s down in %s: %w", limits[i], limits[i].Controller(), dir, reason)
}

// cannotEnable says why a level cannot hand down more than it does; nil if it can.
func cannotEnable(dir string) error {
	if err := unix.Access(filepath.Join(dir, "cgroup.subtree_control"), unix.W_OK); err != nil {
		return err // EACCES: it belongs to another user; EROFS
	}
	if _, err := os.Stat(filepath.Join(dir, "cgroup.type")); errors.Is(err, unix.ENOENT) {
		return nil // the real root, the only group that may have processes too
	}
	if pids, err := readPids(dir, "cgroup.procs"); err == nil && len(pids) > 0 {
		return fmt.Errorf("%w: it has %d processes of its own, and a group with processes cannot hand controllers down (move them to a group below it)", unix.EBUSY, len(pids))
	}
	return nil
}

// handDown records the steps that make the missing levels above the group and
// enable controllers in each. Without the needed ones the plan fails.
func handDown(p *plan.Plan, levels []level, needed []string) {
	for _, l := range levels[:len(levels)-1] {
		if !l.exists {
			p.Mkdirat(plan.CWD, l.dir, 0o755).Tolerate(unix.EEXIST). // another container's start was faster
											Undo("rmdir "+l.dir, func() error { return removeUnused(l.dir) })
		}
		if len(l.enable) == 0 {
			continue
		}
		p.Note("hand controllers down: a group has files only for controllers that the group above enables; no undo, because other groups may use them by then")
		file := p.Openat(plan.CWD, filepath.Join(l.dir, "cgroup.subtree_control"), unix.O_WRONLY|unix.O_CLOEXEC, 0).As("cgroup.subtree_control")
		for _, c := range l.enable {
			s := p.Write(file, "+"+c)
			if !slices.Contains(needed, c) {
				s.Tolerate(enableErrnos...)
			}
		}
		p.Close(file)
	}
}

// enableErrnos are the reasons for which a level keeps a controller to itself:
// the level has processes, or real-time processes below it; it does not have the
// controller; it is a threaded group.
var enableErrnos = []unix.Errno{unix.EBUSY, unix.EINVAL, unix.ENOENT, unix.EOPNOTSUPP}

// removeUnused removes a level that the runtime made. It stays if another group
// uses it by now (EBUSY).
func removeUnused(dir string) error {
	err := unix.Rmdir(dir)
	if err == unix.EBUSY || err == unix.ENOENT {
		return nil
	}
	return err
}

// whoHolds says why the group at dir does not have a controller.
func whoHolds(controller, dir string) error {
	v1 := controller
	if controller == "io" {
		v1 = "blkio"
	}
	if mounts, err := readMounts(); err == nil {
		if m := v1Mount(mounts, v1); m != "" {
			return fmt.Errorf("the %s controller is not available in cgroup v2: %s (cgroup v1) holds it", controller, m)
		}
	}
	return fmt.Errorf("the %s controller is not available: %s/cgroup.controllers does not list it (the kernel lacks it, the group above keeps it, or a cgroup v1 not mounted here has it)", controller, dir)
}

// v1Mount finds where a controller of cgroup v1 is mounted. Its name is among
// the options of the file system:
//
//	35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
func v1Mount(mounts []*mountinfo.Info, controller string) string {
	for _, m := range mounts {
		if m.FSType == "cgroup" && slices.Contains(strings.Split(m.VFSOptions, ","), controller) {
			return m.Mountpoint
		}
	}
	return ""
}

// without returns the words of all that are not in some.
func without(all, some []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return slices.Contains(some, s) })
}
