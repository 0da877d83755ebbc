package rootfs

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A mount is one entry of the spec's mounts, parsed.
type mount struct {
	destination string // absolute and clean, in the container
	fstype      string // "" for a bind mount
	source      string // on the host for a bind mount, else a label
	directory   bool   // what is mounted is a directory
	recursive   bool   // rbind
	attr        plan.MountAttr
	deep        plan.MountAttr // the options that start with r: for the mounts below, too
	data        []string       // options of the file system

	idmap      bool // shows files as somebody else's, as the maps say
	mapDeep    bool // ridmap: so do the mounts below
	uids, gids []specs.LinuxIDMapping
	tree       *plan.Step // made by Before; nil: none

	copyUp bool    // a tmpfs that begins with what is below it:
	copied []Entry // these files
}

func newMount(m specs.Mount, linux *specs.Linux, host Host) (mount, error) {
	if m.Destination == "" {
		return mount{}, errors.New("destination: missing")
	}
	if len(m.Destination) >= unix.PathMax { // each of its directories would be a step
		return mount{}, fmt.Errorf("destination: %w", unix.ENAMETOOLONG)
	}
	c := mount{destination: filepath.Join("/", m.Destination), fstype: m.Type, source: m.Source, directory: true}
	bind := m.Type == "bind" || m.Type == ""
	for _, name := range m.Options {
		switch {
		case name == "bind":
			bind = true
		case name == "rbind":
			bind, c.recursive = true, true
		default:
			if err := c.option(name); err != nil {
				return mount{}, err
			}
		}
	}
	if bind {
		if m.Source == "" {
			return mount{}, errors.New("source: missing")
		}
		c.fstype, c.source = "", absolute(host.Bundle, m.Source)
		c.directory = host.IsDir(c.source)
		if c.destination == "/" {
			return mount{}, errors.New("destination: the root can only be an overlay")
		}
		return c, c.maps(m, linux)
	}
	if c.idmap || len(m.UIDMappings)+len(m.GIDMappings) > 0 {
		return mount{}, errors.New("uidMappings: only a bind mount can be mapped")
	}
	if c.fstype == "cgroup" {
		c.fstype = "cgroup2" // the spec's one word for both; version 1 is not for us
	}
	if c.destination == "/" {
		return c, c.overlay()
	}
	return c, nil
}

// overlay refuses a root that is not stacked from layers, and layers that have
// no place of their own: their names are shortened.
func (m *mount) overlay() error {
	if m.fstype != "overlay" {
		return fmt.Errorf("type %q: the root can only be an overlay", m.fstype)
	}
	for _, o := range m.data {
		key, value, _ := strings.Cut(o, "=")
		if overlayDirs[key] && slices.ContainsFunc(strings.Split(value, ":"), func(dir string) bool { return !filepath.IsAbs(dir) }) {
			return fmt.Errorf("option %q: not absolute paths", o)
		}
	}
	return nil
}

// dropData leaves out, and returns as warnings, the options of a file system on
// a bind mount, which makes none: mount(2) ignores them, too.
func (m *mount) dropData() (warnings []string) {
	if m.fstype != "" {
		return nil
	}
	for _, o := range m.data {
		warnings = append(warnings, fmt.Sprintf("option %q: a bind mount makes no file system that could have it: left out", o))
	}
	m.data = nil
	return warnings
}

// maps reads whose ids a mount shows: its own maps or, with the option alone,
// those of the container's user namespace.
func (m *mount) maps(spec specs.Mount, linux *specs.Linux) error {
	m.uids, m.gids = spec.UIDMappings, spec.GIDMappings
	m.idmap = m.idmap || len(m.uids)+len(m.gids) > 0
	if m.idmap && len(m.uids)+len(m.gids) == 0 {
		m.uids, m.gids = linux.UIDMappings, linux.GIDMappings
	}
	if m.idmap && (len(m.uids) == 0 || len(m.gids) == 0) {
		return errors.New("uidMappings: an id-mapped mount needs maps of users and groups")
	}
	return nil
}

// option parses one mount option. What is none of ours is the file system's.
func (m *mount) option(name string) error {
	switch name {
	case "tmpcopyup":
		m.copyUp = true
		return nil
	case "idmap", "ridmap":
		m.idmap, m.mapDeep = true, name == "ridmap"
		return nil
	}
	if flags, ok := propagations[name]; ok {
		if flags&unix.MS_REC != 0 {
			m.deep.Propagation = uint64(flags &^ unix.MS_REC)
		} else {
			m.attr.Propagation = uint64(flags)
		}
		return nil
	}
	if o, ok := attributes[name]; ok {
		o.apply(&m.attr)
		return nil
	}
	if o, ok := attributes[strings.TrimPrefix(name, "r")]; ok && strings.HasPrefix(name, "r") {
		o.apply(&m.deep)
		return nil
	}
	if !slices.Contains(ignored, name) {
		m.data = append(m.data, name)
	}
	return nil
}

// An attribute is a mount option that mount_setattr(2) knows.
type attribute struct{ set, clear uint64 }

// apply adds the option to earlier ones; the last of two opposites wins.
func (o attribute) apply(a *plan.MountAttr) {
	a.Set = a.Set&^o.clear | o.set
	a.Clear = a.Clear&^o.set | o.clear
}

// attributes are the options of mount(8) that belong to a mount, not to a file
// system. All times are one field of the mount: to set one, clear them all.
var attributes = map[string]attribute{
	"ro":            {set: unix.MOUNT_ATTR_RDONLY},
	"rw":            {clear: unix.MOUNT_ATTR_RDONLY},
	"nosuid":        {set: unix.MOUNT_ATTR_NOSUID},
	"suid":          {clear: unix.MOUNT_ATTR_NOSUID},
	"nodev":         {set: unix.MOUNT_ATTR_NODEV},
	"dev":           {clear: unix.MOUNT_ATTR_NODEV},
	"noexec":        {set: unix.MOUNT_ATTR_NOEXEC},
	"exec":          {clear: unix.MOUNT_ATTR_NOEXEC},
	"nosymfollow":   {set: unix.MOUNT_ATTR_NOSYMFOLLOW},
	"symfollow":     {clear: unix.MOUNT_ATTR_NOSYMFOLLOW},
	"nodiratime":    {set: unix.MOUNT_ATTR_NODIRATIME},
	"diratime":      {clear: unix.MOUNT_ATTR_NODIRATIME},
	"noatime":       {set: unix.MOUNT_ATTR_NOATIME, clear: unix.MOUNT_ATTR__ATIME},
	"atime":         {clear: unix.MOUNT_ATTR__ATIME},
	"strictatime":   {set: unix.MOUNT_ATTR_STRICTATIME, clear: unix.MOUNT_ATTR__ATIME},
	"nostrictatime": {clear: unix.MOUNT_ATTR__ATIME},
	"relatime":      {clear: unix.MOUNT_ATTR__ATIME},
	"norelatime":    {clear: unix.MOUNT_ATTR__ATIME},
}

// propagations are the values of linux.rootfsPropagation, and mount options.
var propagations = map[string]uintptr{
	"shared":      unix.MS_SHARED,
	"slave":       unix.MS_SLAVE,
	"private":     unix.MS_PRIVATE,
	"unbindable":  unix.MS_UNBINDABLE,
	"rshared":     unix.MS_REC | unix.MS_SHARED,
	"rslave":      unix.MS_REC | unix.MS_SLAVE,
	"rprivate":    unix.MS_REC | unix.MS_PRIVATE,
	"runbindable": unix.MS_REC | unix.MS_UNBINDABLE,
}

// ignored are options without an effect here.
var ignored = []string{"defaults", "async", "loud", "silent", "norelatime", "auto", "noauto", "user", "nouser", "_netdev", "nofail", "mand", "nomand", "noiversion", "nolazytime", "remount"}

// mount records one mount: made detached, then attached to its target.
func (r *Root) mount(p *plan.Plan, m mount) {
	var tree *plan.Step
	if m.tree != nil {
		tree = m.tree
	} else if m.fstype == "" {
		tree = m.bind(p)
		if !r.host.OwnNS {
			r.hideFromHost(p, tree)
		}
	} else {
		tree = m.create(p, r.spec.Linux.MountLabel)
	}
	target := r.target(p, m.destination, m.directory, m.strict())
	m.copy(p, target, tree)
	attached := p.MoveMount(tree, target).ShellLine(func() string { return "mount " + m.command() + " " + plan.Quote("."+m.destination) })
	if !r.host.OwnNS {
		attached.Explain(unix.EINVAL, "without a mount namespace it takes Linux 6.15")
	}
	if m.attr.Propagation != 0 || m.deep != (plan.MountAttr{}) {
		m.change(p, tree)
	}
	if m.fstype == "tmpfs" || m.strict() {
		r.parents[m.destination] = tree
	}
	if m.strict() {
		r.kernels = append(r.kernels, m.destination)
	}
	if m.destination == "/dev/pts" {
		r.devpts = tree
	}
}

// strict says whether a mount shows what the kernel has, in procfs or sysfs. No
// link of the container's may say where it goes: it would not lie where its
// masks and read-only paths are looked for, but somewhere else, without them.
func (m mount) strict() bool {
	return m.fstype == "proc" || m.fstype == "sysfs" || m.destination == "/proc" || m.destination == "/sys"
}

// labelled are the file systems of which SELinux takes a label for all files.
var labelled = []string{"tmpfs", "devpts", "mqueue"}

// create records a new file system of its own.
func (m mount) create(p *plan.Plan, label string) *plan.Step {
	fs := p.Fsopen(m.fstype).As("fs")
	if m.source != "" {
		p.FsconfigString(fs, "source", m.source)
	}
	for _, o := range m.data {
		if key, value, ok := strings.Cut(o, "="); ok {
			p.FsconfigString(fs, key, value)
		} else {
			p.FsconfigFlag(fs, key)
		}
	}
	if label != "" && slices.Contains(labelled, m.fstype) {
		p.FsconfigString(fs, "context", label).Explain(unix.EINVAL, "no such label, or the kernel does not run SELinux")
	}
	p.FsconfigCreate(fs)
	return p.Fsmount(fs, m.attr.Set).As("new " + m.destination)
}

// bind records a copy of a mount of the host.
func (m mount) bind(p *plan.Plan) *plan.Step {
	flags := uint(unix.OPEN_TREE_CLONE)
	if m.recursive {
		flags |= unix.AT_RECURSIVE
	}
	tree := p.OpenTree(plan.CWD, m.source, flags).As("new " + m.destination)
	if m.attr.Set|m.attr.Clear != 0 {
		p.MountSetattr(tree, 0, plan.MountAttr{Set: m.attr.Set, Clear: m.attr.Clear})
	}
	return tree
}

// mapped records a copy of a mount of the host whose files belong to others.
// For the time between, nobody has it but who has this descriptor.
func (m mount) mapped(p *plan.Plan, host Host) *plan.Step {
	p.Note("an id-mapped mount: who may show a file as somebody else's must have the host's privileges")
	maps := host.Mapping(p, m.uids, m.gids)
	tree := m.bind(p)
	flags := uint(0)
	if m.mapDeep {
		flags = unix.AT_RECURSIVE
	}
	p.MountSetattr(tree, flags, plan.MountAttr{Set: unix.MOUNT_ATTR_IDMAP, UserNS: maps})
	return tree
}

// change records propagation and the recursive options. After the mount is
// attached: on a shared parent, attaching makes it shared again.
func (m mount) change(p *plan.Plan, tree *plan.Step) {
	if m.attr.Propagation != 0 {
		p.MountSetattr(tree, 0, plan.MountAttr{Propagation: m.attr.Propagation})
	}
	if m.deep != (plan.MountAttr{}) {
		p.MountSetattr(tree, unix.AT_RECURSIVE, m.deep)
	}
}

// command is the mount as mount(8) takes it.
func (m mount) command() string {
	var options []string
	for name, a := range attributes {
		if a.set != 0 && m.attr.Set&a.set == a.set {
			options = append(options, name)
		}
	}
	slices.Sort(options)
	options = append(options, m.data...)
	words := []string{"-t " + plan.Quote(m.fstype)}
	if m.fstype == "" {
		words[0] = "--bind"
		if m.recursive {
			words[0] = "--rbind"
		}
	}
	if len(options) > 0 {
		words = append(words, "-o "+plan.Quote(strings.Join(options, ",")))
	}
	return strings.Join(append(words, plan.Quote(cmp.Or(m.source, m.fstype))), " ")
}

// target records how a mount point is opened, and made where it is missing:
// one directory at a time, each opened anew from the root, because what lies
// between may be a link that somebody is changing at this moment. mkdirat(2)
// and mknodat(2) do not follow a link in the last place. If it is to be strict,
// there may be no link at all.
func (r *Root) target(p *plan.Plan, path string, directory, strict bool) plan.FD {
	path = strings.TrimPrefix(path, "/")
	flags := unix.O_PATH
	if directory {
		flags |= unix.O_DIRECTORY
	}
	if !r.fixed("/" + path) {
		parent, name := r.parent(p, path), filepath.Base(path)
		if directory {
			p.Mkdirat(parent, name, 0o755).Tolerate(unix.EEXIST)
		} else {
			p.Mknodat(parent, name, unix.S_IFREG|0o644, 0, 0).Tolerate(unix.EEXIST)
		}
	}
	if strict {
		return p.OpenStrictly(r.root, path, flags).As("/"+path).Explain(unix.ELOOP, "a link, where what the kernel shows is to be mounted")
	}
	return p.OpenIn(r.root, path, flags, 0).As("/" + path)
}

// parent records how the directory that path is in is opened, made if need be.
func (r *Root) parent(p *plan.Plan, path string) plan.FD {
	dir := filepath.Dir(path)
	if dir == "." {
		return r.root
	}
	if fd, ok := r.parents["/"+dir]; ok {
		return fd
	}
	return r.target(p, "/"+dir, true, false)
}

// place is a path as it is opened: from the root, or, if it lies in procfs or
// sysfs, from that mount, whatever lies on the way there.
func (r *Root) place(path string) (dir plan.FD, rest string) {
	path = filepath.Join("/", path)
	dir, rest = r.root, path
	for _, k := range r.kernels {
		if path == k || strings.HasPrefix(path, k+"/") {
			dir, rest = r.parents[k], strings.TrimPrefix(path, k)
		}
	}
	return dir, cmp.Or(strings.TrimPrefix(rest, "/"), ".")
}

// fixed says whether a path lies in proc or sysfs, where nothing can be made.
func (r *Root) fixed(path string) bool {
	for dir := filepath.Dir(path); dir != "/"; dir = filepath.Dir(dir) {
		for _, m := range r.mounts {
			if m.destination == dir && (m.fstype == "proc" || m.fstype == "sysfs") {
				return true
			}
		}
	}
	return false
}
