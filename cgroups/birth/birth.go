// Package birth is the way around a fault of the kernel's that ends a process in the
// moment in which it is born into a cgroup.
//
// A process that is cloned into a group (CLONE_INTO_CGROUP) is killed at once if cgroup.kill
// of the caller's own group was written more often than that of the new one: since Linux
// 6.14, still in 6.18, and in older kernels that got the same change, clone3(2) compares the
// count of one group with the count of the other. A session whose manager has once used
// cgroup.kill to clean up could therefore start no container, and no exec.
//
// Then there is a second attempt: the child is cloned into the caller's group, waits at a
// gate, and the runtime moves it (Move). That costs an RCU grace period, 7 to 25 ms, so it
// is not the first attempt. The memory that the child has used before stays charged to the
// caller's group. Nothing of the container runs before the move.
//
// Man pages: [cgroups(7)], [clone(2)].
//
// [cgroups(7)]: https://man7.org/linux/man-pages/man7/cgroups.7.html
// [clone(2)]: https://man7.org/linux/man-pages/man2/clone.2.html
package birth

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"minirun/plan"
)

// Ends says whether the kernel ends a process that we clone into a group. It tries: with a
// process that would execute a directory, which no kernel does. For a group that does not
// exist it makes another one where that would be, and removes it again. Any failure is
// a no, since the reason is another one then.
func Ends(dir string) bool {
	if unix.Access(dir, unix.F_OK) != nil {
		for unix.Access(dir, unix.F_OK) != nil && dir != "/" {
			dir = filepath.Dir(dir)
		}
		var err error
		if dir, err = os.MkdirTemp(dir, "minirun-birth-"); err != nil {
			return false
		}
		defer unix.Rmdir(dir) // the process has been waited for
	}
	group, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(group)
	pid, err := syscall.ForkExec("/", []string{"/"}, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: group}})
	if err != nil {
		return false // EACCES: it has lived until execve
	}
	var status unix.WaitStatus
	for err = unix.EINTR; err == unix.EINTR; {
		_, err = unix.Wait4(pid, &status, 0, nil)
	}
	return err == nil && status.Signaled() && status.Signal() == unix.SIGKILL
}

// Move records a gate at which the child waits until the runtime has moved it into a
// group. It needs write permission in cgroup.procs of the group, and of the lowest group
// that is above both.
func Move(p *plan.Plan, dir string) { p.Gate("cgroup", func() { Enter(p, dir) }) }

// Enter records, at a gate, that the runtime moves the child into a group.
func Enter(p *plan.Plan, dir string) {
	p.Note("the kernel kills what is born in that group: cgroup.kill was written in the caller's own")
	p.Do("cgroup.procs: the process", func(r *plan.Process) error {
		return os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(r.Pid)), 0)
	})
}
