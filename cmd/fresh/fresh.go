// Package fresh gives up what minirunc has inherited from its caller and would hand on: to
// the container, to hooks on the host, to a monitor, to the process that drains a terminal.
// A container must not depend on the shell that happened to start it.
//
//	scheduling   policy, nice value and I/O priority become the usual ones
//	affinity     the processors of process 1, which nobody has confined
//	personality  Linux, with randomized addresses
//	umask        022
//
// Who wants one of them says so to the container: process.scheduler, process.ioPriority,
// linux.resources.cpu.cpus, process.execCPUAffinity, linux.personality, process.user.umask.
//
// What stays, since the runtime-spec or the kernel wants it: oom_score_adj and resource
// limits, if the spec has none; signals that the caller ignores, as nohup(1) does; the
// cpuset of the caller's cgroup, for hooks. An ordinary user cannot raise a lowered nice value
// again (EPERM): then it stays, too.
//
// All but the umask belong to a thread, and Go has several before main begins. Each is asked
// about once, for the calling thread, which is two dozen microseconds; only if it is unusual,
// all threads are changed.
//
// Man pages: [sched(7)], [ioprio_set(2)], [sched_setaffinity(2)], [personality(2)], [umask(2)].
//
// [sched(7)]: https://man7.org/linux/man-pages/man7/sched.7.html
// [ioprio_set(2)]: https://man7.org/linux/man-pages/man2/ioprio_set.2.html
// [sched_setaffinity(2)]: https://man7.org/linux/man-pages/man2/sched_setaffinity.2.html
// [personality(2)]: https://man7.org/linux/man-pages/man2/personality.2.html
// [umask(2)]: https://man7.org/linux/man-pages/man2/umask.2.html
package fresh

import (
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Start gives up what was inherited. Call it before other goroutines are started: a thread
// that is being made meanwhile could be missed.
func Start() {
	unix.Umask(0o022)
	if now, _, errno := unix.Syscall(unix.SYS_PERSONALITY, query, 0, 0); errno == 0 && now != 0 {
		syscall.AllThreadsSyscall(unix.SYS_PERSONALITY, 0, 0, 0) // with C in the program: ENOTSUP, and it stays
	}
	policy()
	priority()
	processors()
}

// query asks for the personality, and changes nothing (personality(2)).
const query = 0xffffffff

// policy makes the scheduling policy SCHED_OTHER, with nice value 0.
func policy() {
	now, err := unix.SchedGetAttr(0, 0)
	if err != nil || now.Policy == unix.SCHED_NORMAL && now.Nice == 0 {
		return // ENOSYS: a filter does not know the call
	}
	usual := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL}
	each(func(thread int) {
		if unix.SchedSetAttr(thread, &usual, 0) == unix.EPERM { // the nice value must not become higher in rank: the policy alone
			lower := usual
			lower.Nice = now.Nice
			unix.SchedSetAttr(thread, &lower, 0) // EPERM: from SCHED_IDLE, with a lowered nice value
		}
	})
}

// Of ioprio_set(2): whose priority, and the value of a process that has not asked for one.
const (
	whoProcess = 1
	none       = 0         // as the nice value says
	usualClass = 2<<13 | 4 // what newer kernels answer for none with nice value 0: IOPRIO_CLASS_BE, 4
)

// priority takes back an I/O priority.
func priority() {
	now, _, errno := unix.Syscall(unix.SYS_IOPRIO_GET, whoProcess, 0, 0)
	if errno != 0 || now == none || now == usualClass {
		return
	}
	each(func(thread int) { unix.Syscall(unix.SYS_IOPRIO_SET, whoProcess, uintptr(thread), none) })
}

// processors gives us those that process 1 has: all, but for those that the administrator
// keeps from every process (isolcpus). A cpuset of our group still confines us.
func processors() {
	var now, usual unix.CPUSet
	if unix.SchedGetaffinity(1, &usual) != nil || unix.SchedGetaffinity(0, &now) != nil || now == usual {
		return
	}
	each(func(thread int) { unix.SchedSetaffinity(thread, &usual) }) // EINVAL: our cpuset has none of them
}

// each calls f for each thread of this process.
func each(f func(thread int)) {
	list, err := os.ReadDir("/proc/self/task")
	if err != nil {
		f(0) // without /proc: the calling one
	}
	for _, entry := range list {
		if thread, err := strconv.Atoi(entry.Name()); err == nil {
			f(thread)
		}
	}
}
