// Package superblock reads the options of a new file system as mount(2) takes them.
//
// mount(2) takes all options of a file system as one string, with commas between them.
// So callers write "size=1m,mode=700" as one option, or an empty one; the new calls set
// each option alone (fsconfig(2)). Here such a string is taken apart.
//
// The option iversion is a flag of mount(2) only: that a file's version number is
// counted up with each change. For the new calls it has no name. So the file system is
// mounted anew with it (MS_REMOUNT), by its own root directory as ".": no path is
// involved that somebody could change.
//
// Left out: iversion of cgroup2, whose options are those of the host's mount.
//
// Man pages: [mount(2)], [fsconfig(2)].
//
// [mount(2)]: https://man7.org/linux/man-pages/man2/mount.2.html
// [fsconfig(2)]: https://man7.org/linux/man-pages/man2/fsconfig.2.html
package superblock

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/plan"
	"minirun/rootfs"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// New reads the options of all mounts of a spec that make a file system. root is that
// of the same spec.
func New(spec *specs.Spec, root *rootfs.Root) {
	for i, m := range root.All() {
		if m.Type == "" || m.Destination == "/" {
			continue
		}
		var options []string
		for _, o := range m.Options {
			options = append(options, split(o)...)
		}
		m.Options = options
		if has(spec.Mounts[i].Options, "iversion") && m.Type != "cgroup2" {
			m.Change = func(p *plan.Plan, tree plan.FD) { countVersions(p, m, tree) }
		}
	}
}

// split takes apart what mount(2) takes as one string. A comma in quotes does not end an
// option: SELinux's context= is in quotes, because a label can have commas.
func split(options string) (list []string) {
	quoted := false
	for o := range strings.FieldsFuncSeq(options, func(c rune) bool {
		quoted = quoted != (c == '"')
		return c == ',' && !quoted
	}) {
		list = append(list, strings.ReplaceAll(o, `"`, ""))
	}
	return list
}

// has says whether the last word about an option is that it is wanted.
func has(options []string, name string) bool {
	for _, o := range slices.Backward(options) {
		if o == name || o == "no"+name {
			return o == name
		}
	}
	return false
}

// kept are flags of the file system that a remount would take away.
var kept = map[string]uintptr{"sync": unix.MS_SYNCHRONOUS, "lazytime": unix.MS_LAZYTIME}

// countVersions records the remount. It takes the flags of the mount away, too, so they
// are set again.
func countVersions(p *plan.Plan, m *rootfs.Mount, tree plan.FD) {
	flags, options := uintptr(unix.MS_REMOUNT|unix.MS_I_VERSION), []string{}
	for _, o := range m.Options {
		if flag, ok := kept[o]; ok {
			flags |= flag
		} else {
			options = append(options, o)
		}
	}
	p.Note("iversion: only mount(2) has a flag for it; . is the new file system itself")
	p.Fchdir(tree)
	p.Mount("", ".", "", flags, strings.Join(options, ","))
	p.MountSetattr(tree, 0, plan.MountAttr{Set: m.Attr.Set})
}
