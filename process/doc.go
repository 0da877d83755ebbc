// Package process makes the container's process who it is to be.
//
// To the kernel a process is a set of numbers: its users and groups, which of
// the 41 capabilities (the pieces that the power of root was cut into) it has
// and may ever get, what it may use of each resource, which system calls it
// may make. All of them are inherited by fork, and most can be given up but
// not taken back. So a process that starts as root with everything becomes
// the container's by giving up, in an order in which each step is still
// allowed:
//
//	Early   what takes the host's procfs: the out-of-memory score
//	Become  the session, limits, capabilities, groups and user, descriptors
//	        closed, the working directory
//	Exec    the seccomp filter, and execve of the program
//
// A name is a user only if the image's own /etc/passwd says so; the kernel
// knows numbers ([Lookup]).
//
// Left out: which system calls a filter allows (package seccomp).
//
// Kernel: Linux 5.9 (close_range). Man pages: [credentials(7)],
// [capabilities(7)], [execve(2)], [pty(7)]; the runtime-spec's config.md
// (Process).
//
// [credentials(7)]: https://man7.org/linux/man-pages/man7/credentials.7.html
// [capabilities(7)]: https://man7.org/linux/man-pages/man7/capabilities.7.html
// [execve(2)]: https://man7.org/linux/man-pages/man2/execve.2.html
// [pty(7)]: https://man7.org/linux/man-pages/man7/pty.7.html
package process
