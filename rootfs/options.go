package rootfs

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// This file reads the mounts of a spec: an entry has options of several kinds in
// one list, as mount(8) takes them.

// A Mount is one entry of the spec's mounts, checked. The rooms below this one may
// change its exported fields before it is recorded.
type Mount struct {
	Destination string   // absolute and clean, in the container
	Type        string   // of the file system; "" for a bind mount
	Options     []string // those that belong to the file system

	// Tree is the mount, recorded already and attached nowhere; nil: Mounts
	// records it.
	Tree *plan.Step

	// Own makes it a bind mount of the directory of the container's that is at
	// Destination: the same files, with flags of their own.
	Own bool

	Source    string         // on the host for a bind mount, else what mount(8) shows
	Recursive bool           // rbind: with the mounts below the source
	Attr      plan.MountAttr // the options that belong to the mount
	AttrBelow plan.MountAttr // those that start with r: of the mounts below, too

	// Fill records what a new file system begins with. It is called before tree is
	// attached, when nobody else can reach it; below is the directory that tree is
	// going to cover. Nil: the file system is empty.
	Fill func(p *plan.Plan, below, tree plan.FD)

	// Change records what else is done to the mount, when it is attached. Nil: nothing.
	Change func(p *plan.Plan, tree plan.FD)

	directory bool   // the mount is a directory, not a file
	readonly  uint64 // MOUNT_ATTR_RDONLY of a mount that something is made in before: see Masks
}

// newMount checks one entry. An option bind or rbind makes it a bind mount,
// whatever its type says, as for mount(8).
func newMount(m specs.Mount, bundle string, isDir func(string) bool) (*Mount, error) {
	if m.Destination == "" {
		return nil, errors.New("destination: missing")
	}
	if err := plan.CheckDepth(m.Destination); err != nil {
		return nil, fmt.Errorf("destination: %w", err)
	}
	c := &Mount{Destination: filepath.Join("/", m.Destination), Type: m.Type, Source: m.Source, directory: true}
	bind := m.Type == "bind" || m.Type == ""
	for _, name := range m.Options {
		bind = bind || name == "bind" || name == "rbind"
		c.Recursive = c.Recursive || name == "rbind"
		c.readOption(name)
	}
	switch {
	case bind && m.Source == "":
		return nil, errors.New("source: missing")
	case c.Destination == "/" && (bind || c.Type != "overlay"):
		return nil, errors.New("destination: the root can only be an overlay")
	case bind:
		c.Type, c.Source = "", absolute(bundle, m.Source)
		c.directory = isDir(c.Source)
	case c.Type == "cgroup":
		c.Type = "cgroup2" // the spec has one word for both versions; we have version 2
	}
	if c.Type == "tmpfs" || c.Destination == "/dev" {
		c.readonly = (c.Attr.Set | c.AttrBelow.Set) & unix.MOUNT_ATTR_RDONLY
		c.Attr.Set, c.AttrBelow.Set = c.Attr.Set&^c.readonly, c.AttrBelow.Set&^c.readonly
	}
	return c, nil
}

// readOption sorts one option. An unknown one belongs to the file system: each has
// its own, and only the kernel knows them.
func (m *Mount) readOption(name string) {
	flags, isPropagation := propagations[name]
	own, isOwn := attributes[name]
	below, isBelow := attributes[strings.TrimPrefix(name, "r")]
	switch {
	case isPropagation && flags&unix.MS_REC != 0:
		m.AttrBelow.Propagation = uint64(flags &^ unix.MS_REC)
	case isPropagation:
		m.Attr.Propagation = uint64(flags)
	case isOwn:
		own.apply(&m.Attr)
	case isBelow && strings.HasPrefix(name, "r"):
		below.apply(&m.AttrBelow)
	case name != "" && !slices.Contains(elsewhere, name) && !slices.Contains(ignored, name):
		m.Options = append(m.Options, name)
	}
}

// An attribute is a mount option that mount_setattr(2) knows.
type attribute struct{ set, clear uint64 }

// apply adds the option to earlier ones; the last of two opposites wins.
func (o attribute) apply(a *plan.MountAttr) {
	a.Set = a.Set&^o.clear | o.set
	a.Clear = a.Clear&^o.set | o.clear
}

// attributes are the options of mount(8) that belong to a mount, not to a file
// system. The times are one field of the mount: to set one is to clear the others.
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

var (
	// elsewhere are options that newMount, and the rooms below this one, read.
	elsewhere = []string{"bind", "rbind", "idmap", "ridmap", "tmpcopyup", "iversion"}

	// ignored are options of mount(8) that have no effect here.
	ignored = []string{"defaults", "async", "loud", "silent", "norelatime", "auto", "noauto", "user", "nouser", "_netdev", "nofail", "mand", "nomand", "noiversion", "nolazytime", "remount"}

	// superblock are options that the kernel takes for every file system.
	superblock = []string{"sync", "dirsync", "lazytime"}
)

// MountOptions are the options of a mount that we know, sorted; any other is
// passed on to the file system.
func MountOptions() []string {
	list := slices.Concat(elsewhere, superblock, ignored)
	list = slices.AppendSeq(list, maps.Keys(propagations))
	for name := range attributes {
		list = append(list, name, "r"+name)
	}
	slices.Sort(list)
	return slices.Compact(list)
}
