// Package sourceflags decides which flags a bind mount keeps of the mount that it copies.
//
// A copy of a mount begins with the flags of its source: read-only, nosuid, nodev,
// noexec, nosymfollow. As for mount(2) with MS_REMOUNT|MS_BIND, and so for other
// runtimes, options that set a flag are the whole list: a flag of the source that they
// do not name is taken away. Options that only take flags away, such as rw, are about
// those alone; without any, all flags stay.
//
// In a user namespace the source's flags are locked (mount_namespaces(7)): root of it
// must not get rid of the nosuid that the host's administrator has chosen. The runtime
// could, where it is root of the host; it does not. An option that asks for it is an
// error, since the volume would not be what was asked for. A runtime that is itself in
// a user namespace leaves that to the kernel (EPERM).
//
// Man pages: [mount(2)], [mount_setattr(2)], [mount_namespaces(7)], [statfs(2)].
//
// [mount(2)]: https://man7.org/linux/man-pages/man2/mount.2.html
// [mount_setattr(2)]: https://man7.org/linux/man-pages/man2/mount_setattr.2.html
// [mount_namespaces(7)]: https://man7.org/linux/man-pages/man7/mount_namespaces.7.html
// [statfs(2)]: https://man7.org/linux/man-pages/man2/statfs.2.html
package sourceflags

import (
	"fmt"

	"golang.org/x/sys/unix"

	"minirun/plan"
	"minirun/rootfs"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A flag has different numbers for statfs(2) and for mount_setattr(2).
type flag struct {
	statfs     int64
	attr       uint64
	name, undo string // the options that set it, and that take it away
}

var flags = []flag{
	{unix.ST_RDONLY, unix.MOUNT_ATTR_RDONLY, "ro", "rw"},
	{unix.ST_NOSUID, unix.MOUNT_ATTR_NOSUID, "nosuid", "suid"},
	{unix.ST_NODEV, unix.MOUNT_ATTR_NODEV, "nodev", "dev"},
	{unix.ST_NOEXEC, unix.MOUNT_ATTR_NOEXEC, "noexec", "exec"},
	{0x2000, unix.MOUNT_ATTR_NOSYMFOLLOW, "nosymfollow", "symfollow"}, // ST_NOSYMFOLLOW
}

// Of returns the flags of the mount that path is on, as statfs(2) has them; 0 if they
// cannot be found out: then opening the source will fail, too.
func Of(path string) int64 {
	var s unix.Statfs_t
	if unix.Statfs(path, &s) != nil {
		return 0
	}
	return s.Flags
}

// New looks at the bind mounts of a spec that have flags of their own. root is that of
// the same spec; locked says that the container has a user namespace; of is [Of], or a
// test's own.
func New(spec *specs.Spec, root *rootfs.Root, locked bool, of func(path string) int64) error {
	for i, m := range root.All() {
		clear := m.Attr.Clear | m.AttrBelow.Clear
		if m.Type != "" || m.Change != nil || m.Attr.Set|clear == 0 { // Change: borrowed
			continue
		}
		replaced := m.Attr.Set != 0 || m.Attr.Clear&unix.MOUNT_ATTR__ATIME != 0
		has := of(m.Source)
		var gone []flag
		for _, f := range flags {
			switch {
			case has&f.statfs == 0:
			case locked && clear&f.attr != 0:
				return rootfs.MountError(i, spec.Mounts[i], fmt.Errorf("option %q: %s is mounted %s on the host, and a user namespace must not undo that", f.undo, m.Source, f.name))
			case !locked && replaced && (m.Attr.Set|m.Attr.Clear)&f.attr == 0:
				gone = append(gone, f)
			}
		}
		if gone != nil {
			m.Change = func(p *plan.Plan, tree plan.FD) { takeAway(p, gone, tree) }
		}
	}
	return nil
}

// takeAway records that flags are taken away, one by one: some may be locked, if the
// runtime is in a user namespace itself. Those stay.
func takeAway(p *plan.Plan, gone []flag, tree plan.FD) {
	for _, f := range gone {
		p.Note("the source has " + f.name + "; the options of the mount do not")
		p.MountSetattr(tree, 0, plan.MountAttr{Clear: f.attr}).Tolerate(unix.EPERM)
	}
}
