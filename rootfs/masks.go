package rootfs

import (
	"golang.org/x/sys/unix"

	"minirun/plan"
)

// mask records the hiding of paths: a directory below an empty read-only
// tmpfs, a file below the host's null device. Which of the two a path is, only
// the kernel knows when it comes to it; the plan tries the directory first.
func (r *Root) mask(p *plan.Plan) {
	paths := r.spec.Linux.MaskedPaths
	if len(paths) == 0 {
		return
	}
	p.Note("what hides a file: the host's null device, opened while the host's files are still there")
	null := p.Openat(plan.CWD, "/dev/null", unix.O_PATH|unix.O_CLOEXEC, 0).As("null")
	p.Note("and looked at: where the host's is something else, that would be what the container has in every masked file's place")
	p.Device(null, unix.S_IFCHR, 1, 3)
	for _, path := range paths {
		var dir, file *plan.Step
		from, rest := r.place(path)
		p.Alternatives([]unix.Errno{unix.ENOENT, unix.ENOTDIR}, func() {
			dir = p.OpenIn(from, rest, unix.O_PATH|unix.O_DIRECTORY, 0).As(path + "/")
			file = p.OpenIn(from, rest, unix.O_PATH, 0).As(path).Tolerate(unix.ENOENT, unix.ENOTDIR)
		})
		hideDirectory(p, dir).Shell("[ ! -d %[1]s ] || mount -t tmpfs -o ro,nr_inodes=2 tmpfs %[1]s", dir)
		tree := p.OpenTree(null, "", unix.OPEN_TREE_CLONE|unix.AT_EMPTY_PATH).Needs(file).As("cover")
		p.MoveMount(tree, file).Shell("[ -d %[1]s ] || [ ! -e %[1]s ] || mount --bind /dev/null %[1]s", file)
	}
}

// hideDirectory records an empty tmpfs on dir, if dir could be opened. Every
// directory gets its own: a mount that is attached nowhere can be copied only
// since Linux 6.15.
func hideDirectory(p *plan.Plan, dir *plan.Step) *plan.Step {
	fs := p.Fsopen("tmpfs").As("fs").Needs(dir)
	p.FsconfigString(fs, "nr_inodes", "2")
	p.FsconfigCreate(fs)
	empty := p.Fsmount(fs, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC).As("cover")
	return p.MoveMount(empty, dir)
}

// readonly records read-only paths: each mounted on itself, read-only. The
// descriptor that was opened is the one that is mounted on; nothing is looked
// up twice.
func (r *Root) readonly(p *plan.Plan) {
	for _, path := range r.spec.Linux.ReadonlyPaths {
		from, rest := r.place(path)
		target := p.OpenIn(from, rest, unix.O_PATH, 0).As(path).Tolerate(unix.ENOENT, unix.ENOTDIR)
		tree := p.OpenTree(target, "", unix.OPEN_TREE_CLONE|unix.AT_RECURSIVE|unix.AT_EMPTY_PATH).As("copy of " + path)
		p.MountSetattr(tree, unix.AT_RECURSIVE, plan.MountAttr{Set: unix.MOUNT_ATTR_RDONLY})
		p.MoveMount(tree, target).Shell("[ ! -e %[1]s ] || { mount --rbind %[1]s %[1]s; mount -o remount,bind,ro %[1]s; }", target)
	}
}
