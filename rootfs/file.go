package rootfs

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// ErrNotRegular says that something else than a file is in its place.
var ErrNotRegular = errors.New("not a regular file")

// OpenFile opens a file below the directory root for reading, as a container
// whose root that is would see it: no link leads out of it. What an image put
// there is hostile: only a regular file is opened, or a pipe that nobody writes
// to would hold us for ever. Anything else is [ErrNotRegular], and so is an
// overlay's sign that a file was deleted. openat2(2), Linux 5.6.
func OpenFile(root, path string) (*os.File, error) {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: root, Err: err}
	}
	defer unix.Close(dir)
	fd, err := unix.Openat2(dir, path, &unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if errors.Is(err, unix.ENXIO) { // a device or pipe without another end
		err = ErrNotRegular
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, f.Close(), &fs.PathError{Op: "open", Path: path, Err: ErrNotRegular})
	}
	return f, nil
}
