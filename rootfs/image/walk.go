package image

// Finding the directory of an entry, when there are symbolic links on the way to it
// or parts of the way are missing.
//
// openat2(2) follows links, and its RESOLVE_IN_ROOT keeps them inside the layer. But a
// target has up to 4095 bytes, the kernel follows 40 links for one name, and so one
// entry can cost it 80,000 directories. So it may follow none here. The walk below goes
// one component at a time, and each directory that a link leads through is taken from
// a budget, which grows with the number of entries.

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/plan"
)

// maxFollowed is how many links one name may lead through, as for the kernel
// (path_resolution(7)).
const maxFollowed = 40

// strictly allows openat2(2) no link at all.
const strictly = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS

// A walk is on its way from the layer's directory along a name.
type walk struct {
	*unpacker
	here     *os.File // the directory that has been reached
	place    []string // its name, without links
	target   []string // what is left of the targets of links; the next component comes last
	name     []string // what is left of the name, likewise
	followed int      // links
}

// makeParent opens the directory name, a cleaned one, and makes it if it is not
// there. Symbolic links in it are followed inside the layer, as a process chrooted
// there would, but nothing is made at the end of a link. It also returns the
// directory's place: its name without links.
func (u *unpacker) makeParent(name string) (*os.File, string, error) {
	directory, err := openIn(u.root, name, strictly)
	if err == nil {
		return directory, name, nil
	}
	w := &walk{unpacker: u, name: backwards(name)}
	if w.here, err = openIn(u.root, ".", strictly); err != nil {
		return nil, "", err
	}
	for err == nil && len(w.target)+len(w.name) > 0 {
		err = w.step()
	}
	if err != nil {
		w.here.Close()
		return nil, "", err
	}
	return w.here, strings.Join(w.place, "/"), nil
}

// backwards are the components of a path, the last one first.
func backwards(path string) []string {
	parts := strings.Split(path, "/")
	slices.Reverse(parts)
	return parts
}

// step takes the next component: of a link's target, if there is one, else of the name.
func (w *walk) step() error {
	from := &w.name
	if len(w.target) > 0 {
		from = &w.target
	}
	last := len(*from) - 1
	part := (*from)[last]
	*from = (*from)[:last]
	switch part {
	case "", ".":
		return nil
	case "..":
		return w.up()
	}
	return w.down(part, from == &w.name)
}

// up goes to the parent directory. Above the layer's directory there is nothing, as for
// a process chrooted there. The parent is still the one that we came from, because
// nobody else can rename directories in here.
func (w *walk) up() error {
	if len(w.place) == 0 {
		return nil
	}
	fd, err := unix.Openat(int(w.here.Fd()), "..", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	w.place = w.place[:len(w.place)-1]
	w.enter(os.NewFile(uintptr(fd), ".."))
	return nil
}

// down goes to part, a directory or a link. With create it is made if it is missing.
func (w *walk) down(part string, create bool) error {
	next, err := openIn(w.here, part, strictly)
	if errors.Is(err, unix.ELOOP) {
		return w.follow(part)
	}
	if w.place = append(w.place, part); len(w.place) > maxParents {
		return fmt.Errorf("more than %d directories deep", maxParents)
	}
	if create && (errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR)) {
		if err = w.implyDirectory(w.here, part, strings.Join(w.place, "/")); err == nil {
			next, err = openIn(w.here, part, strictly)
		}
	}
	if err != nil {
		return err
	}
	w.enter(next)
	return nil
}

func (w *walk) enter(next *os.File) { w.here.Close(); w.here = next }

// follow puts the target of the link part before all that is still to come.
func (w *walk) follow(part string) error {
	buffer := make([]byte, maxPath)
	n, err := unix.Readlinkat(int(w.here.Fd()), part, buffer)
	if err != nil {
		return err
	}
	if w.followed++; w.followed > maxFollowed {
		return unix.ELOOP
	}
	target := string(buffer[:n])
	parts := backwards(target)
	if err := w.budget.follow(len(parts)); err != nil {
		return err
	}
	if strings.HasPrefix(target, "/") {
		root, err := openIn(w.root, ".", strictly)
		if err != nil {
			return err
		}
		w.place = nil
		w.enter(root)
	}
	w.target = append(w.target, parts...)
	return nil
}

// implyDirectory makes a directory the archive does not list: root's, 0755.
func (u *unpacker) implyDirectory(parent *os.File, base, place string) error {
	if err := u.budget.entry(); err != nil {
		return err
	}
	hidden, err := isWhiteout(parent, base)
	if err != nil {
		return err
	}
	if err := u.remember(metadata{name: place, mode: 0o755}); err != nil {
		return err
	}
	if hidden {
		return u.ensureDirectory(parent, base)
	}
	if err := unix.Mkdirat(int(parent.Fd()), base, 0o700); err != nil {
		return fmt.Errorf("make directory %q: %w", place, err)
	}
	return nil
}

// openIn opens a directory below root with openat2(2) (since Linux 5.6),
// for reading, since fsetxattr(2) refuses O_PATH descriptors.
func openIn(root *os.File, name string, resolve uint64) (*os.File, error) {
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: resolve | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	}
	fd, err := plan.Openat2(int(root.Fd()), name, how)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}
