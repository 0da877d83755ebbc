package private

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// A Dir is an open directory that only root and the caller can change. Its methods take
// names of what is in it, without a slash, and follow no link there. Its Name is its path.
type Dir struct {
	*os.File
	kind Kind
}

// openDir opens a directory, and asks the descriptor whose it is.
func openDir(k Kind, at int, name, path string) (*Dir, error) {
	fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	d := &Dir{os.NewFile(uintptr(fd), path), k}
	var s unix.Stat_t
	switch err := unix.Fstat(fd, &s); {
	case err != nil:
		return nil, errors.Join(&fs.PathError{Op: "stat", Path: path, Err: err}, d.Close())
	case s.Uid != 0 && int(s.Uid) != os.Geteuid():
		d.Close()
		return nil, fmt.Errorf("%s %s: it is user %d's: remove it, or %s", k.name, path, s.Uid, k.other())
	case s.Mode&0o022 != 0:
		d.Close()
		return nil, fmt.Errorf("%s %s: others may write to it (mode %#o): chmod go-w it, or %s", k.name, path, s.Mode&0o777, k.other())
	}
	return d, nil
}

// at is the descriptor.
func (d *Dir) at() int { return int(d.Fd()) }

// path is a name as it is in errors.
func (d *Dir) path(name string) string { return filepath.Join(d.Name(), name) }

// fail is err with what it is about; nil stays nil.
func (d *Dir) fail(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: d.path(name), Err: err}
}

// Dir opens a directory in d. A link is no directory (ENOTDIR).
func (d *Dir) Dir(name string) (*Dir, error) { return openDir(d.kind, d.at(), name, d.path(name)) }

// MakeDir is Dir, but makes the directory if it is missing, with mode 0700.
func (d *Dir) MakeDir(name string) (*Dir, error) {
	if err := d.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return d.Dir(name)
}

// Mkdir makes a directory. The caller's umask counts.
func (d *Dir) Mkdir(name string, perm uint32) error {
	return d.fail("mkdir", name, unix.Mkdirat(d.at(), name, perm))
}

// OpenFile opens a regular file, with the flags of open(2). It does not wait for a
// FIFO's other side (O_NONBLOCK), which a regular file does not notice, but for a lease
// (EWOULDBLOCK of fcntl(2), F_SETLEASE).
func (d *Dir) OpenFile(name string, flags int, perm uint32) (*os.File, error) {
	fd, err := unix.Openat(d.at(), name, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, perm)
	if err == unix.ELOOP { // what that says of a link that is not followed is a riddle
		err = ErrNotRegular
	}
	if err != nil {
		return nil, d.fail("open", name, err)
	}
	var s unix.Stat_t
	if err = unix.Fstat(fd, &s); err == nil && s.Mode&unix.S_IFMT != unix.S_IFREG {
		err = ErrNotRegular
	}
	if err != nil {
		unix.Close(fd)
		return nil, d.fail("open", name, err)
	}
	return os.NewFile(uintptr(fd), d.path(name)), nil
}

// ErrNotRegular says that something is not a regular file, and so was not read.
var ErrNotRegular = errors.New("not a regular file")

// ReadFile reads a regular file of at most so many bytes.
func (d *Dir) ReadFile(name string, most int64) ([]byte, error) {
	f, err := d.OpenFile(name, unix.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadAll(f, most)
}

// ReadAll reads an open file that is regular and has at most so many bytes.
func ReadAll(f *os.File, most int64) ([]byte, error) {
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		err = ErrNotRegular
	case info.Size() > most:
		err = fmt.Errorf("longer than %d bytes", most)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: f.Name(), Err: err}
	}
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		err = &fs.PathError{Op: "read", Path: f.Name(), Err: errors.New("it grows while it is read")}
	}
	return text, err
}

// Longest is how many bytes a text may have that was written down for later: a config.json,
// a state.json.
const Longest = 64 << 20

// IsDamage says whether an error is about what is in a directory. Another one is about
// the machine, such as too many open files, and says nothing about the directory.
func IsDamage(err error) bool {
	var errno unix.Errno
	return err != nil && (!errors.As(err, &errno) || slices.Contains(damage, errno))
}

// EIO is none of them: it may be gone the next time.
var damage = []unix.Errno{unix.ENOENT, unix.ENOTDIR, unix.EISDIR, unix.ELOOP, unix.EINVAL, unix.ENXIO, unix.ENAMETOOLONG, unix.EACCES}

// Lock takes a lock on the directory with flock(2), and waits unless how has LOCK_NB. The
// kernel gives it back when the directory is closed. It repeats the call after a signal:
// the Go scheduler sends itself SIGURG at any time.
func (d *Dir) Lock(how int) error { return Lock(d.File, how) }

// Lock is the same for a file.
func Lock(f *os.File, how int) error {
	err := error(unix.EINTR)
	for err == unix.EINTR {
		err = unix.Flock(int(f.Fd()), how)
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return nil
}

// LockDir opens the directory name in d and locks it, and tries again if what it has locked
// does not have that name any more: it can be removed while we wait, and made again.
func (d *Dir) LockDir(name string) (*Dir, error) {
	for {
		dir, err := d.Dir(name)
		if err != nil {
			return nil, err
		}
		if err := dir.Lock(unix.LOCK_EX); err != nil {
			return nil, errors.Join(err, dir.Close())
		}
		if d.Is(name, dir) {
			return dir, nil
		}
		dir.Close()
	}
}

// Locked says whether somebody has locked the directory name: then LOCK_NB answers
// EWOULDBLOCK. If nobody has, closing it gives the lock back at once.
func (d *Dir) Locked(name string) (bool, error) {
	dir, err := d.Dir(name)
	if err != nil {
		return false, err
	}
	defer dir.Close()
	if err = dir.Lock(unix.LOCK_EX | unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}

// Is says whether name is another open directory.
func (d *Dir) Is(name string, other *Dir) bool {
	var s unix.Stat_t
	there, err := d.Lstat(name)
	return err == nil && unix.Fstat(other.at(), &s) == nil && s.Dev == there.Dev && s.Ino == there.Ino
}

// Unique is a name that nothing else has. It need not be secret: where it is used,
// nobody else can write.
func Unique() string { return strconv.FormatUint(rand.Uint64(), 36) }

// Lstat asks what a name is, and not where a link leads.
func (d *Dir) Lstat(name string) (s unix.Stat_t, err error) {
	return s, d.fail("stat", name, unix.Fstatat(d.at(), name, &s, unix.AT_SYMLINK_NOFOLLOW))
}

// Has says whether there is something of that name and kind (S_IFREG or S_IFDIR), and not a
// link to it.
func (d *Dir) Has(name string, kind uint32) bool {
	s, err := d.Lstat(name)
	return err == nil && s.Mode&unix.S_IFMT == kind
}

// Readlink is the text of a symbolic link.
func (d *Dir) Readlink(name string) (string, error) {
	text := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(d.at(), name, text)
	return string(text[:max(n, 0)]), d.fail("readlink", name, err)
}

// Symlink makes a symbolic link.
func (d *Dir) Symlink(target, name string) error {
	return d.fail("symlink", name, unix.Symlinkat(target, d.at(), name))
}

// Rename gives what is called name another name, in a directory of the same file system.
func (d *Dir) Rename(name string, to *Dir, newName string) error {
	return d.fail("rename", name, unix.Renameat(d.at(), name, to.at(), newName))
}

// Remove removes a file, a link or an empty directory.
func (d *Dir) Remove(name string) error {
	err := unix.Unlinkat(d.at(), name, 0)
	if err == unix.EISDIR {
		err = unix.Unlinkat(d.at(), name, unix.AT_REMOVEDIR)
	}
	return d.fail("remove", name, err)
}
