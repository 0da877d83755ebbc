// Package procfs reads the process list: what ps(1) reads.
//
// /proc is the kernel's answer to "what is running?": a directory for each
// process, with its state as text. A container's processes are in it like all
// others, since they are processes like all others; one only has to know which
// they are.
//
//	Read           all processes, as they are now
//	One            one of them
//	ReadStat       only its state and its start time
//	Namespaces     the namespaces of one
//	Members        the processes of each namespace
//
// Nothing here prints. The root directory is an argument: "/proc", or a made-up
// one in a test. Left out are processes that end while we look, and those that
// the mount option hidepid hides from us.
//
// Left out as well: memory maps, open files, and whatever else minirun does not
// show. For that there is ps.
//
// Man pages: [proc(5)], [proc_pid_stat(5)], [proc_pid_status(5)], [proc_pid_cgroup(5)],
// [proc_pid_cmdline(5)], [namespaces(7)].
//
// [proc(5)]: https://man7.org/linux/man-pages/man5/proc.5.html
// [proc_pid_stat(5)]: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
// [proc_pid_status(5)]: https://man7.org/linux/man-pages/man5/proc_pid_status.5.html
// [proc_pid_cgroup(5)]: https://man7.org/linux/man-pages/man5/proc_pid_cgroup.5.html
// [proc_pid_cmdline(5)]: https://man7.org/linux/man-pages/man5/proc_pid_cmdline.5.html
// [namespaces(7)]: https://man7.org/linux/man-pages/man7/namespaces.7.html
package procfs
