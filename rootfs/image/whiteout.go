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
)

// whiteout acts on an entry whose base begins with .wh., whatever its type.
func (u *unpacker) whiteout(parent *os.File, base, entry string) error {
	if base == opaqueName {
		return u.setOpaque(parent)
	}
	if strings.HasPrefix(base, metaPrefix) {
		u.skip(entry, "bookkeeping of the aufs file system, not a whiteout")
		return nil
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
	return stat.Mode&unix.S_IFMT == unix.S_IFCHR && stat.Rdev == 0, err
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

// setOpaque sets the attribute. The kernel lets only CAP_SYS_ADMIN of the
// initial user namespace write trusted.*; overlayfs mounted in another one
// reads user.* instead.
func (u *unpacker) setOpaque(directory *os.File) error {
	name := "trusted.overlay.opaque"
	if u.ownership != Keep {
		name = "user.overlay.opaque"
	}
	if err := unix.Fsetxattr(int(directory.Fd()), name, []byte("y"), 0); err != nil {
		return fmt.Errorf("set extended attribute %s: %w", name, err)
	}
	return nil
}
