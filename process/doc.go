// Package process turns the cloned child into the container's process.
//
// To the kernel a process is a set of numbers: its users and groups, which of
// the 41 capabilities it has and may ever get (root's power is cut into them), how
// much it may use of each resource, which system calls it may make. A child
// inherits all of them from its parent. Most can be given up but not taken back.
// So a child that starts as root with every capability becomes the container's
// process by giving up one thing after another, in an order in which every step
// is still allowed.
//
// An [Identity] is the spec's process, checked. Its methods record the steps, in
// this order:
//
//	Terminal          a terminal of the container's own as descriptors 0, 1 and 2
//	Session           normal timers; without a terminal, a session of its own
//	WorkingDirectory  as root, which may enter a directory that the user may not
//	CloseDescriptors  so that none of the host's files stays open
//	Limits            after the last step that opens a descriptor, because the new
//	                  RLIMIT_NOFILE may allow none
//	Credentials       capabilities and users: what makes root harmless
//	CheckExecutable   only for create
//	Execve            the process becomes the program
//
// What an image's author chooses must not decide how large a plan gets. So PATH has
// at most 256 directories, the working directory is at most 256 deep, and the steps
// that search for the program share one copy of its arguments and environment.
//
// The annexes have what few containers ask for: affinity, labels,
// personality, scheduling. Package passwd finds the number of a user's name, and
// package seccomp compiles a filter of system calls.
//
// Kernel: Linux 5.9 (close_range). Man pages: [credentials(7)],
// [capabilities(7)], [execve(2)], [pty(7)], [seccomp(2)]; the runtime-spec's
// config.md (Process).
//
// [credentials(7)]: https://man7.org/linux/man-pages/man7/credentials.7.html
// [capabilities(7)]: https://man7.org/linux/man-pages/man7/capabilities.7.html
// [execve(2)]: https://man7.org/linux/man-pages/man2/execve.2.html
// [pty(7)]: https://man7.org/linux/man-pages/man7/pty.7.html
// [seccomp(2)]: https://man7.org/linux/man-pages/man2/seccomp.2.html
package process
