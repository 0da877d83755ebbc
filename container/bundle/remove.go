package bundle

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// removeAll removes a directory that a container has written to. It may hold
// directories that are deeper than a process can have open, as os.RemoveAll
// does at each level (EMFILE), and, where root in the container is an ordinary
// user here, such as nobody may look into (EACCES): these take longer.
func removeAll(dir string) error {
	err := os.RemoveAll(dir)
	if err == nil || !errors.Is(err, unix.EMFILE) && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.ENAMETOOLONG) {
		return err
	}
	if err := flatten(dir); err != nil {
		return fmt.Errorf("remove %s: %w", dir, err)
	}
	return os.RemoveAll(dir)
}

// flatten empties a directory: of each directory in it, those below are moved
// up beside it, and so it can be removed, until none is left. So there are
// never more than two open.
func flatten(dir string) error {
	top, err := open(unix.AT_FDCWD, dir)
	if err != nil {
		return err
	}
	defer top.Close()
	for moved := 0; ; {
		names, err := removeFiles(top)
		if err != nil || len(names) == 0 {
			return err
		}
		for _, name := range names {
			if err := moveUp(top, name, &moved); err != nil {
				return err
			}
		}
	}
}

// moveUp removes a directory in top, once it has moved those in it to top.
func moveUp(top *os.File, name string, moved *int) error {
	dir, err := open(int(top.Fd()), name)
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := removeFiles(dir)
	if err != nil {
		return err
	}
	for _, child := range names {
		// To move a directory is to write to it: to its "..".
		if err := unix.Fchmodat(int(dir.Fd()), child, 0o700, 0); err != nil {
			return fmt.Errorf("chmod %q: %w", child, err)
		}
		err := unix.EEXIST
		for err == unix.EEXIST { // it may have such a name in it, too
			*moved++
			err, _ = unix.Renameat2(int(dir.Fd()), child, int(top.Fd()), fmt.Sprintf(".moved-%d", *moved), unix.RENAME_NOREPLACE).(unix.Errno)
		}
		if err != 0 {
			return fmt.Errorf("rename %q: %w", child, err)
		}
	}
	return unix.Unlinkat(int(top.Fd()), name, unix.AT_REMOVEDIR)
}

// open opens a directory, and lets its owner do with it what he likes.
func open(at int, name string) (*os.File, error) {
	fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.EACCES { // a directory, or it would be ENOTDIR: no link is followed
		if err = unix.Fchmodat(at, name, 0o700, 0); err == nil {
			fd, err = unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open %q: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), unix.Fchmod(fd, 0o700)
}

// removeFiles removes all in a directory that is no directory, and returns the
// names of those.
func removeFiles(dir *os.File) (directories []string, err error) {
	if _, err := dir.Seek(0, 0); err != nil {
		return nil, err
	}
	names, err := dir.Readdirnames(-1)
	for _, name := range names {
		switch err := unix.Unlinkat(int(dir.Fd()), name, 0); err {
		case nil, unix.ENOENT:
		case unix.EISDIR:
			directories = append(directories, name)
		default:
			return nil, fmt.Errorf("unlink %q: %w", name, err)
		}
	}
	return directories, err
}
