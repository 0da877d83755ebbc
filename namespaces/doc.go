// Package namespaces gives the container its own view of the machine.
//
// A namespace is what a process sees of one kind of resource. There are eight
// kinds: the process ids (pid), the mounts (mnt), the network (net), System V
// IPC and message queues (ipc), the names of the host (uts), the root of the
// cgroups (cgroup), the clocks (time), and the users (user). Every process is
// in one namespace of each kind, inherits them from its parent, and can be
// started in new ones with flags of clone3(2) or join others with setns(2).
// They are numbered files: /proc/PID/ns/*. That is all there is to "isolation".
//
// A Set is what a spec says about them. It records steps in a plan at three
// places:
//
//	Before  the runtime opens the namespaces that are joined, and checks them:
//	        what the spec changes must not be in one of the host's
//	Clone   the birth: into the new ones, and those that one must be born in
//	Enter   the child's first steps: id maps, clocks, joins, names, loopback,
//	        network devices
//
// and, for a process that joins a running container, Exec. Joining turns on
// privileges, threads and order; the rules are at the top of join.go.
//
// A user namespace comes with a table: which ids inside are which outside. It
// is written by the runtime, from outside, while the child waits at a gate.
//
// Left out: networks beyond loopback and what is moved in; somebody else makes
// them (an engine, ip(8)).
//
// Kernel: Linux 5.14; time namespaces want 6.1, from where on execve(2) enters
// them. Man pages: [namespaces(7)], [user_namespaces(7)], [time_namespaces(7)],
// [setns(2)].
//
// [namespaces(7)]: https://man7.org/linux/man-pages/man7/namespaces.7.html
// [user_namespaces(7)]: https://man7.org/linux/man-pages/man7/user_namespaces.7.html
// [time_namespaces(7)]: https://man7.org/linux/man-pages/man7/time_namespaces.7.html
// [setns(2)]: https://man7.org/linux/man-pages/man2/setns.2.html
package namespaces
