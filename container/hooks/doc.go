// Package hooks runs hooks: programs that the author of a spec wants run at certain
// points of a container's life (runtime-spec, config.md, "POSIX-platform Hooks").
//
// A hook gets the container's state as JSON on its standard input. Its environment
// is what the spec gives it or, without any, that of whoever starts it: a program of the
// host's gets the runtime's, one of the container's gets that of the container's
// process. Its output is shown only if it fails.
//
//	when                                        point            in whose namespaces   its directory                   a failure
//	create: before pivot_root                   prestart         the runtime's         the bundle                      ends the container
//	                                            createRuntime    the runtime's         the bundle                      "
//	                                            createContainer  the container's       the container's root directory  "
//	start: before the program                   startContainer   the container's       that of the process             "
//	       after its execve                     poststart        the runtime's         the bundle                      "
//	delete, or after a failure: all is gone     poststop         the runtime's         the bundle                      is a warning
//
// Hooks of the first four points run while the child waits: at a gate of the plan, or,
// after create, for the start.
//
// A createContainer hook is a program of the host's, because the container still has
// the host's root directory. A startContainer hook is a program of the container's,
// and so is not trusted: it gets the identity of the container's process, its user,
// capabilities and seccomp filter.
//
// A hook in the container's namespaces joins them as exec does. An ordinary user's
// runtime has the right to join only while the child is dumpable: see
// [Hooks.SetDumpable].
//
// How to join a container, and what its state is, the caller says: see [Container].
// Man pages: [setns(2)], [PR_SET_DUMPABLE(2const)].
//
// [setns(2)]: https://man7.org/linux/man-pages/man2/setns.2.html
// [PR_SET_DUMPABLE(2const)]: https://man7.org/linux/man-pages/man2/PR_SET_DUMPABLE.2const.html
package hooks
