package rootfs

import (
	"cmp"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/plan"
)

// Some files of /proc and /sys have no namespace: what a container reads there tells
// about the host (/proc/kcore, /proc/timer_list), what it writes changes the host
// (/proc/sysrq-trigger, most of /proc/sys). Nothing but a mount on top takes them
// from a process that is root. Engines list them: maskedPaths cannot be read,
// readonlyPaths cannot be written.

// Masks records what comes last below the root: masked paths, read-only paths, a
// read-only /dev or tmpfs, and the read-only root. Nothing can be made in the root after
// it. It needs the new
// /proc and /sys, where most of those paths are, and the container's null device or,
// where the spec brings a /dev of its own, the host's; so it comes after Devices and
// before PivotRoot.
func (r *Root) Masks(p *plan.Plan) {
	r.hide(p)
	r.makeReadonly(p)
	for _, tree := range r.readonly {
		p.Note("read-only from now on: until here mount points and devices were made in it")
		p.MountSetattr(tree, 0, plan.MountAttr{Set: unix.MOUNT_ATTR_RDONLY})
	}
	if r.spec.Root.Readonly {
		p.Note("the root itself read-only; what is mounted below it keeps its own flags")
		p.MountSetattr(r.root, 0, plan.MountAttr{Set: unix.MOUNT_ATTR_RDONLY})
	}
}

// hide records the hiding of paths: a directory is covered by an empty read-only
// tmpfs, a file by a null device, which is empty for readers and takes what is
// written. Its mount is read-only, too: writing to a device needs no other, but nobody
// can change mode, owner and times of the device through it. Whether a path is a
// directory or a file is known only when it is opened; the plan tries the directory
// first.
func (r *Root) hide(p *plan.Plan) {
	if len(r.spec.Linux.MaskedPaths) == 0 {
		return
	}
	p.Note("a null device will hide files; that it is one is made sure, for the container gets it in place of each of them")
	var null *plan.Step
	if r.specHas("/dev/null") {
		null = p.Openat(plan.CWD, "/dev/null", unix.O_PATH|unix.O_CLOEXEC, 0).As("host's null")
		p.Device(null, unix.S_IFCHR, 1, 3)
	} else {
		null = r.Null(p, unix.O_PATH)
	}
	p.Note("and one empty directory will hide all directories")
	fs := p.Fsopen("tmpfs").As("fs")
	p.FsconfigString(fs, "nr_inodes", "2")
	p.FsconfigCreate(fs)
	empty := p.Fsmount(fs, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC).As("empty")
	for _, path := range distinct(r.spec.Linux.MaskedPaths) {
		var dir, file *plan.Step
		base, rest := r.base(path)
		p.Alternatives([]unix.Errno{unix.ENOENT, unix.ENOTDIR}, func() {
			dir = p.OpenIn(base, rest, unix.O_PATH|unix.O_DIRECTORY, 0).As(path + "/")
			file = p.OpenIn(base, rest, unix.O_PATH, 0).As(path).Tolerate(unix.ENOENT, unix.ENOTDIR)
		})
		hideDirectory(p, dir, empty)
		tree := p.OpenTree(null, "", unix.OPEN_TREE_CLONE|unix.AT_EMPTY_PATH).Needs(file).As("cover")
		p.MountSetattr(tree, 0, plan.MountAttr{Set: unix.MOUNT_ATTR_RDONLY})
		p.MoveMount(tree, file)
	}
}

// hideDirectory records a copy of the empty mount on dir, if dir could be opened. Before
// Linux 6.15 a mount that is attached nowhere cannot be copied (EINVAL): then the first
// directory gets the mount itself, and the others get copies of that.
func hideDirectory(p *plan.Plan, dir, empty *plan.Step) {
	var tree *plan.Step
	p.Alternatives([]unix.Errno{unix.EINVAL}, func() {
		tree = p.OpenTree(empty, "", unix.OPEN_TREE_CLONE|unix.AT_EMPTY_PATH).Needs(dir).As("cover")
		p.MoveMount(empty, dir)
	})
	p.MoveMount(tree, dir)
}

// makeReadonly records read-only paths: a read-only copy of each is mounted on the
// path itself, by the descriptor that was copied. Nothing is looked up twice, so
// nobody can exchange it in between.
func (r *Root) makeReadonly(p *plan.Plan) {
	for _, path := range distinct(r.spec.Linux.ReadonlyPaths) {
		base, rest := r.base(path)
		target := p.OpenIn(base, rest, unix.O_PATH, 0).As(path).Tolerate(unix.ENOENT, unix.ENOTDIR)
		tree := p.OpenTree(target, "", unix.OPEN_TREE_CLONE|unix.AT_RECURSIVE|unix.AT_EMPTY_PATH).As("copy of " + path)
		p.MountSetattr(tree, unix.AT_RECURSIVE, plan.MountAttr{Set: unix.MOUNT_ATTR_RDONLY})
		p.MoveMount(tree, target)
	}
}

// distinct are the paths, clean, and each of them once: a second mask would be one more
// mount, on top of the first.
func distinct(paths []string) (list []string) {
	seen := map[string]bool{}
	for _, path := range paths {
		if path = filepath.Join("/", path); !seen[path] {
			list, seen[path] = append(list, path), true
		}
	}
	return list
}

// base is the descriptor and the relative path by which a path is opened: from the
// root or, if the path lies in procfs or sysfs, from that mount. On the way to a
// mount the container's files could lead elsewhere.
func (r *Root) base(path string) (dir plan.FD, rest string) {
	dir, rest = r.root, path
	for _, mount := range r.procs {
		if path == mount || strings.HasPrefix(path, mount+"/") {
			dir, rest = r.dirs[mount], strings.TrimPrefix(path, mount)
		}
	}
	return dir, cmp.Or(strings.TrimPrefix(rest, "/"), ".")
}
