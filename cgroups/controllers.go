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

// This file hands controllers down to a group. For each level above it
//
//	cgroup.controllers       what the level itself was given
//	cgroup.subtree_control   what it gives to those below it; writing
//	                         "+memory" adds, "-memory" takes back
//
// All that the top has is handed down, not only what the limits need: so the
// group can be measured, limited later, and delegated to a runtime inside the
// container. (The price, measured: one more controller adds about 45 us to
// making and removing a group.) It is written only once, since a level that
// existed keeps it: in the long run a start only reads, one small file a level.
// What was handed down is never taken back, because by then others may depend
// on it.

// A level is one group on the way from the top to the group itself.
type level struct {
	dir    string
	exists bool
	given  []string // its cgroup.subtree_control
	give   []string // what is to be added
}

// survey looks at the levels, the top first and the group itself last.
func (g *Group) survey() ([]level, error) {
	var levels []level
	for dir := g.Dir; ; dir = filepath.Dir(dir) {
		given, err := fields(dir, "cgroup.subtree_control")
		above := len(levels) > 0 && levels[0].exists && err != nil
		if above { // dir is no group any more, so the one before was the top
			break
		}
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return nil, err
		}
		levels = slices.Insert(levels, 0, level{dir: dir, exists: err == nil, given: given})
		if dir == g.top || dir == "/" {
			break
		}
	}
	if !levels[0].exists {
		return nil, fmt.Errorf("cgroup %s: %w", g.Dir, ErrNotMounted)
	}
	return levels, nil
}

// handDown decides what each level above the group must give so that the
// writes find their files. Their controllers are needed, the others welcome.
func handDown(levels []level, list []write) error {
	available, err := fields(levels[0].dir, "cgroup.controllers")
	if err != nil {
		return err
	}
	if w := lacking(list, available); w != nil {
		return fmt.Errorf("%s: %w", w, whoHolds(w.controller(), levels[0].dir))
	}
	for i := range levels[:len(levels)-1] {
		l := &levels[i]
		l.give = without(available, l.given)
		if len(l.give) == 0 || !l.exists {
			continue
		}
		if reason := cannotGive(l.dir); reason != nil {
			l.give, available = nil, l.given
			if w := lacking(list, available); w != nil {
				return fmt.Errorf("%s: hand %s down in %s: %w", w, w.controller(), l.dir, reason)
			}
		}
	}
	return nil
}

// lacking finds a write whose controller is not among the available ones.
func lacking(list []write, available []string) *write {
	for _, w := range list {
		if c := w.controller(); c != "" && !w.Optional && !slices.Contains(available, c) {
			return &w
		}
	}
	return nil
}

// cannotGive says why a level cannot hand down more than it does.
func cannotGive(dir string) error {
	if err := unix.Access(filepath.Join(dir, "cgroup.subtree_control"), unix.W_OK); err != nil {
		return err // EACCES: of another user; EROFS
	}
	if _, err := os.Stat(filepath.Join(dir, "cgroup.type")); errors.Is(err, unix.ENOENT) {
		return nil // the real root, the only group that may have processes too
	}
	if pids, err := numbers(dir, "cgroup.procs"); err == nil && len(pids) > 0 {
		return fmt.Errorf("%w: it has %d processes of its own, and a group with processes cannot hand controllers down (move them to a group below it)", unix.EBUSY, len(pids))
	}
	return nil
}

// record adds the steps that make the levels that do not exist and hand the
// controllers down. needed are the controllers that must get through.
func record(p *plan.Plan, levels []level, list []write) {
	needed := func(c string) bool {
		return slices.ContainsFunc(list, func(w write) bool { return !w.Optional && w.controller() == c })
	}
	for _, l := range levels[:len(levels)-1] {
		if !l.exists {
			p.Mkdirat(plan.CWD, l.dir, 0o755).Tolerate(unix.EEXIST). // another container's start was faster
											Undo("rmdir "+l.dir, func() error { return removeUnused(l.dir) })
		}
		if len(l.give) == 0 {
			continue
		}
		p.Note("hand controllers down, else the group below has no files for them; others may use them by the time we fail, so no undo")
		fd := p.Openat(plan.CWD, filepath.Join(l.dir, "cgroup.subtree_control"), unix.O_WRONLY|unix.O_CLOEXEC, 0).As("cgroup.subtree_control")
		for _, c := range l.give {
			s := p.Write(fd, "+"+c).Shell("echo +%s > %s/cgroup.subtree_control", c, l.dir)
			if !needed(c) {
				s.Tolerate(handDownErrnos...)
			}
		}
		p.Close(fd)
	}
}

// handDownErrnos are why a controller that nobody asked for stays where it is:
// processes in the level, real-time processes below it, not given to the level
// itself, or a threaded group.
var handDownErrnos = []unix.Errno{unix.EBUSY, unix.EINVAL, unix.ENOENT, unix.EOPNOTSUPP}

// removeUnused removes a level that we made, unless it is in use by now (EBUSY)
// or somebody else removed it.
func removeUnused(dir string) error {
	err := unix.Rmdir(dir)
	if err == unix.EBUSY || err == unix.ENOENT {
		return nil
	}
	return err
}

// whoHolds says why the top does not have a controller.
func whoHolds(controller, top string) error {
	v1 := controller
	if controller == "io" {
		v1 = "blkio"
	}
	if mounts, err := readMounts(); err == nil {
		if m := v1Mount(mounts, v1); m != "" {
			return fmt.Errorf("the %s controller is not available in cgroup v2: %s (cgroup v1) holds it", controller, m)
		}
	}
	return fmt.Errorf("the %s controller is not available: %s/cgroup.controllers does not list it (the kernel lacks it, the group above keeps it, or a cgroup v1 not mounted here has it)", controller, top)
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

// without is all but some.
func without(all, some []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return slices.Contains(some, s) })
}
