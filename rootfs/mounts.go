package rootfs

import (
	"cmp"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// This file records the mounts of the spec. Each mount is a descriptor first: fsopen,
// fsconfig and fsmount make one of a new file system, open_tree makes one of a bind
// mount. Then move_mount attaches it to another descriptor, that of its mount point.
// Why not mount(2)? It takes paths, and somebody may exchange a file on a path before
// the kernel follows it.

// OpenSources records that the runtime opens the sources of bind mounts before the
// container process is cloned. That is needed with a user namespace: for the host's
// files, the root of a user namespace is an ordinary user, who may not be allowed to
// reach them.
func (r *Root) OpenSources(p *plan.Plan) {
	if r.facts.Euid == 0 && r.has(specs.UserNamespace) {
		r.OpenAll(p, "a mount of the host, opened by the runtime: on the host, the container's root is an ordinary user and may have no way to it")
	}
}

// OpenAll is OpenSource for all bind mounts that are not open yet; why is its note.
func (r *Root) OpenAll(p *plan.Plan, why string) {
	for _, m := range r.mounts {
		if m.Type == "" && m.Tree == nil && !m.Own {
			p.Note(why)
			r.OpenSource(p, m)
		}
	}
}

// OpenSource records the opening of a bind mount before Mounts attaches it.
func (r *Root) OpenSource(p *plan.Plan, m *Mount) {
	m.Tree = m.bind(p, plan.CWD, m.Source)
	if !r.keepsPeers() {
		p.Note("what the container mounts in it must not appear on the host, where mounts may be shared")
		r.hideFromHost(p, m.Tree)
	}
}

// purposes say what a mount is for, by its place or type.
var purposes = map[string]string{
	"/dev":     "/dev, empty and in memory: the devices of every container are made in it below",
	"/dev/shm": "memory that the container's processes share by name (shm_open)",
	"devpts":   "pseudo-terminals of the container's own: none of the host's is in it",
	"mqueue":   "message queues of the container's IPC namespace",
	"sysfs":    "/sys shows devices and drivers, most of them the host's",
	"cgroup2":  "cgroup files: limits and use, as the container's cgroup namespace shows them",
	"proc": "why /proc? ps, top and many programs read it; a new one shows only the processes of its pid namespace. " +
		"Why before pivot_root? in a user namespace the kernel allows a new one only while another is fully visible, " +
		"and the host's goes with the old root",
}

// Mounts records the mounts of the spec, in its order.
func (r *Root) Mounts(p *plan.Plan) {
	p.Note("files get exactly the modes that the plan says")
	p.Umask(0)
	for _, m := range r.mounts {
		if m.Destination != "/" {
			r.attach(p, m)
		}
	}
}

// attach records one mount: it is made detached, then attached to its target.
func (r *Root) attach(p *plan.Plan, m *Mount) {
	tree := m.Tree
	switch {
	case tree != nil || m.Own:
	case m.Type == "":
		tree = m.bind(p, plan.CWD, m.Source)
	default:
		p.Note(cmp.Or(purposes[m.Destination], purposes[m.Type]))
		tree = m.Create(p, r.spec.Linux.MountLabel)
	}
	target := r.target(p, r.Follow(m.Destination), m.directory || m.Own, m.IsKernelView())
	if m.Own {
		tree = m.bind(p, target, "")
	}
	if m.Fill != nil {
		m.Fill(p, target, tree)
	}
	attached := p.MoveMount(tree, target)
	if r.detached {
		attached.Explain(unix.EINVAL, "without a mount namespace it takes Linux 6.15")
	}
	m.changeAttached(p, tree)
	if m.readonly != 0 {
		r.readonly = append(r.readonly, tree)
	}
	if m.Type == "tmpfs" || m.IsKernelView() {
		r.dirs[m.Destination] = tree
	}
	if m.IsKernelView() {
		r.procs = append(r.procs, m.Destination)
	}
	if m.Destination == "/dev/pts" {
		r.devpts = tree
	}
}

// IsKernelView says whether the mount is procfs or sysfs, which show the kernel's
// data. Its mount point must not be reached through a symbolic link: masked and
// read-only paths are applied below /proc and /sys, and a link would put the mount
// elsewhere, unmasked.
func (m *Mount) IsKernelView() bool {
	return m.Type == "proc" || m.Type == "sysfs" || m.Destination == "/proc" || m.Destination == "/sys"
}

// Create records a new file system. The kernel checks every option as it is set, so
// that the error names the option; mount(2) takes all of them at once. SELinux takes one label for all files of some
// file systems (linux.mountLabel).
func (m *Mount) Create(p *plan.Plan, label string) *plan.Step {
	fs := p.Fsopen(m.Type).As("fs")
	if m.Source != "" {
		p.FsconfigString(fs, "source", m.Source)
	}
	for _, o := range m.Options {
		if key, value, ok := strings.Cut(o, "="); ok {
			p.FsconfigString(fs, key, value)
		} else {
			p.FsconfigFlag(fs, key)
		}
	}
	if label != "" && slices.Contains([]string{"tmpfs", "devpts", "mqueue"}, m.Type) {
		p.FsconfigString(fs, "context", label).Explain(unix.EINVAL, "no such label, or the kernel does not run SELinux")
	}
	p.FsconfigCreate(fs)
	return p.Fsmount(fs, m.Attr.Set).As("new " + m.Destination)
}

// bind records a copy of a mount of the host: a bind mount shows the same files in
// another place. Its flags are the copy's own: a read-only copy of a writable mount
// is what "ro" asks for.
func (m *Mount) bind(p *plan.Plan, dir plan.FD, path string) *plan.Step {
	flags := uint(unix.OPEN_TREE_CLONE)
	if m.Recursive {
		flags |= unix.AT_RECURSIVE
	}
	if m.Own {
		flags |= unix.AT_EMPTY_PATH
	}
	tree := p.OpenTree(dir, path, flags).As("new " + m.Destination)
	if m.Attr.Set|m.Attr.Clear != 0 {
		p.MountSetattr(tree, 0, plan.MountAttr{Set: m.Attr.Set, Clear: m.Attr.Clear})
	}
	return tree
}

// changeAttached records propagation and the recursive options. They come after
// the mount is attached, because on a shared parent attaching makes it shared
// again.
func (m *Mount) changeAttached(p *plan.Plan, tree *plan.Step) {
	if m.Change != nil {
		m.Change(p, tree)
	}
	if m.Attr.Propagation != 0 {
		p.MountSetattr(tree, 0, plan.MountAttr{Propagation: m.Attr.Propagation})
	}
	if m.AttrBelow != (plan.MountAttr{}) {
		p.MountSetattr(tree, unix.AT_RECURSIVE, m.AttrBelow)
	}
}

// target records how a mount point is opened, and made where it is missing: one
// directory at a time, each opened anew from the root, because a directory on the
// way may be a link that somebody is changing at this moment. mkdirat(2) and
// mknodat(2) do not follow a link in the last place. With noLinks, there must be
// no link at all.
func (r *Root) target(p *plan.Plan, path string, directory, noLinks bool) plan.FD {
	path = strings.TrimPrefix(path, "/")
	flags := unix.O_PATH
	if directory {
		flags |= unix.O_DIRECTORY
	}
	if !r.inKernelView("/" + path) {
		parent, name := r.openDirectory(p, filepath.Dir("/"+path)), filepath.Base(path)
		if directory {
			p.Mkdirat(parent, name, 0o755).Tolerate(unix.EEXIST)
		} else {
			p.Mknodat(parent, name, unix.S_IFREG|0o644, 0, 0).Tolerate(unix.EEXIST)
		}
	}
	if noLinks {
		return p.OpenStrictly(r.root, path, flags).As("/"+path).Explain(unix.ELOOP, "a link, where what the kernel shows is to be mounted")
	}
	return p.OpenIn(r.root, path, flags, 0).As("/" + path)
}

// inKernelView says whether a path lies in procfs or sysfs, where nothing can be
// made.
func (r *Root) inKernelView(path string) bool {
	return slices.ContainsFunc(r.mounts, func(m *Mount) bool {
		return (m.Type == "proc" || m.Type == "sysfs") && strings.HasPrefix(path, m.Destination+"/")
	})
}

// openDirectory records a descriptor of a directory of the container, which is
// made if it is missing. path is absolute and clean.
func (r *Root) openDirectory(p *plan.Plan, path string) plan.FD {
	if path == "/" {
		return r.root
	}
	if fd, ok := r.dirs[path]; ok {
		return fd
	}
	return r.target(p, path, true, false)
}

// directory is openDirectory after Mounts: it remembers the descriptor. Before, a
// later mount could cover the directory.
func (r *Root) directory(p *plan.Plan, path string) plan.FD {
	fd := r.openDirectory(p, r.Follow(path))
	r.dirs[path] = fd
	return fd
}

// MakeDirectory records, after Mounts, that a directory of the container is made
// if it is missing: the program's working directory has to exist.
func (r *Root) MakeDirectory(p *plan.Plan, path string) { r.directory(p, filepath.Clean(path)) }
