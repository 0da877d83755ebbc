package cgroups

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/plan"
)

// Delegate records that the group dir is given to a user, who may then make
// groups below it and move processes among them, but not change its limits: the
// directory, and in it the files that the kernel lists for that (cgroup-v2.rst,
// "Delegation"; runtime-spec, config-linux.md, "Cgroup ownership").
//
// uid is the user's number on the host. Files that a kernel does not have are
// left out. Needs CAP_CHOWN.
func Delegate(p *plan.Plan, dir plan.FD, uid uint32, files []string) {
	const same = 1<<32 - 1
	p.Note("the container may divide its group further, as it mounts it writable: then it is its user's")
	p.Fchownat(dir, "", uid, same, unix.AT_EMPTY_PATH)
	for _, f := range files {
		p.Fchownat(dir, f, uid, same, unix.AT_SYMLINK_NOFOLLOW).Tolerate(unix.ENOENT)
	}
}

// Delegated are the files that belong to whoever a group is delegated to:
// /sys/kernel/cgroup/delegate. Linux 4.15; before, and where sysfs is hidden,
// the three that every cgroup v2 has.
func Delegated() ([]string, error) {
	text, err := os.ReadFile("/sys/kernel/cgroup/delegate")
	if errors.Is(err, fs.ErrNotExist) {
		return []string{"cgroup.procs", "cgroup.subtree_control", "cgroup.threads"}, nil
	}
	return strings.Fields(string(text)), err
}
