// Package mapping makes user namespaces in which no process is, for their id maps.
//
// The kernel takes the id map of an id-mapped mount in the form of a descriptor
// of a user namespace: mount_setattr(2) with MOUNT_ATTR_IDMAP. If the container
// has such a mount, and with other ids than its own user namespace has, one must
// be made. This needs a process, since a user namespace begins with one; it ends
// as soon as the runtime has a descriptor, which keeps the namespace.
//
// Man pages: [mount_setattr(2)], [user_namespaces(7)].
//
// [mount_setattr(2)]: https://man7.org/linux/man-pages/man2/mount_setattr.2.html
// [user_namespaces(7)]: https://man7.org/linux/man-pages/man7/user_namespaces.7.html
package mapping
