package image

// Whiteouts: how a layer says that something below is gone.
//
//	in the archive (layer.md)     in the directory (overlayfs.rst)
//	a/.wh.b, an empty file        a/b, a character device 0:0
//	a/.wh..wh..opq                a, with trusted.overlay.opaque=y
//	                              or user.overlay.opaque=y (option userxattr)
//
// A whiteout is about the layers below only. If the layer itself has the
// name, too, then a file stays, as it hides what is below anyhow; a directory
// stays and becomes opaque, as overlayfs would merge it otherwise.

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..wh..opq"
	metaPrefix     = ".wh..wh."
	pseudoLinks    = ".wh..wh.plnk"
)

// Layers that were made on the aufs file system, as Docker's once were, have its own
// bookkeeping in them: files and directories called .wh..wh.NAME. They are passed over
// with all that is in them, but for one. In .wh..wh.plnk, in the root, are the files
// that have hard links in several layers, and other entries may be hard links to them.
// So it is unpacked like any directory, and removed at the end.

// isPseudoLink says whether a cleaned name is that directory, or in it.
func isPseudoLink(name string) bool {
	return name == pseudoLinks || strings.HasPrefix(name, pseudoLinks+"/")
}

// bookkeeping says whether the entry with a cleaned name is passed over. The error is
// about a name below a whiteout, which is no directory.
func (u *unpacker) bookkeeping(name string) (done bool, err error) {
	if isPseudoLink(name) {
		return false, nil
	}
	for rest := name; rest != ""; {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		switch {
		case part == opaqueName && rest == "", !strings.HasPrefix(part, whiteoutPrefix):
		case strings.HasPrefix(part, metaPrefix) && part != opaqueName:
			u.skip(name, "bookkeeping of the aufs file system, not a whiteout")
			return true, nil
		case rest != "":
			return false, fmt.Errorf("the name is below a whiteout")
		}
	}
	return false, nil
}

// whiteout acts on an entry whose base begins with .wh., whatever its type.
func (u *unpacker) whiteout(parent *os.File, base string) error {
	if base == opaqueName {
		return u.setOpaque(parent)
	}
	hidden := strings.TrimPrefix(base, whiteoutPrefix)
	if hidden == "" || hidden == "." || hidden == ".." {
		return fmt.Errorf("whiteout of %q", hidden)
	}
	err := makeWhiteout(parent, hidden)
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	if isDirectory(parent, hidden) {
		return u.markOpaque(parent, hidden)
	}
	return nil
}

// makeWhiteout makes a character device 0:0, the one device that mknod(2)
// lets everybody make (since Linux 5.8).
func makeWhiteout(parent *os.File, base string) error {
	if err := unix.Mknodat(int(parent.Fd()), base, unix.S_IFCHR, 0); err != nil {
		return fmt.Errorf("mknod whiteout: %w", err)
	}
	return nil
}

// isWhiteout tells whether base is a character device 0:0.
func isWhiteout(parent *os.File, base string) (bool, error) {
	var stat unix.Stat_t
	err := unix.Fstatat(int(parent.Fd()), base, &stat, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return isWhiteoutMark(&stat), err
}

func isWhiteoutMark(stat *unix.Stat_t) bool {
	return stat.Mode&unix.S_IFMT == unix.S_IFCHR && stat.Rdev == 0
}

// markOpaque makes the directory base opaque.
func (u *unpacker) markOpaque(parent *os.File, base string) error {
	directory, err := openIn(parent, base, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return err
	}
	defer directory.Close()
	return u.setOpaque(directory)
}

// setOpaque sets the attribute.
func (u *unpacker) setOpaque(directory *os.File) error {
	name := u.ownership.opaqueAttribute()
	if err := unix.Fsetxattr(int(directory.Fd()), name, []byte("y"), 0); err != nil {
		return fmt.Errorf("set extended attribute %s: %w", name, err)
	}
	return nil
}

// opaqueAttribute is the attribute of opaque directories. The kernel lets only
// CAP_SYS_ADMIN of the initial user namespace read and write trusted.*; overlayfs mounted
// in another one reads user.* instead.
func (o Ownership) opaqueAttribute() string {
	if o == Keep {
		return "trusted.overlay.opaque"
	}
	return "user.overlay.opaque"
}
