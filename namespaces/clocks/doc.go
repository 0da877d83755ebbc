// Package clocks gives a container its own clocks, in a time namespace.
//
// A time namespace adds an offset to two clocks: monotonic, and boottime, which
// also counts while the machine sleeps. A container that is moved to another
// machine needs it, because programs rely on these clocks not going back. The
// clock of the date and time of day has no offset.
//
// The offsets are lines in /proc/PID/timens_offsets. They can only be written
// while no process is in the namespace, so three steps are needed: unshare(2),
// after which only children of the caller would be in it; the writing; and
// execve(2), with which the caller enters (since Linux 6.1).
//
// A new time namespace without offsets is made here too. Joining an existing one
// is the business of package join.
//
// Man pages: [time_namespaces(7)], [clock_gettime(2)].
//
// [time_namespaces(7)]: https://man7.org/linux/man-pages/man7/time_namespaces.7.html
// [clock_gettime(2)]: https://man7.org/linux/man-pages/man2/clock_gettime.2.html
package clocks
