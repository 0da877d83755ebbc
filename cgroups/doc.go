// Package cgroups makes, limits, measures, freezes, kills and removes the
// control group of a container.
//
// A control group (cgroup) is a directory in a file system of its own, cgroup2.
// mkdir(2) makes a group, rmdir(2) removes an empty one, and the files in the
// directory are its controls: writing 67108864 to memory.max limits the memory
// of all its processes together, reading memory.current tells what they use.
// Every process is in exactly one group, and is born into its parent's.
// A controller (memory, cpu, io, pids, …) puts its files into a group only if
// the group above lists it in cgroup.subtree_control; so a limit at the bottom
// needs its controller handed down from the top, level by level. A group that
// hands controllers down may not have processes itself (the rule of "no
// internal processes"), except for the one at the very top.
//
// A [Hierarchy] is the mounted cgroup2, a [Group] is one directory of it. What
// the runtime-spec asks for is first translated into a list of file writes,
// which depends on nothing but the spec; then [Group.Add] records these writes
// in the plan, between mkdir(2) and the clone3(2) that starts a process right
// in the group (CLONE_INTO_CGROUP). Nothing is ever written to cgroup.procs:
// moving a process that exists costs it an RCU grace period, 7 to 25 ms.
//
//	hierarchy.go    where cgroup2 is mounted, and what cgroupsPath means
//	resources.go    the spec's limits as file writes
//	group.go        make a group and write its limits
//	controllers.go  hand the controllers down
//	devices.go      which devices the group may use: in v2 a program, not a file
//	processes.go    list, signal, freeze, kill the processes; remove the group
//	stats.go        what the group uses
//	unit.go         the same group in systemd's words, if that is to make it
//	systemd.go      asking it to
//	resctrl.go      another tree of groups: of the processors' caches and memory bandwidth
//
// Left out: cgroup v1; threaded groups; moving processes, but for the one that
// systemd moves.
//
// Kernel: Linux 5.14 for cgroup.kill. Man pages: [cgroups(7)], [clone(2)]; the
// kernel's [cgroup-v2.rst] says what each file means.
//
// [cgroups(7)]: https://man7.org/linux/man-pages/man7/cgroups.7.html
// [clone(2)]: https://man7.org/linux/man-pages/man2/clone.2.html
// [cgroup-v2.rst]: https://docs.kernel.org/admin-guide/cgroup-v2.html
package cgroups
