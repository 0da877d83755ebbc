// Package borrowed shows the host's /sys and the like to a container that may not mount
// one of its own.
//
// sysfs, cgroup2, mqueue and proc show what is in a namespace: of the network, cgroups,
// IPC, pids. A new mount of one takes CAP_SYS_ADMIN over that namespace. In a user
// namespace, root has it only over namespaces that belong to its user namespace. If the
// container has, say, no network namespace of its own, it gets a copy of the host's /sys
// in place of a new one, with all mounts below it and the flags of the mount. It shows
// the same, and the container's root owns none of it.
//
// Man pages: [user_namespaces(7)], [cgroup_namespaces(7)].
//
// [user_namespaces(7)]: https://man7.org/linux/man-pages/man7/user_namespaces.7.html
// [cgroup_namespaces(7)]: https://man7.org/linux/man-pages/man7/cgroup_namespaces.7.html
package borrowed

import (
	"golang.org/x/sys/unix"

	"minirun/plan"
	"minirun/rootfs"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A view is a file system that shows one kind of namespace.
type view struct {
	kind   specs.LinuxNamespaceType
	source string // on the host; "" for cgroup2, which the caller finds
}

var views = map[string]view{
	"cgroup2": {specs.CgroupNamespace, ""},
	"sysfs":   {specs.NetworkNamespace, "/sys"},
	"mqueue":  {specs.IPCNamespace, "/dev/mqueue"},
	"proc":    {specs.PIDNamespace, "/proc"},
}

// New makes bind mounts of those mounts of a spec that would be refused. owns says
// whether the container's user namespace owns its namespace of a kind; cgroup2 is where
// the host has that file system.
func New(root *rootfs.Root, owns func(specs.LinuxNamespaceType) bool, cgroup2 func() (string, error)) (err error) {
	for _, m := range root.All() {
		v, ok := views[m.Type]
		if !ok || owns(v.kind) {
			continue
		}
		if v.source == "" {
			if v.source, err = cgroup2(); err != nil {
				return err
			}
		}
		m.Type, m.Source, m.Options, m.Recursive = "", v.source, nil, true
		m.Attr.Clear, m.AttrBelow.Clear = 0, 0 // what the host's has is locked
		m.Change = func(p *plan.Plan, tree plan.FD) {
			p.Note("the host's: a new one takes a " + string(v.kind) + " namespace that belongs to the user namespace")
			p.MountSetattr(tree, unix.AT_RECURSIVE, plan.MountAttr{Set: m.Attr.Set})
		}
	}
	return nil
}
