// Package procfs reads the process list: what ps(1) reads.
//
// /proc is the kernel's answer to "what is running?": a directory for each
// process, with its state as text. A container's processes are in it like all
// others, since they are processes like all others; one only has to know which
// they are. They are those in the container's cgroup or pid namespace, and
// their descendants.
//
//	Read           all processes, at one time
//	Threads        the threads of one
//	Namespaces     the namespaces of one, AllNamespaces those of many
//	StartTime      what tells a process from a later one with its id
//
// Nothing here prints. The root directory is an argument: "/proc", or a copy of
// it in a test. Processes that end while we look are left out, and those that
// the mount option hidepid hides from us.
//
// Left out: memory maps, open files, and whatever else ps does not show.
//
// Man pages: [proc(5)], [proc_pid_stat(5)], [proc_pid_status(5)],
// [proc_pid_cgroup(5)], [proc_pid_cmdline(5)], [namespaces(7)].
//
// [proc(5)]: https://man7.org/linux/man-pages/man5/proc.5.html
// [proc_pid_stat(5)]: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
// [proc_pid_status(5)]: https://man7.org/linux/man-pages/man5/proc_pid_status.5.html
// [proc_pid_cgroup(5)]: https://man7.org/linux/man-pages/man5/proc_pid_cgroup.5.html
// [proc_pid_cmdline(5)]: https://man7.org/linux/man-pages/man5/proc_pid_cmdline.5.html
// [namespaces(7)]: https://man7.org/linux/man-pages/man7/namespaces.7.html
package procfs
