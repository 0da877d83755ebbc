package private

// Removing trees whose shape somebody else chose. An archive, or a container,
// can nest directories deeper than there are descriptors or bytes in a path, so
// recursion stops at a depth, and what lies deeper is moved up and queued. Who
// is not root may have to let himself into his own directories first.
//
// Nothing outside of the tree is touched: no link is followed, whatever is exchanged
// meanwhile, and no mount point is entered (openat2(2), RESOLVE_NO_XDEV).

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// maxDepth bounds the descriptors open at a time.
const maxDepth = 64

type discarder struct {
	top   *os.File // where deep directories are moved to
	queue []string // names in top
}

// RemoveAll removes what is called name in d, with all that is below it; what is called
// last goes last. One that does not exist is no error; a file, or a symbolic link, goes as
// it is.
func (d *Dir) RemoveAll(name string, last ...string) error {
	top, err := enter(d.File, name)
	if errors.Is(err, unix.EACCES) && unlock(d.File, name) == nil {
		top, err = enter(d.File, name)
	}
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return d.Remove(name)
	case err != nil:
		return d.fail("remove", name, err)
	}
	defer top.Close()
	names, err := top.Readdirnames(-1)
	if err != nil {
		return err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return slices.Contains(last, name) })
	for _, below := range append(names, last...) {
		if err := Discard(top, below); err != nil {
			return fmt.Errorf("%s: %w", d.path(name), err)
		}
	}
	return d.Remove(name)
}

// Discard removes name in the directory top with all that is below it. A name that does not
// exist is no error.
func Discard(top *os.File, name string) error {
	d := discarder{top: top, queue: []string{name}}
	for len(d.queue) > 0 {
		next := d.queue[0]
		d.queue = d.queue[1:]
		if err := d.remove(top, next, 0); err != nil {
			return fmt.Errorf("remove %s: %w", next, err)
		}
	}
	return nil
}

func (d *discarder) remove(parent *os.File, name string, depth int) error {
	err := unix.Unlinkat(int(parent.Fd()), name, 0)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	if !errors.Is(err, unix.EISDIR) {
		return err
	}
	if depth == maxDepth {
		return d.postpone(parent, name)
	}
	if err := d.empty(parent, name, depth); err != nil {
		return err
	}
	return unix.Unlinkat(int(parent.Fd()), name, unix.AT_REMOVEDIR)
}

func (d *discarder) postpone(parent *os.File, name string) error {
	if err := unlock(parent, name); err != nil { // to move a directory is to write to it: to its ".."
		return err
	}
	fresh := Unique()
	d.queue = append(d.queue, fresh)
	return unix.Renameat(int(parent.Fd()), name, int(d.top.Fd()), fresh)
}

func (d *discarder) empty(parent *os.File, name string, depth int) error {
	if err := unlock(parent, name); err != nil {
		return err
	}
	directory, err := enter(parent, name)
	if err != nil {
		return err
	}
	defer directory.Close()
	names, err := directory.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, child := range names {
		if err := d.remove(directory, child, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// enter opens a directory in another one, but no mount point: what is mounted there is
// somebody else's.
func enter(parent *os.File, name string) (*os.File, error) {
	fd, err := unix.Openat2(int(parent.Fd()), name, &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_SYMLINKS})
	if err == unix.EXDEV {
		return nil, fmt.Errorf("a file system is mounted there: %w", unix.EBUSY)
	} else if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// unlock lets the owner of a directory do with it what he likes, unless he may
// anyway. It is a directory: unlink said so. A link that has taken its place is not
// followed: then the error is ENOTDIR. (fchmodat(2) always follows.)
func unlock(parent *os.File, name string) error {
	if os.Geteuid() == 0 {
		return nil
	}
	fd, err := unix.Openat(int(parent.Fd()), name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), 0o700)
}
