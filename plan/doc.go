// Package plan records a list of system calls, and has a freshly cloned process
// carry it out.
//
// A container is a process plus a list of system calls. To make one, a program
// must clone a process into new namespaces, mount a few file systems, change
// the root directory, drop privileges and call execve. This package holds that
// list as data: a [Plan] of [Step] values. So the same list can be read, tested,
// printed (package print), timed, single-stepped and broken on purpose (package
// look), and run.
//
// Four kinds of process carry out steps. Every step says which ([Side]):
//
//	runtime       this program: makes the cgroup, opens files, writes id maps
//	monitor       only for detached containers: a tiny process that waits for the end
//	intermediate  only to join namespaces: joins them, clones the child, and exits
//	child         the process that becomes the container: everything up to execve
//
// The runtime's steps come first, then clone3(2), then the child's. At a gate the
// child stops, and the runtime may do more steps. The two talk over a socketpair
// (SOCK_SEQPACKET), the channel. A monitor or an intermediate process has a
// channel of its own. The protocol:
//
//	child                                  runtime
//	message{gate, step}          ------->  does its steps at this gate
//	                             <-------  one byte: go on
//	message{trace, step, times}  ------->  only with [Options].Trace
//	message{before, step}        ------->  only with [Options].Before
//	                             <-------  one byte: go on
//	message{result, step, pid}   ------->  which process the child is, if not the runtime cloned it
//	message{failed, step, errno} ------->  undo, report; the child exits
//	end of file (close-on-exec)  ------->  execve happened: the container runs
//
// No Go code runs in the child but the loop in child.go. That loop is the only
// code here with rules of its own; they stand at the top of that file.
//
// A plan has no loops, and only these conditions. A step may tolerate errnos. It
// may accept one result and no other (a whole write, a device with that number).
// It may be one of several alternatives, of which the first to succeed counts. It
// may use the results of earlier steps; if such a result is missing, because the
// earlier step failed with a tolerated errno, the step is skipped. Everything
// else is decided while the plan is written, or done by the runtime at a gate.
//
// The package knows nothing about containers. What to call, and in what order,
// is decided by its users: packages namespaces, cgroups, rootfs and process.
// Where to read on: plan.go (what a plan is), calls.go (the calls), compile.go
// (a plan becomes numbers), steps.go and channel.go (the runtime carries out its
// half), child.go (the child carries out the other).
//
// Kernel: Linux 5.14. Man pages: [clone(2)], [execve(2)], [syscalls(2)].
//
// [clone(2)]: https://man7.org/linux/man-pages/man2/clone.2.html
// [execve(2)]: https://man7.org/linux/man-pages/man2/execve.2.html
// [syscalls(2)]: https://man7.org/linux/man-pages/man2/syscalls.2.html
package plan
