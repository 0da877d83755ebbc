// Package rootfs gives the container its own view of the file system.
//
// A mount namespace is a private copy of the list of mounts: what is mounted
// in it nobody outside sees. In it the container's root directory becomes a
// mount, the pseudo file systems (proc, sysfs, tmpfs, devpts, mqueue, cgroup2)
// are mounted below it, a few device files are made, some paths are hidden or
// made read-only, and pivot_root(2) makes it the root of everything. The old
// root, and with it every mount of the host, is then detached: not forbidden,
// but gone.
//
// The files in the container's root are hostile: they come from an image, and
// other containers may share and change them while we work. So no path of the
// container is ever handed to mount(2). The root is a descriptor; a target is
// opened below it with openat2(RESOLVE_IN_ROOT), which cannot be led out by a
// link, by "..", or by a rename in mid-walk; a mount is made detached, as a
// descriptor; and move_mount(2) joins the two descriptors. A device of the host's
// that is shown in the container is looked at, by its descriptor, before it is.
//
// A Root records these steps in a plan, in this order:
//
//	Build  the root, the mounts, devices and links, masks
//	Enter  pivot_root, detach the old root, read-only root
//
// Left out: file systems that need a user-space helper, and images (package
// rootfs/image).
//
// Kernel: Linux 5.12 for mount_setattr. Man pages: [mount_namespaces(7)],
// [openat2(2)], [fsopen(2)], [mount_setattr(2)], [pivot_root(2)]; the
// runtime-spec's config.md (Mounts) and config-linux.md.
//
// [mount_namespaces(7)]: https://man7.org/linux/man-pages/man7/mount_namespaces.7.html
// [openat2(2)]: https://man7.org/linux/man-pages/man2/openat2.2.html
// [fsopen(2)]: https://man7.org/linux/man-pages/man2/fsopen.2.html
// [mount_setattr(2)]: https://man7.org/linux/man-pages/man2/mount_setattr.2.html
// [pivot_root(2)]: https://man7.org/linux/man-pages/man2/pivot_root.2.html
package rootfs
