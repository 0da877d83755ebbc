// Package mounts lets the annexes of package rootfs look at the mounts of a spec, and at
// its devices.
//
// Each of them changes the mounts that it is about, before they are recorded. The order
// is that in which they depend on each other: options are taken apart before somebody
// looks for one; a mount that becomes a bind mount has no options of a file system; and
// what is below a mount is looked at last.
package mounts

import (
	"minirun/container/host"
	"minirun/namespaces"
	"minirun/plan"
	"minirun/rootfs"
	"minirun/rootfs/below"
	"minirun/rootfs/borrowed"
	"minirun/rootfs/copyup"
	"minirun/rootfs/devices"
	"minirun/rootfs/idmap"
	"minirun/rootfs/overlay"
	"minirun/rootfs/sourceflags"
	"minirun/rootfs/superblock"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// New lets them look. root and ns are those of the spec. It returns the mounts that are
// to be id-mapped.
func New(spec *specs.Spec, root *rootfs.Root, ns *namespaces.Set, facts plan.Facts, h host.Host) (idmap.Mounts, error) {
	if err := devices.New(spec.Linux.Devices, root); err != nil {
		return nil, err
	}
	superblock.New(spec, root)
	if err := overlay.New(spec, root); err != nil {
		return nil, err
	}
	userNS := ns.Has(specs.UserNamespace)
	if userNS || facts.Confined {
		owns := func(kind specs.LinuxNamespaceType) bool {
			return ns.Makes(kind) || ns.Has(kind) && !ns.Makes(specs.UserNamespace)
		}
		if err := borrowed.New(root, owns, h.Cgroup2); err != nil {
			return nil, err
		}
	}
	if err := sourceflags.New(spec, root, userNS, h.SourceFlags); err != nil {
		return nil, err
	}
	mapped, err := idmap.New(spec, root)
	if err != nil {
		return nil, err
	}
	uids, gids := namespaces.IDMap(spec.Linux.UIDMappings), namespaces.IDMap(spec.Linux.GIDMappings)
	if err := copyup.New(spec, root, h.Tree, uids.ToContainer, gids.ToContainer); err != nil {
		return nil, err
	}
	below.New(root, h.Below)
	return mapped, nil
}
