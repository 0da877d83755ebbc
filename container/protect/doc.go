// Package protect keeps a container from writing to minirunc's own program.
//
// # The kernel's part
//
// A process can be reached by other processes that see it in /proc, and
// /proc/PID/exe leads to the file of the program that it executes, whatever root
// directory or mount namespace that file is in. While minirunc makes or enters a
// container, it is such a process. The kernel refuses to write to a program that is
// being executed (ETXTBSY), but root in the container can hold the file open and
// write to it as soon as minirunc has ended. The next start of minirunc on the host
// would then execute what the container wrote (CVE-2019-5736).
//
// No permission of the file helps: root may write to it. A read-only mount does. A
// detached copy of a mount (open_tree(2)) that is then made read-only
// (mount_setattr(2)) has no path, so nobody can make it writable again. Executing
// the program from there costs one more execve(2).
//
// # This package
//
// [Protect] does that in Go. On amd64 the program's entry (entry_amd64.s) has
// usually done it before: there it is four system calls. In Go it costs more, because
// Go's runtime has started already, and starts a second time.
//
// Left out: programs other than the running one. What a hook executes is its
// author's to protect.
//
// Man pages: [open_tree(2)], [mount_setattr(2)], [execveat(2)], [memfd_create(2)].
//
// [open_tree(2)]: https://man7.org/linux/man-pages/man2/open_tree.2.html
// [mount_setattr(2)]: https://man7.org/linux/man-pages/man2/mount_setattr.2.html
// [execveat(2)]: https://man7.org/linux/man-pages/man2/execveat.2.html
// [memfd_create(2)]: https://man7.org/linux/man-pages/man2/memfd_create.2.html
package protect
