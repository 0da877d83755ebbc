// Package private opens directories that only root and the caller can change, and
// what is in them: the store of images and containers, and the directory of states.
//
// What is in such a directory says which programs run as root and which processes
// are killed. So nobody else must be able to write to it, or to put another
// directory in its place. A check of the path and a later use of the same path do not
// ensure that, because the path can be exchanged in between. The rules here are:
//
//   - The way to the directory is walked from / on, one descriptor after the other.
//     Each directory and each symbolic link on it belongs to root, to the caller, or to
//     the owner of /. In a directory that everybody can write to, the sticky bit
//     keeps other users from exchanging what is not theirs (unlink(2), /tmp).
//     So no other user can exchange a part of the way, also not later.
//   - The directory itself belongs to root or to the caller, and neither its group nor
//     others can write to it. That is asked of the descriptor with which it is used.
//   - What is below is reached from that descriptor, name by name, and never
//     through a symbolic link.
//   - A file that is read is a regular one, and has a limit.
//   - What is removed is never a link's target, and nothing of it is in another mount.
//
// Why may the group write to a directory on the way? Root, or the caller, chose the
// group: /var/local is root:staff, and many users have a group of their own. Why the
// owner of /? Such a user can exchange everything anyway. And in a user namespace
// that does not map the host's root, as below rootless Podman, root's directories
// seem to belong to the overflow id (user_namespaces(7)). There the check cannot tell
// root from other users of the host, and takes them for root.
//
// When not to use it: for a bundle, or any other file that the caller of a command names.
//
// Manual pages: [openat(2)], [path_resolution(7)], [openat2(2)].
//
// [openat(2)]: https://man7.org/linux/man-pages/man2/openat.2.html
// [openat2(2)]: https://man7.org/linux/man-pages/man2/openat2.2.html
// [path_resolution(7)]: https://man7.org/linux/man-pages/man7/path_resolution.7.html
package private

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A Kind says, for errors, what a directory is for, and by which option another one
// can be given.
type Kind struct{ name, option string }

// The two kinds that there are.
var (
	States = Kind{"directory of states", "--root"}
	Store  = Kind{"store", "--store"}
)

// maxLinks is how many symbolic links may be on the way to a directory, as for the kernel.
const maxLinks = 40

// Open opens the directory at a path. The error is [fs.ErrNotExist] if there is none.
func (k Kind) Open(path string) (*Dir, error) { return k.open(path, false) }

// Make is Open, but makes the directories that are missing, with mode 0700.
func (k Kind) Make(path string) (*Dir, error) { return k.open(path, true) }

func (k Kind) open(path string, create bool) (*Dir, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", k.name, path, err)
	}
	w := walk{kind: k, path: absolute, names: strings.Split(absolute, "/"), create: create}
	defer func() { unix.Close(w.at) }() // EBADF: / was not opened
	if err := w.all(); err != nil {
		return nil, err
	}
	return openDir(k, w.at, ".", absolute)
}

// A walk goes from / to a directory.
type walk struct {
	kind   Kind
	path   string   // of the directory
	names  []string // that still lie ahead
	create bool     // what is missing
	at     int      // where it is: a descriptor (O_PATH), which is open also after an error
	links  int      // that it has followed
	owner  uint32   // of /
}

func (w *walk) all() (err error) {
	if err := w.start(); err != nil {
		return err
	}
	for done := "/"; len(w.names) > 0; {
		name := w.names[0]
		w.names = w.names[1:]
		if name == "" || name == "." {
			continue
		}
		done = filepath.Join(done, name)
		if err := w.step(name, done); err != nil {
			return err
		}
	}
	return nil
}

// start opens /.
func (w *walk) start() (err error) {
	w.at, err = unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: "/", Err: err}
	}
	var s unix.Stat_t
	if err := unix.Fstat(w.at, &s); err != nil {
		return &fs.PathError{Op: "stat", Path: "/", Err: err}
	}
	w.owner = s.Uid
	return nil
}

// step goes into a directory. A link is replaced by the names that are in it. done is the
// way so far, for errors; behind a link with ".." in it, it is only about right.
func (w *walk) step(name, done string) error {
	const flags = unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC
	next, err := unix.Openat(w.at, name, flags, 0)
	if err == unix.ENOENT && w.create {
		if err := unix.Mkdirat(w.at, name, 0o700); err != nil && err != unix.EEXIST { // EEXIST: another command was faster
			return &fs.PathError{Op: "mkdir", Path: done, Err: err}
		}
		next, err = unix.Openat(w.at, name, flags, 0)
	}
	if err != nil {
		return &fs.PathError{Op: "open", Path: w.path, Err: err}
	}
	var s unix.Stat_t
	if err = unix.Fstat(next, &s); err != nil {
		err = &fs.PathError{Op: "stat", Path: done, Err: err}
	} else {
		err = w.trust(&s, done)
	}
	switch kind := s.Mode & unix.S_IFMT; {
	case err != nil:
	case kind == unix.S_IFLNK:
		defer unix.Close(next)
		return w.follow(next, done)
	case kind != unix.S_IFDIR:
		err = &fs.PathError{Op: "open", Path: w.path, Err: unix.ENOTDIR}
	}
	if err != nil {
		unix.Close(next)
		return err
	}
	unix.Close(w.at)
	w.at = next
	return nil
}

// follow puts the names in a symbolic link before those that lie ahead.
func (w *walk) follow(link int, done string) error {
	if w.links++; w.links > maxLinks {
		return &fs.PathError{Op: "open", Path: w.path, Err: unix.ELOOP}
	}
	text := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(link, "", text)
	if err != nil {
		return &fs.PathError{Op: "readlink", Path: done, Err: err}
	}
	target := string(text[:n])
	w.names = append(strings.Split(target, "/"), w.names...)
	if strings.HasPrefix(target, "/") {
		unix.Close(w.at)
		return w.start()
	}
	return nil
}

// trust refuses a part of the way that another user can exchange, or can have made.
func (w *walk) trust(s *unix.Stat_t, done string) error {
	last := len(w.names) == 0 && s.Mode&unix.S_IFMT == unix.S_IFDIR // which openDir looks at
	mine := s.Uid == 0 || int(s.Uid) == os.Geteuid() || s.Uid == w.owner
	switch {
	case last:
	case !mine:
		return fmt.Errorf("%s %s: %s is user %d's, who can exchange what is in it: %s", w.kind.name, w.path, done, s.Uid, w.kind.other())
	case s.Mode&unix.S_IFMT == unix.S_IFDIR && s.Mode&0o002 != 0 && s.Mode&unix.S_ISVTX == 0:
		return fmt.Errorf("%s %s: everybody can exchange what is in %s (mode %#o): chmod o-w it, or %s", w.kind.name, w.path, done, s.Mode&0o7777, w.kind.other())
	}
	return nil
}

func (k Kind) other() string { return "give another one by " + k.option }
