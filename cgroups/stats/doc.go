// Package stats measures what a group uses, for the commands events and stats.
//
// Each controller counts what the processes of a group and of the groups below it
// use, since the group was made: processor time in cpu.stat, bytes in
// memory.current, and so on. [Read] reads these files once. A controller that was
// not handed down to the group has no files there, and its part of [Stats] is nil.
//
// Left out: rates and shares of the host. They need two measurements, and whoever
// takes them knows the time between.
//
// Man page: [cgroups(7)]; the kernel's [cgroup-v2.rst] says what each number means.
//
// [cgroups(7)]: https://man7.org/linux/man-pages/man7/cgroups.7.html
// [cgroup-v2.rst]: https://docs.kernel.org/admin-guide/cgroup-v2.html
package stats
