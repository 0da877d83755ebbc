// Package cgroups makes the control group of a container, writes its limits,
// freezes and kills the processes in it, and removes it.
//
// A control group (cgroup) is a directory in a file system of its own, cgroup2.
// mkdir(2) makes a group, rmdir(2) removes an empty one, and the files in the
// directory are its controls: writing 67108864 to memory.max limits the memory
// of all its processes together, reading memory.current tells what they use.
// Every process is in exactly one group, and is born into its parent's.
// A controller (memory, cpu, io, pids, …) puts its files into a group only if
// the group above lists it in cgroup.subtree_control. So a limit at the bottom
// needs its controller handed down from the top, level by level. A group that
// hands controllers down must not have processes itself (the rule of "no
// internal processes"); only the group at the very top may.
//
// A [Hierarchy] is the mounted cgroup2, a [Group] is one directory of it. What
// the runtime-spec asks for becomes a list of file writes, for example
//
//	config.json  "memory": {"limit": 67108864}
//	[Write]      memory.max 67108864
//
// (package resources does that). [Group.Add] records these writes in the plan,
// between mkdir(2) and the clone3(2) that starts a process right in the group
// (CLONE_INTO_CGROUP). The runtime writes to cgroup.procs only where that does not
// work (package birth): to move a process that exists costs an RCU grace period, 7 to 25 ms.
//
//	hierarchy.go    where cgroup2 is mounted, and what cgroupsPath means
//	group.go        make a group and write its limits
//	controllers.go  hand the controllers down
//	processes.go    list, freeze, kill the processes; remove the group
//	files.go        read and write control files
//
// What only some containers or commands need has a package below this one:
//
//	resources   the spec's words, which are those of cgroup v1, as writes of v2
//	devices     which devices the group may use: in v2 a program, not a file
//	stats       what the group uses
//	owner       whose a group is: a path does not say it
//	birth       the way around a kernel that ends a process at its birth in a group
//	signals     a signal to each process, and to no other
//	oom         processes that the kernel killed because of the memory limit
//	systemd     the same group made by systemd
//	delegation  the group belongs to the container's user
//	resctrl     another tree of groups, for the processor's caches
//
// Left out: cgroup v1; threaded groups.
//
// Kernel: Linux 5.14 for cgroup.kill. Man pages: [cgroups(7)], [clone(2)]; the
// kernel's [cgroup-v2.rst] says what each file means.
//
// [cgroups(7)]: https://man7.org/linux/man-pages/man7/cgroups.7.html
// [clone(2)]: https://man7.org/linux/man-pages/man2/clone.2.html
// [cgroup-v2.rst]: https://docs.kernel.org/admin-guide/cgroup-v2.html
package cgroups
