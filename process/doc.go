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
//	First     what takes the host's /proc: the out-of-memory score
//	Terminal  a terminal of the container's own as descriptors 0, 1 and 2
//	Early     what takes our own procfs: labels of security modules
//	Become    working directory, descriptors closed, limits, bounding set,
//	          groups and user, the filter if it takes privileges, capabilities
//	Look      can the program be executed? (for create)
//	Exec      the filter if it takes none, and execve of the program
//
// [New] reads all that from the spec's process, and [Identity.Linux] the two
// properties of it that the spec keeps elsewhere. A name is a user only if the
// image's own /etc/passwd says so; the kernel knows numbers ([Lookup]).
//
// Left out: which system calls a filter allows (package seccomp); cgroups; who
// answers for system calls that a filter leaves to somebody else.
//
// Kernel: Linux 5.9 (close_range). Man pages: [credentials(7)],
// [capabilities(7)], [sched(7)], [execve(2)], [pty(7)]; the runtime-spec's
// config.md (Process).
//
// [credentials(7)]: https://man7.org/linux/man-pages/man7/credentials.7.html
// [capabilities(7)]: https://man7.org/linux/man-pages/man7/capabilities.7.html
// [sched(7)]: https://man7.org/linux/man-pages/man7/sched.7.html
// [execve(2)]: https://man7.org/linux/man-pages/man2/execve.2.html
// [pty(7)]: https://man7.org/linux/man-pages/man7/pty.7.html
package process
