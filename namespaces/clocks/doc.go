// Package clocks gives a container its own clocks, in a time namespace.
//
// A time namespace adds an offset to two clocks: monotonic, and boottime, which
// also counts while the machine sleeps. A container that is moved to another
// machine needs it, because programs rely on these clocks not going back. The
// clock of the date and time of day has no offset.
//
// The offsets are lines in /proc/PID/timens_offsets. They can only be written
// while no process is in the namespace, so three steps are needed: unshare(2),
// after which only children of the caller would be in it; the writing; and setns(2)
// to /proc/PID/ns/time_for_children, with which the caller enters.
//
// Newer kernels would let the caller enter with execve(2). Linux 6.1 does not: the
// program would read the host's clocks, and could not make threads, because the
// kernel refuses a thread (EINVAL) to a process whose children belong elsewhere.
//
// A new time namespace without offsets is made here too. Joining an existing one
// is the business of package join.
//
// Kernel: Linux 5.6. Man pages: [time_namespaces(7)], [clock_gettime(2)].
//
// [time_namespaces(7)]: https://man7.org/linux/man-pages/man7/time_namespaces.7.html
// [clock_gettime(2)]: https://man7.org/linux/man-pages/man2/clock_gettime.2.html
package clocks
