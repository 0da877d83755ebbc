// Package plan records a list of system calls, prints it, and has one freshly
// cloned process carry it out.
//
// A container is a process plus a list of system calls. To make one, somebody
// must clone a process into new namespaces, mount a few file systems, change
// the root directory, drop privileges and execve. This package holds that list
// as data (a [Plan] of [Step] values), so that the same list can be read,
// tested, printed, timed, single-stepped, broken on purpose, and run.
//
// Four parties can carry out steps, and every step says which ([Side]):
//
//	runtime       this program: makes the cgroup, opens files, writes id maps
//	monitor       only for detached containers: a tiny process that waits for the end
//	intermediate  only to join namespaces: clones the child among them, and exits
//	child         the process that becomes the container: everything up to execve
//
// The runtime's steps come first, then clone3(2), then the child's. At a gate
// the child stops and the runtime may do more steps. The protocol between them
// is one SOCK_SEQPACKET socketpair, the channel:
//
//	child                                  runtime
//	message{gate, step}          ------->  does its steps at this gate
//	                             <-------  one byte: go on
//	message{trace, step, times}  ------->  only with [Options].Trace
//	message{before, step}        ------->  only with [Options].Before
//	                             <-------  one byte: go on
//	message{failed, step, errno} ------->  undo, report; the child exits
//	end of file (close-on-exec)  ------->  execve happened: the container runs
//
// In the child runs no Go but the loop in child.go. That loop is the only code
// here with rules of its own; they stand at the top of that file.
//
// A plan has no conditions and no loops. A step may tolerate errnos, want one
// answer and no other (a whole write, a device of that number), be one of
// several alternatives of which the first to succeed counts, and use the
// results of earlier steps; a step whose input is missing because an earlier
// step failed tolerably is skipped. What cannot be said so is decided while
// the plan is written, or done by the runtime at a gate.
//
// The package knows nothing about containers: what to call, and in what order,
// is decided by its users (packages namespaces, cgroups, rootfs, process).
//
// Kernel: Linux 5.14. Man pages: [clone(2)], [execve(2)], [syscalls(2)].
//
// [clone(2)]: https://man7.org/linux/man-pages/man2/clone.2.html
// [execve(2)]: https://man7.org/linux/man-pages/man2/execve.2.html
// [syscalls(2)]: https://man7.org/linux/man-pages/man2/syscalls.2.html
package plan
