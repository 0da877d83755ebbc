// Package rootfs gives the container its own view of the file system.
//
// A mount namespace is a private list of mounts: what is mounted in it, nobody
// outside sees. In it the container's root directory becomes a mount; file systems
// of the kernel (proc, sysfs, tmpfs, devpts, mqueue, cgroup2) are mounted below it;
// a few devices are made; some paths are hidden or made read-only; and
// pivot_root(2) makes it the root of everything. The old root is then detached.
// With it goes every mount of the host: the container is not forbidden to use
// them, they are not there.
//
// The files in the root directory are hostile. They come from an image, and
// another container may change them while we work. So mount(2), which takes paths,
// is not used below the root. The root is a descriptor. A mount point is opened
// below it with openat2(RESOLVE_IN_ROOT), out of which no link, no ".." and no
// rename leads. A mount is made as a descriptor, attached nowhere; and
// move_mount(2) joins the two descriptors.
//
// An inode has one mode, one owner and one set of times, whatever the path to it: root
// of the container who may change them by one path has changed them for the host. So
// no inode of the host's is shown through a mount that can be written to, unless the
// spec asks for it. Devices are made, in a new tmpfs. Where that is refused, the host's
// device is checked, by its descriptor, and shown through a read-only mount: a device
// can still be written to there. What masks a file is mounted read-only, too.
//
// A [Root] records these steps in a plan, in this order:
//
//	OpenSources  the runtime opens bind mounts that the container's root could not
//	Open         the root directory becomes a mount
//	Mounts       those of the spec
//	Devices      and links in /dev; Null, one of them, for descriptors 0, 1 and 2
//	Proc         a procfs for sysctls and labels
//	Masks        masked and read-only paths, the read-only root
//	PivotRoot    the change of the root directory
//
// # Why is /proc mounted, and why before pivot_root?
//
// The kernel tells programs about processes, and about themselves, in a file
// system, procfs. Each mount of it shows one pid namespace: that of the process
// that made the mount. The host's /proc would show every process of the machine.
// So the child, which is in the container's pid namespace, mounts a new one. It
// comes before pivot_root for these reasons:
//
//   - In a user namespace the kernel allows a new procfs (or sysfs) only while its
//     mount namespace has another one that is fully visible. Otherwise a container
//     could undo its masks by a new mount. The host's /proc is such a one; it goes
//     with the old root.
//   - Masked and read-only paths are mounts on top of /proc and /sys, each on a
//     descriptor that is opened from the container's root directory. So /proc comes
//     before the masks, and the masks come before that directory becomes the root:
//     then the program can see no moment without them, and one order serves all
//     containers, also those of root, for which the kernel has no such rule.
//   - Sysctls and labels are written through a second procfs, which is attached
//     nowhere (Proc). The first rule holds for it, too. The container's own /proc
//     will not do, because a hostile mount could be in place of a file there.
//
// The annexes have what few containers ask for:
//
//	below        links to what is missing, and the mode of a tmpfs
//	borrowed     the host's /sys and the like, for a user namespace that may mount none
//	copyup       a tmpfs that begins with what is below it
//	detached     a container without a mount namespace
//	devices      the spec's own device files
//	idmap        files as those of other owners
//	overlay      a root directory that is stacked from an image's layers
//	sourceflags  which flags a bind mount keeps of its source
//	superblock   options as mount(2) takes them
//
// Package file reads hostile files, and package image is the store of images.
//
// Left out: file systems that need a helper in user space.
//
// Kernel: Linux 5.12 for mount_setattr. Man pages: [mount_namespaces(7)],
// [openat2(2)], [fsopen(2)], [move_mount(2)], [mount_setattr(2)], [pivot_root(2)],
// [proc(5)]; the runtime-spec's config.md (Mounts) and config-linux.md.
//
// [mount_namespaces(7)]: https://man7.org/linux/man-pages/man7/mount_namespaces.7.html
// [openat2(2)]: https://man7.org/linux/man-pages/man2/openat2.2.html
// [fsopen(2)]: https://man7.org/linux/man-pages/man2/fsopen.2.html
// [move_mount(2)]: https://man7.org/linux/man-pages/man2/move_mount.2.html
// [mount_setattr(2)]: https://man7.org/linux/man-pages/man2/mount_setattr.2.html
// [pivot_root(2)]: https://man7.org/linux/man-pages/man2/pivot_root.2.html
// [proc(5)]: https://man7.org/linux/man-pages/man5/proc.5.html
package rootfs
