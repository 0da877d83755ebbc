// Package idmap shows the files of a bind mount as those of other owners.
//
// A file on a disk has an owner, an id of the host. In a container with a user
// namespace, root is another id on the host (100000, say), and a volume whose
// files belong to 0 is nobody's there. An id-mapped mount translates: with the map
// of a user namespace attached to it (mount_setattr(2), MOUNT_ATTR_IDMAP), id 0 on
// the disk is the container's 0 through this mount, and only through it.
//
// Who attaches a map needs privileges over the file system, so the runtime does
// it, before the container process exists. The maps come from a user namespace
// that is made for this and that no process lives in, or from the one that the
// container joins, whose maps only the kernel knows.
//
// The spec asks for it by the options idmap and ridmap (with the mounts below), or
// by uidMappings and gidMappings of a mount (config.md, "Mounts"). Left out: maps
// of anything but bind mounts.
//
// Kernel: Linux 5.12. Man pages: [mount_setattr(2)], [user_namespaces(7)].
//
// [mount_setattr(2)]: https://man7.org/linux/man-pages/man2/mount_setattr.2.html
// [user_namespaces(7)]: https://man7.org/linux/man-pages/man7/user_namespaces.7.html
package idmap

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"

	"minirun/plan"
	"minirun/rootfs"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Mounts are the id-mapped mounts of a container; nil if there are none.
type Mounts []mount

type mount struct {
	*rootfs.Mount
	uids, gids []specs.LinuxIDMapping
	path       string // of the user namespace that has the maps; "": the two above
	recursive  bool   // ridmap
}

// New checks the mounts of a spec that are to be mapped: by their own maps or, with
// the option alone, by those of the container's user namespace. root is that of
// the same spec.
func New(spec *specs.Spec, root *rootfs.Root) (list Mounts, err error) {
	for i, m := range spec.Mounts {
		recursive := slices.Contains(m.Options, "ridmap")
		hasMaps := len(m.UIDMappings)+len(m.GIDMappings) > 0
		if !hasMaps && !recursive && !slices.Contains(m.Options, "idmap") {
			continue
		}
		mapped := mount{root.All()[i], m.UIDMappings, m.GIDMappings, "", recursive}
		if !hasMaps {
			mapped.uids, mapped.gids, mapped.path = spec.Linux.UIDMappings, spec.Linux.GIDMappings, joinedUserNS(spec)
		}
		switch {
		case mapped.Type != "":
			err = errors.New("uidMappings: only a bind mount can be mapped")
		case mapped.path != "":
		case len(mapped.uids) == 0 || len(mapped.gids) == 0:
			err = errors.New("uidMappings: an id-mapped mount needs maps of users and groups")
		}
		if err != nil {
			return nil, rootfs.MountError(i, m, err)
		}
		list = append(list, mapped)
	}
	return list, nil
}

// joinedUserNS is the path of the user namespace that the container joins; "" if it
// joins none.
func joinedUserNS(spec *specs.Spec) string {
	i := slices.IndexFunc(spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.UserNamespace })
	if i < 0 {
		return ""
	}
	return spec.Linux.Namespaces[i].Path
}

// Record records the mounts, before the container process is born. mapping records
// a descriptor of a user namespace with these maps.
func (list Mounts) Record(p *plan.Plan, root *rootfs.Root, mapping func(p *plan.Plan, uids, gids []specs.LinuxIDMapping) plan.FD) {
	for _, m := range list {
		p.Note("an id-mapped mount: to show a file as another owner's takes the host's privileges")
		var maps plan.FD
		if m.path != "" {
			maps = p.Openat(plan.CWD, m.path, unix.O_RDONLY|unix.O_CLOEXEC, 0).As("id map")
		} else {
			maps = mapping(p, m.uids, m.gids)
		}
		root.OpenSource(p, m.Mount)
		flags := uint(0)
		if m.recursive {
			flags = unix.AT_RECURSIVE
		}
		p.MountSetattr(m.Tree, flags, plan.MountAttr{Set: unix.MOUNT_ATTR_IDMAP, UserNS: maps})
	}
}
