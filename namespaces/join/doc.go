// Package join puts processes into namespaces that exist already: the container
// process, if its spec lists namespaces with paths, as for the containers of a
// pod; and processes that exec starts in a running container.
//
// A process joins a namespace with setns(2), which takes a descriptor of a file in
// /proc/PID/ns, or of one bound to another path, or a pidfd for several at once.
//
// Which process joins, and when, follows from three rules of the kernel's:
//
//	It takes privileges over the namespace itself; in a user namespace of its
//	own the child has lost the host's. So what can be joined before clone3 is.
//	A thread can join pid (for its children), net, ipc and uts alone; cgroup,
//	time and mount are for the child, which has one thread.
//	A process with threads, as the runtime is, can join no user namespace. So
//	an intermediate process does; it clones the child, and exits. The runtime also
//	needs one if it is root only inside a user namespace: it could leave the
//	host's namespaces, but not return to them.
//
// So there are three ways:
//
//	                     joins pid, net, ipc, uts    joins user    joins cgroup, time, mount
//	a container, mostly  runtime's thread, which     -             child
//	                     goes back after clone3
//	a container that     intermediate process        the same      the same
//	joins indirectly
//	exec                 intermediate process        the same      the same
//	exec, if it joins    child                       -             child
//	neither pid nor user
//
// What keeps this safe:
//
//   - The runtime checks each descriptor: that it is a namespace of the right kind,
//     and not the host's if the spec changes what is in it. Joined is what the
//     descriptor refers to, so exchanging the path later has no effect.
//   - Whoever is in a pid namespace that processes of a container see is not
//     dumpable: those processes must not trace it, or use its descriptors.
//   - The child has no descriptor of a directory of the host's.
//
// Joining a time namespace needs Linux 5.6, joining by a pidfd 5.8. Man pages:
// [setns(2)], [ioctl_ns(2)], [ptrace(2)].
//
// [setns(2)]: https://man7.org/linux/man-pages/man2/setns.2.html
// [ioctl_ns(2)]: https://man7.org/linux/man-pages/man2/ioctl_ns.2.html
// [ptrace(2)]: https://man7.org/linux/man-pages/man2/ptrace.2.html
package join
