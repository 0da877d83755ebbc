// Package file reads files of a container, which are hostile.
//
// The runtime reads few of them: /etc/passwd and /etc/group. Whoever wrote the
// image chose what is there: a link to a file of the host's, a pipe on which a
// reader waits for ever, a file of the kernel's. Open follows links as the
// container would, and opens regular files only.
//
// Kernel: Linux 5.6. Man page: [openat2(2)].
//
// [openat2(2)]: https://man7.org/linux/man-pages/man2/openat2.2.html
package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"minirun/plan"
)

// ErrNotRegular says that something other than a regular file is there.
var ErrNotRegular = errors.New("not a regular file")

// Open opens a file below the directory root for reading, as a process whose root
// directory that is would see it: no link leads out of it. Anything but a regular
// file is [ErrNotRegular]. So are overlayfs's mark of a deleted file, and the files
// of the kernel's file systems, such as /proc. Needs a /proc of the runtime's own.
func Open(root, path string) (*os.File, error) {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: root, Err: err}
	}
	defer unix.Close(dir)
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := plan.Openat2(dir, path, how)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	if err := checkRegular(fd, dir); err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	opened, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENXIO) { // overlayfs's mark of a deleted file, a device without a driver
		err = ErrNotRegular
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(opened), path), nil
}

// kernelFS are file systems whose files are answers of the kernel, or of a program.
// Reading one may never end, or tell what the container itself could not ask for
// (/proc/kmsg).
var kernelFS = []int64{unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.DEBUGFS_MAGIC, unix.TRACEFS_MAGIC, unix.CGROUP2_SUPER_MAGIC, unix.FUSE_SUPER_MAGIC}

// checkRegular refuses an O_PATH descriptor of anything but a regular file. The
// file must not be in one of kernelFS, unless root is in the same kind of file
// system: a root directory may well be on FUSE.
func checkRegular(fd, root int) error {
	var file unix.Stat_t
	var on, below unix.Statfs_t
	if err := errors.Join(unix.Fstat(fd, &file), unix.Fstatfs(fd, &on), unix.Fstatfs(root, &below)); err != nil {
		return err
	}
	if file.Mode&unix.S_IFMT != unix.S_IFREG || on.Type != below.Type && slices.Contains(kernelFS, on.Type) {
		return ErrNotRegular
	}
	return nil
}
