package protect

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A process in a container can reach the program of another process as
// /proc/PID/exe. While minirun enters a container, that program is minirun;
// root in the container could open it for writing as soon as nobody executes
// it any more, and the next command on the host would run what it left there
// (CVE-2019-5736). So what can be reached must not be writable.

// Protect makes sure that a container cannot write to the running program: if
// it might, the program is executed once more, from a read-only copy of its own
// mount, or, where there is no right to make a mount, from a sealed copy in
// memory. It returns nil if nothing was to be done. Call it as soon as it is known
// that a process of the container's will be cloned: what ran before runs twice.
//
// Linux 5.12 (mount_setattr). Needs CAP_SYS_ADMIN for the mount.
func Protect() error {
	if safe, err := protected(); safe || err != nil {
		return err
	}
	return Again(os.Args)
}

// Again executes the running program with other arguments, protected if it is
// not yet. It returns only if that does not work.
func Again(args []string) error {
	program := "/proc/self/exe"
	safe, err := protected()
	if err == nil && !safe {
		var fd int
		if fd, err = readonlyMount(); errors.Is(err, unix.EPERM) {
			fd, err = sealedCopy()
		}
		program = fmt.Sprintf("/proc/self/fd/%d", fd)
	}
	if err != nil {
		return fmt.Errorf("protect the runtime's own program: %w", err)
	}
	return fmt.Errorf("execute %s: %w", program, unix.Exec(program, args, os.Environ()))
}

// Go's runtime has a thread that looks after the others every 20 µs, and so
// costs a program that lives for a few milliseconds a fifth of them. It sleeps
// longer if its timer may be late, as the program's entry (entry_amd64.s) says
// of the first thread, and each other inherits. [prctl(2)], PR_SET_TIMERSLACK.
//
// [prctl(2)]: https://man7.org/linux/man-pages/man2/prctl.2.html
const (
	normalSlack = 50_000    // nanoseconds; every process starts with it
	calmSlack   = 5_000_000 // rare enough
)

// PunctualChildren lets the timers of what this thread executes or clones from
// now on be as punctual as everybody's, although those of Go's runtime are not.
// It fails on no kernel.
func PunctualChildren() { unix.Prctl(unix.PR_SET_TIMERSLACK, normalSlack, 0, 0, 0) }

// protected says whether nobody in a container can write to our program: it is
// on a read-only mount, or not the property of the user that we are (and so
// not of the one that is root in the container), or sealed.
func protected() (bool, error) {
	const self = "/proc/self/exe"
	var mount unix.Statfs_t
	if err := unix.Statfs(self, &mount); err != nil {
		return false, fmt.Errorf("statfs %s: %w", self, err)
	}
	if mount.Flags&unix.ST_RDONLY != 0 {
		return true, os.WriteFile("/proc/self/comm", []byte("minirunc"), 0) // it was the number of a descriptor
	}
	if mount.Type == unix.TMPFS_MAGIC && sealed(self) {
		return true, nil
	}
	var file unix.Stat_t
	if err := unix.Stat(self, &file); err != nil {
		return false, fmt.Errorf("stat %s: %w", self, err)
	}
	uid := unix.Geteuid()
	return uid != 0 && int(file.Uid) != uid && file.Mode&0o022 == 0, nil
}

func sealed(path string) bool {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	return err == nil && seals&unix.F_SEAL_WRITE != 0
}

// readonlyMount is our program on a mount that is read-only and attached
// nowhere: there is no path by which to make it writable again.
func readonlyMount() (int, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, "/proc/self/exe", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return -1, err
	}
	return fd, unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
}

// sealedCopy is our program in memory that can no longer be written to.
func sealedCopy() (int, error) {
	program, err := os.Open("/proc/self/exe")
	if err != nil {
		return -1, err
	}
	defer program.Close()
	fd, err := unix.MemfdCreate("minirunc", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return -1, fmt.Errorf("memfd_create: %w", err)
	}
	for {
		n, err := unix.Sendfile(fd, int(program.Fd()), nil, 1<<30)
		if err != nil {
			return -1, fmt.Errorf("copy the program: %w", err)
		}
		if n == 0 {
			break
		}
	}
	_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	return fd, err
}
