package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"minirun/plan"
)

// ErrNotRegular says that something else than a file is in its place.
var ErrNotRegular = errors.New("not a regular file")

// OpenFile opens a file below the directory root for reading, as a container
// whose root that is would see it: no link leads out of it. What an image put
// there is hostile: only a regular file is opened, or a pipe that nobody writes
// to would hold us for ever. Anything else is [ErrNotRegular], and so are an
// overlay's sign that a file was deleted, and files of the kernel's, as in /proc.
// openat2(2), Linux 5.6. Needs our own /proc.
func OpenFile(root, path string) (*os.File, error) {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: root, Err: err}
	}
	defer unix.Close(dir)
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(dir, path, how)
	for tries := 0; err == unix.EAGAIN && tries < plan.OpenatTries; tries++ {
		fd, err = unix.Openat2(dir, path, how)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	if err := plain(fd, dir); err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	opened, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENXIO) { // an overlay's sign that a file was deleted
		err = ErrNotRegular
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(opened), path), nil
}

// answering are file systems whose files are what the kernel, or a program,
// answers: it may never, or say what the container could not ask (/proc/kmsg).
var answering = []int64{unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.DEBUGFS_MAGIC, unix.TRACEFS_MAGIC, unix.CGROUP2_SUPER_MAGIC, unix.FUSE_SUPER_MAGIC}

// plain says whether an O_PATH descriptor is of a regular file that lies on a
// disk, or on what the root directory itself does.
func plain(fd, root int) error {
	var file unix.Stat_t
	var on, below unix.Statfs_t
	if err := errors.Join(unix.Fstat(fd, &file), unix.Fstatfs(fd, &on), unix.Fstatfs(root, &below)); err != nil {
		return err
	}
	if file.Mode&unix.S_IFMT != unix.S_IFREG || on.Type != below.Type && slices.Contains(answering, on.Type) {
		return ErrNotRegular
	}
	return nil
}
