// Package detached makes the root of a container that shares the host's mounts.
//
// Mounts belong to a mount namespace. A container without one of its own must not
// mount anything where the host would see it. But there is one more place for
// mounts: open_tree(2) copies a tree of mounts that is attached to no namespace.
// The container's mounts are made in such a tree, and chroot(2) makes it the root.
// The tree goes with the last process that uses it.
//
// What cannot be done in such a tree is refused: an overlay as the root, which is
// mounted by path, and a propagation for the mount namespace, which is the host's.
//
// Kernel: Linux 6.15, where mounts can be attached within such a tree. Man pages:
// [open_tree(2)], [chroot(2)], [mount_namespaces(7)].
//
// [open_tree(2)]: https://man7.org/linux/man-pages/man2/open_tree.2.html
// [chroot(2)]: https://man7.org/linux/man-pages/man2/chroot.2.html
// [mount_namespaces(7)]: https://man7.org/linux/man-pages/man7/mount_namespaces.7.html
package detached

import (
	"errors"
	"fmt"

	"minirun/plan"
	"minirun/rootfs"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A Root is one without a mount namespace; nil if the container has one.
type Root struct {
	root *rootfs.Root
	tree plan.FD
}

// New checks a spec whose container shares the host's mounts. root is that of the
// same spec. With a mount namespace of the container's own it returns nil.
func New(spec *specs.Spec, root *rootfs.Root, mountNS bool) (*Root, error) {
	if mountNS {
		return nil, nil
	}
	err := errors.New("no mount namespace: it would be the host's")
	for i, m := range spec.Mounts {
		if root.All()[i].Destination == "/" {
			return nil, rootfs.MountError(i, m, err)
		}
	}
	if spec.Linux.RootfsPropagation != "" {
		return nil, fmt.Errorf("linux.rootfsPropagation: %w", err)
	}
	return &Root{root: root}, nil
}

// Open records the tree, in place of [rootfs.Root.Open]. It opens the sources of
// bind mounts, too: their copies must be hidden from the host as the root is.
func (r *Root) Open(p *plan.Plan) {
	p.Note("the container shares the host's mounts: its own are made in a tree that is attached nowhere")
	r.tree = r.root.OpenTree(p)
	r.root.OpenAll(p, "")
}

// Chroot records the change of the root directory, in place of
// [rootfs.Root.PivotRoot].
func (r *Root) Chroot(p *plan.Plan) {
	p.Fchdir(r.tree)
	p.Note("pivot_root would change the host's mount namespace: of that, the process only gets another root directory")
	p.Chroot(".")
}
