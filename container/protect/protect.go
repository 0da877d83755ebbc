package protect

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const self = "/proc/self/exe"

// Protect makes sure that no container can write to the running program.
//
// If one could, Protect executes the program again, from a read-only copy of the
// mount that it is on. Without the right to make a mount, it does so from a sealed
// copy in memory. Then it returns only if that fails. The program starts from the
// beginning with the same arguments and environment, and calls Protect again. So call
// it before anything that must happen only once.
//
// If no container can write to the program, Protect only gives the process its name,
// and returns nil.
//
// Linux 5.12 (mount_setattr). The mount needs CAP_SYS_ADMIN.
func Protect() error {
	safe, err := protected()
	if err != nil {
		return err
	}
	if safe {
		rename()
		return nil
	}
	fd, err := readonlyMount()
	if errors.Is(err, unix.EPERM) {
		fd, err = sealedCopy()
	}
	if err != nil {
		return fmt.Errorf("protect the runtime's own program: %w", err)
	}
	program := fmt.Sprintf("/proc/self/fd/%d", fd)
	return fmt.Errorf("execute %s: %w", program, unix.Exec(program, os.Args, os.Environ()))
}

// protected says whether no container can write to our program, because it is on
// a read-only mount or sealed, or because it belongs to another user: root in an
// ordinary user's container has the rights of that user, no more.
func protected() (bool, error) {
	var mount unix.Statfs_t
	if err := unix.Statfs(self, &mount); err != nil {
		return false, fmt.Errorf("statfs %s: %w", self, err)
	}
	if mount.Flags&unix.ST_RDONLY != 0 || mount.Type == unix.TMPFS_MAGIC && sealed(self) {
		return true, nil
	}
	var file unix.Stat_t
	if err := unix.Stat(self, &file); err != nil {
		return false, fmt.Errorf("stat %s: %w", self, err)
	}
	uid := unix.Geteuid()
	return uid != 0 && int(file.Uid) != uid && file.Mode&0o022 == 0, nil
}

// rename gives the process the name of its program. The kernel names a process
// after the file that it executes, which may have been /proc/self/fd/3. An error, such
// as EROFS for a read-only /proc, does not matter: only ps(1) shows the name.
func rename() { os.WriteFile("/proc/self/comm", []byte("minirunc"), 0) }

// sealed says whether a file in memory can no longer be written to.
func sealed(path string) bool {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	return err == nil && seals&unix.F_SEAL_WRITE != 0
}

// readonlyMount opens our program on a detached, read-only copy of the mount that
// it is on.
func readonlyMount() (int, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, self, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return -1, err
	}
	return fd, unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
}

// sealedCopy copies our program to a file in memory that nobody can write to any
// more.
func sealedCopy() (int, error) {
	program, err := os.Open(self)
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
