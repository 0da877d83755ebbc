// Package affinity says on which processors a process runs, and from which memory
// nodes its memory comes.
//
// A large machine has several memory nodes; each is near some of its processors.
// A memory policy (set_mempolicy(2)) names nodes, and how the kernel chooses
// among them; a CPU affinity (sched_setaffinity(2)) is a set of processors. Both
// take no privilege, are bounded by the cgroup's cpuset, and outlive execve.
//
// The spec has a memory policy for every process of the container
// (linux.memoryPolicy), and an affinity for one that joins it
// (process.execCPUAffinity). Both are lists of numbers as the kernel writes them
// ("0-3,7"), which become bits.
//
// Left out: the spec's execCPUAffinity.initial is for the time before a process
// joins the container's cgroup. Ours is born in that cgroup, so there is no such
// time, and initial counts only where final is missing.
//
// Man pages: [set_mempolicy(2)], [sched_setaffinity(2)], [cpuset(7)].
//
// [set_mempolicy(2)]: https://man7.org/linux/man-pages/man2/set_mempolicy.2.html
// [sched_setaffinity(2)]: https://man7.org/linux/man-pages/man2/sched_setaffinity.2.html
// [cpuset(7)]: https://man7.org/linux/man-pages/man7/cpuset.7.html
package affinity
