// Package namespaces gives a container its own view of the machine.
//
// A namespace is what a process sees of one kind of resource. There are eight
// kinds: the process ids (pid), the mounts (mnt), the network (net), System V
// IPC and message queues (ipc), the names of the host (uts), the root of the
// cgroups (cgroup), the clocks (time), and the users (user). Every process is
// in one namespace of each kind and inherits them from its parent. It can be
// started in new ones with flags of clone3(2), and can join others with setns(2).
// Each namespace is a numbered file: /proc/PID/ns/*. That is all there is to
// "isolation".
//
// A [Set] is what a spec says about them. It records the steps for new namespaces:
// the clone3, the id maps, the host name, the loopback device (see steps.go).
//
// # Id maps, and why they are written at a gate
//
// A new user namespace begins without users. Its table says which ids inside are
// which ids outside: root inside can be user 100000 outside, and so owns nothing
// on the host. The table is in /proc/PID/uid_map and gid_map.
//
// The child cannot write its own table. In its new namespace it has all
// capabilities, but the kernel asks for CAP_SETUID and CAP_SETGID in the
// namespace around it, whose ids the table hands out, and there the child has
// none. The runtime has them. But it can write the table only after clone3, when
// there is a namespace, and before the child acts as a user of it. So the child
// stops at a gate, the runtime writes, and the child goes on and becomes root.
//
// # Packages below this one
//
//	join        namespaces that exist already: a pod's, and those that exec joins
//	clocks      offsets of the clocks, in a time namespace
//	subids      id maps that an ordinary user writes, with newuidmap(1)
//	mapping     user namespaces for the id maps of mounts
//	netdevices  network devices that move into the container
//	sysctls     kernel parameters of the container's namespaces
//
// Left out: networks beyond the loopback device. Somebody else makes them, an
// engine or ip(8).
//
// Kernel: Linux 5.14. Man pages: [namespaces(7)], [user_namespaces(7)],
// [clone(2)].
//
// [namespaces(7)]: https://man7.org/linux/man-pages/man7/namespaces.7.html
// [user_namespaces(7)]: https://man7.org/linux/man-pages/man7/user_namespaces.7.html
// [clone(2)]: https://man7.org/linux/man-pages/man2/clone.2.html
package namespaces
