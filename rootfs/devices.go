package rootfs

import (
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/plan"
)

// This file records how the files in /dev are made. A device file is only a name for
// a driver of the kernel: a type (character or block) and two numbers. A process
// that opens one talks to that driver, whatever directory the file is in. The files
// here are those that a container starts with. Root in it may make others, and the
// device filter of its cgroup refuses to open them (package cgroups/devices).
//
// In a user namespace the kernel refuses mknod(2), because its root would get at the
// machine's hardware. There the host's device files are mounted instead, and no
// filter is needed. The mounts are read-only: a device can still be written to, but
// its mode, owner and times, which are the host's, stay as they are.

// A Device is a device file to make.
type Device struct {
	Path         string // absolute and clean, in the container
	Kind         uint32 // S_IFCHR, S_IFBLK, S_IFIFO
	Major, Minor uint32
	Mode         uint32
	UID, GID     uint32
}

// defaultDevices exist in every container (runtime-spec, config-linux.md, "Default
// Devices").
var defaultDevices = []Device{
	{Path: "/dev/null", Kind: unix.S_IFCHR, Major: 1, Minor: 3, Mode: 0o666},
	{Path: "/dev/zero", Kind: unix.S_IFCHR, Major: 1, Minor: 5, Mode: 0o666},
	{Path: "/dev/full", Kind: unix.S_IFCHR, Major: 1, Minor: 7, Mode: 0o666},
	{Path: "/dev/random", Kind: unix.S_IFCHR, Major: 1, Minor: 8, Mode: 0o666},
	{Path: "/dev/urandom", Kind: unix.S_IFCHR, Major: 1, Minor: 9, Mode: 0o666},
	{Path: "/dev/tty", Kind: unix.S_IFCHR, Major: 5, Minor: 0, Mode: 0o666},
}

// links are symbolic links in /dev that programs expect. With ptmx as a link, a
// program that opens a terminal gets one of the container's own devpts.
var links = []struct{ name, target string }{
	{"fd", "/proc/self/fd"},
	{"stdin", "/proc/self/fd/0"},
	{"stdout", "/proc/self/fd/1"},
	{"stderr", "/proc/self/fd/2"},
	{"ptmx", "pts/ptmx"},
}

// Devices records the default devices, those of the spec, and the links. It comes
// after Mounts, because /dev usually is a new and empty tmpfs.
func (r *Root) Devices(p *plan.Plan) {
	p.Note("the devices that every container has")
	dev := r.directory(p, "/dev")
	for _, d := range defaultDevices {
		if !r.specHas(d.Path) {
			r.device(p, dev, d)
		}
	}
	for _, d := range r.Extra {
		r.device(p, r.directory(p, filepath.Dir(d.Path)), d)
	}
	for _, l := range links {
		p.Symlinkat(l.target, dev, l.name).Tolerate(unix.EEXIST)
	}
}

// isNew says whether path is on a new and empty file system: a file that is there
// already is one that we have made ourselves.
func (r *Root) isNew(path string) (isNew bool) {
	for _, m := range r.mounts {
		if strings.HasPrefix(path, m.Destination+"/") {
			isNew = m.Type == "tmpfs" && m.Fill == nil
		}
	}
	return isNew
}

// specHas says whether the spec itself makes or mounts something at path.
func (r *Root) specHas(path string) bool {
	isDevice := func(d Device) bool { return d.Path == path }
	isMount := func(m *Mount) bool {
		return m.Destination == path || m.Destination == "/dev" && m.Type == "" // a bind-mounted /dev has its devices
	}
	return slices.ContainsFunc(r.Extra, isDevice) || slices.ContainsFunc(r.mounts, isMount)
}

// device records one device file. In a user namespace nobody can make one: then
// the host's device is mounted on an empty file. A device of the host's, and one
// that the image has, must be the right one: the child checks its numbers.
func (r *Root) device(p *plan.Plan, dir plan.FD, d Device) {
	name := filepath.Base(d.Path)
	if d.Kind != unix.S_IFIFO && r.facts.NoMknod {
		tree := p.OpenTree(plan.CWD, d.Path, unix.OPEN_TREE_CLONE).As("host's " + d.Path)
		p.Device(tree, d.Kind, d.Major, d.Minor)
		p.MountSetattr(tree, 0, plan.MountAttr{Set: unix.MOUNT_ATTR_RDONLY})
		p.Mknodat(dir, name, unix.S_IFREG|d.Mode, 0, 0).Tolerate(unix.EEXIST)
		p.MoveMount(tree, p.OpenIn(r.root, strings.TrimPrefix(d.Path, "/"), unix.O_PATH, 0).As(d.Path))
		return
	}
	if r.isNew(d.Path) {
		p.Mknodat(dir, name, d.Kind|d.Mode, d.Major, d.Minor).Tolerate(unix.EEXIST)
	} else {
		var existing *plan.Step
		p.Alternatives([]unix.Errno{unix.EEXIST}, func() {
			p.Mknodat(dir, name, d.Kind|d.Mode, d.Major, d.Minor)
			existing = p.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0).As(d.Path)
		})
		p.Device(existing, d.Kind, d.Major, d.Minor)
	}
	if d.UID|d.GID != 0 {
		p.Fchownat(dir, name, d.UID, d.GID, unix.AT_SYMLINK_NOFOLLOW)
	}
}

// Null records the opening of the container's null device, by its place among the new
// devices. Where the spec has a /dev of its own, whose null may be anything, another
// one is made, attached nowhere; without mknod, that one is asked to be the null device.
func (r *Root) Null(p *plan.Plan, flags int) *plan.Step {
	dev := r.directory(p, "/dev")
	if r.specHas("/dev/null") && !r.facts.NoMknod {
		fs := p.Fsopen("tmpfs").As("fs")
		p.FsconfigCreate(fs)
		dev = p.Fsmount(fs, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC).As("devices")
		p.Mknodat(dev, "null", unix.S_IFCHR|0o666, 1, 3)
	}
	null := p.OpenIn(dev, "null", flags, 0).As("null")
	p.Device(null, unix.S_IFCHR, 1, 3)
	return null
}

// Ptmx records the opening of the container's pseudo-terminal multiplexer, below
// the devpts that Mounts has made and not by a path. It returns nil if the spec
// mounts no devpts on /dev/pts.
func (r *Root) Ptmx(p *plan.Plan) plan.FD {
	if r.devpts == nil {
		return nil
	}
	return p.OpenIn(r.devpts, "ptmx", unix.O_RDWR|unix.O_NOCTTY, 0).As("ptmx")
}

// Console records that the terminal appears as /dev/console, where init systems
// write their messages. slave is the terminal's slave end. A terminal is a file of a
// devpts and cannot be moved, so it is mounted on an empty file.
func (r *Root) Console(p *plan.Plan, slave plan.FD) {
	tree := p.OpenTree(slave, "", unix.OPEN_TREE_CLONE|unix.AT_EMPTY_PATH).As("console")
	p.Mknodat(r.directory(p, "/dev"), "console", unix.S_IFREG|0o600, 0, 0).Tolerate(unix.EEXIST)
	p.MoveMount(tree, p.OpenIn(r.root, "dev/console", unix.O_PATH, 0).As("/dev/console"))
}
