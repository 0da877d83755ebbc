// Package stdio looks at standard files, and opens a container's null device for a process
// that enters it.
//
// An open descriptor is a way to its file, whatever mounts the process can see. Root in a
// container that has the host's /dev/null as standard input can change mode, owner and
// times of the host's file (fchmod(2), or the link in /proc/self/fd), and can watch who
// uses it (inotify(7)). So a process that would get the host's null device as descriptor
// 0, 1 or 2 gets the container's. A new container opens that itself (rootfs, Root.Null).
//
// The container may have put anything in its place, a pipe that nobody writes to, or
// another device. So the file is opened without its driver (O_PATH), looked at, and only
// then opened by its descriptor. If it is no null device, one is made that nobody else
// can reach.
//
// Man pages: [openat2(2)], [null(4)], [inotify(7)].
//
// [openat2(2)]: https://man7.org/linux/man-pages/man2/openat2.2.html
// [null(4)]: https://man7.org/linux/man-pages/man4/null.4.html
// [inotify(7)]: https://man7.org/linux/man-pages/man7/inotify.7.html
package stdio

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"minirun/plan"
)

// A Kind is what a standard file may be, as far as it matters.
type Kind int

const (
	Other Kind = iota
	Pipe
	Null // a null device, whoever's
)

// Of is the kind of a descriptor's file.
func Of(fd int) Kind {
	var s unix.Stat_t
	if unix.Fstat(fd, &s) != nil { // EBADF: closed
		return Other
	}
	switch kind := s.Mode & unix.S_IFMT; {
	case kind == unix.S_IFIFO:
		return Pipe
	case kind == unix.S_IFCHR && s.Rdev == unix.Mkdev(1, 3):
		return Null
	}
	return Other
}

// ReopenNull puts the null device of the container whose process this is in place of each
// standard file (descriptor 0, 1, 2; nil: the caller's own) that is a null device. The
// caller closes what is returned; it is nil if there is none.
func ReopenNull(pid int, files ...**os.File) (null *os.File, err error) {
	for fd, f := range files {
		if *f != nil {
			fd = int((*f).Fd())
		}
		if Of(fd) != Null {
			continue
		}
		if null == nil {
			if null, err = open(pid); err != nil {
				return nil, fmt.Errorf("null device of process %d: %w", pid, err)
			}
		}
		*f = null
	}
	return null, nil
}

// open opens the container's null device, or a new one.
func open(pid int) (*os.File, error) {
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) {
		return nil, plan.ErrJoinedEnded
	} else if err != nil {
		return nil, err
	}
	defer unix.Close(root)
	if null, err := below(root); err == nil {
		return null, nil
	}
	return create()
}

// below opens dev/null below a root directory, if it is a null device.
func below(root int) (*os.File, error) {
	there, err := plan.Openat2(root, "dev/null", unix.OpenHow{Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		return nil, err
	}
	defer unix.Close(there)
	if Of(there) != Null {
		return nil, unix.ENODEV
	}
	return os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", there), os.O_RDWR|unix.O_NOCTTY, 0)
}

// create makes a null device in a file system of its own, which is attached nowhere and
// goes with the descriptor. It takes CAP_SYS_ADMIN and CAP_MKNOD.
func create() (*os.File, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("fsopen: %w", err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, fmt.Errorf("fsconfig: %w", err)
	}
	dir, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return nil, fmt.Errorf("fsmount: %w", err)
	}
	defer unix.Close(dir)
	if err := unix.Mknodat(dir, "null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
		return nil, fmt.Errorf("mknodat: %w", err)
	}
	if err := unix.Fchmodat(dir, "null", 0o666, 0); err != nil { // the umask
		return nil, fmt.Errorf("fchmodat: %w", err)
	}
	fd, err := unix.Openat(dir, "null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("openat: %w", err)
	}
	return os.NewFile(uintptr(fd), "null"), nil
}
