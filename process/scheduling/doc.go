// Package scheduling sets how the kernel ranks a process among all others: for
// time on a processor, for the disk, and as a victim when memory runs out.
//
// The scheduling policy (sched(7)), with a nice value, a real-time priority or
// deadlines, is set by sched_setattr(2). The I/O priority is set by ioprio_set(2)
// and counts for some I/O schedulers only. When no memory is left the kernel
// kills the process with the highest score; oom_score_adj, a file in /proc, adds
// -1000 to 1000 to it. All three are inherited and outlive execve.
//
// A higher rank than the parent's takes CAP_SYS_NICE or CAP_SYS_RESOURCE over the
// host. A process in a user namespace lacks them: then the runtime sets the
// values, while the process waits at a gate. The same methods record both:
//
//	OOMScore  through /proc, so before the process enters its own namespaces
//	Record    the rest; either in the child, or, with OOMScore, at a gate
//
// The spec's properties are process.scheduler, process.ioPriority and
// process.oomScoreAdj (config.md, "Linux Process").
//
// Kernel: Linux 3.14. Man pages: [sched(7)], [sched_setattr(2)], [ioprio_set(2)],
// [proc_pid_oom_score_adj(5)].
//
// [sched(7)]: https://man7.org/linux/man-pages/man7/sched.7.html
// [sched_setattr(2)]: https://man7.org/linux/man-pages/man2/sched_setattr.2.html
// [ioprio_set(2)]: https://man7.org/linux/man-pages/man2/ioprio_set.2.html
// [proc_pid_oom_score_adj(5)]: https://man7.org/linux/man-pages/man5/proc_pid_oom_score_adj.5.html
package scheduling
