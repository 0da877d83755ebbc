package image

// Unpacking one layer, whose archive is hostile, into an empty directory.
//
// Invariants:
//   - The kernel never gets a path from the archive but through openat2(2) below
//     the layer's descriptor, where it may follow no symbolic link, or as one
//     component, without "/", relative to a descriptor got that way (walk.go).
//   - The last component is created exclusively or looked at without following.
//   - Nobody else writes to the directory: it has a random name below a
//     directory with mode 0700 that only the owner of the store can enter.
//
// Directories stay at mode 0700 while the archive is read, so that an archive
// with a directory of mode 0 can put files into it also without privileges.
// They get their modes, owners and times at the end, when nothing in them
// changes any more.

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"minirun/rootfs/image/private"
)

const (
	// maxPath is PATH_MAX, with the zero byte at the end.
	maxPath = 4096
	// maxParents bounds the directories in a name, and those of the place that it
	// leads to.
	maxParents = 255
)

type unpacker struct {
	root      *os.File // the layer's directory
	trash     *os.File // a directory on the same file system, for what gets replaced
	blob      Digest
	ownership Ownership
	skipped   func(Skip)
	budget    *budget
	// directories get their metadata at the end, in the archive's order, so
	// that of two entries for one directory the later one counts.
	directories []metadata
	buffer      []byte
}

// metadata is what an entry says about a file besides its content.
type metadata struct {
	name     string // below the layer's directory, without symbolic links
	mode     uint32 // permissions with setuid, setgid, sticky; no type
	uid, gid int
	modified time.Time
	xattrs   map[string]string
}

// unpack reads entries from r until the archive's end mark. Errors name the
// entry. What is unpacked until then stays, for the caller to remove.
func (u *unpacker) unpack(r io.Reader) error {
	u.buffer = make([]byte, 64<<10)
	if err := unix.Fchmod(int(u.root.Fd()), 0o755); err != nil {
		return err // the mode of a root that the archive does not list
	}
	archive := tar.NewReader(r)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			return errors.Join(u.clear(u.root, pseudoLinks), u.finishDirectories())
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return fmt.Errorf("read archive: %w", err)
		}
		if err := u.entry(header, archive); err != nil {
			return fmt.Errorf("unpack %q: %w", header.Name, cause(err))
		}
	}
}

// entry unpacks one entry.
func (u *unpacker) entry(header *tar.Header, content io.Reader) error {
	if header.Typeflag == tar.TypeXGlobalHeader {
		return nil // a comment for the whole archive, as git-archive writes
	}
	if err := u.budget.entry(); err != nil {
		return err
	}
	name, err := cleanName(header.Name)
	if err != nil {
		return err
	}
	if err := checkOwner(header); err != nil {
		return err
	}
	if name == "." {
		return u.rootEntry(header)
	}
	if done, err := u.bookkeeping(name); done || err != nil {
		return err
	}
	parent, place, err := u.makeParent(path.Dir(name))
	if err != nil {
		return err
	}
	defer parent.Close()
	base := path.Base(name)
	if strings.HasPrefix(base, whiteoutPrefix) && !isPseudoLink(name) {
		return u.whiteout(parent, base)
	}
	return u.create(parent, base, u.metadata(header, path.Join(place, base)), header, content)
}

func (u *unpacker) rootEntry(header *tar.Header) error {
	if header.Typeflag != tar.TypeDir {
		return fmt.Errorf("the root is not a directory")
	}
	return u.remember(u.metadata(header, "."))
}

// remember keeps the metadata of a directory for the end.
func (u *unpacker) remember(m metadata) error {
	u.directories = append(u.directories, m)
	return u.budget.keep(m)
}

func (u *unpacker) metadata(header *tar.Header, name string) metadata {
	return metadata{
		name: name, mode: uint32(header.Mode) & 0o7777,
		uid: header.Uid, gid: header.Gid,
		modified: header.ModTime, xattrs: u.xattrs(header),
	}
}

// checkOwner refuses ids that do not fit the kernel's 32 bits, which would cut
// them off, and the largest, which chown(2) takes for "leave as it is".
func checkOwner(header *tar.Header) error {
	const largest = 1<<32 - 2
	if header.Uid < 0 || header.Uid > largest || header.Gid < 0 || header.Gid > largest {
		return fmt.Errorf("owner %d:%d is out of range", header.Uid, header.Gid)
	}
	return nil
}

// create makes base in parent. Whatever has that name goes first, except that
// a directory stays for a directory.
func (u *unpacker) create(parent *os.File, base string, m metadata, header *tar.Header, content io.Reader) error {
	if header.Typeflag == tar.TypeDir {
		if err := u.remember(m); err != nil {
			return err
		}
		return u.ensureDirectory(parent, base)
	}
	if header.Typeflag == tar.TypeLink {
		return u.link(parent, base, m.name, header.Linkname)
	}
	if err := u.clear(parent, base); err != nil {
		return err
	}
	switch header.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		return u.file(parent, base, m, header.Size, content)
	case tar.TypeSymlink:
		return u.symlink(parent, base, m, header.Linkname)
	case tar.TypeFifo:
		return u.node(parent, base, m, unix.S_IFIFO, 0)
	case tar.TypeChar:
		return u.device(parent, base, m, unix.S_IFCHR, header)
	case tar.TypeBlock:
		return u.device(parent, base, m, unix.S_IFBLK, header)
	}
	return fmt.Errorf("entry type %q is not known", header.Typeflag)
}

// cleanName makes a name relative and free of "." and "..". Leading slashes
// go, as tar(1) does it; a ".." that leads out of the layer is an error, since
// nothing good can be meant by it.
func cleanName(name string) (string, error) {
	clean := path.Clean(strings.TrimLeft(name, "/"))
	switch {
	case name == "":
		return "", fmt.Errorf("empty name")
	case clean == ".." || strings.HasPrefix(clean, "../"):
		return "", fmt.Errorf("%q leads out of the layer", name)
	case len(clean) >= maxPath:
		return "", unix.ENAMETOOLONG
	case strings.Count(clean, "/") > maxParents:
		return "", fmt.Errorf("more than %d directories deep", maxParents)
	}
	return clean, nil
}

// ensureDirectory makes base a directory if it is not one. One that takes the
// place of a whiteout is opaque: the archive took the directory below away
// and put a new one in its place.
func (u *unpacker) ensureDirectory(parent *os.File, base string) error {
	hidden, err := isWhiteout(parent, base)
	if err != nil {
		return err
	}
	err = unix.Mkdirat(int(parent.Fd()), base, 0o700)
	if errors.Is(err, unix.EEXIST) && !isDirectory(parent, base) {
		if err := u.clear(parent, base); err != nil {
			return err
		}
		err = unix.Mkdirat(int(parent.Fd()), base, 0o700)
	}
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	if hidden {
		return u.markOpaque(parent, base)
	}
	return nil
}

// clear removes base with all below it. Directories are moved out of the
// layer first, so that their removal has nothing to do with the layer's names.
func (u *unpacker) clear(parent *os.File, base string) error {
	err := unix.Unlinkat(int(parent.Fd()), base, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if !errors.Is(err, unix.EISDIR) {
		return err
	}
	name := private.Unique()
	if err := unix.Renameat(int(parent.Fd()), base, int(u.trash.Fd()), name); err != nil {
		return err
	}
	return private.Discard(u.trash, name)
}

func isDirectory(parent *os.File, base string) bool {
	var stat unix.Stat_t
	err := unix.Fstatat(int(parent.Fd()), base, &stat, unix.AT_SYMLINK_NOFOLLOW)
	return err == nil && stat.Mode&unix.S_IFMT == unix.S_IFDIR
}

// finishDirectories gives directories their metadata. One that a later entry
// has replaced is passed over.
func (u *unpacker) finishDirectories() error {
	for _, m := range u.directories {
		if err := u.finishDirectory(m); err != nil {
			return fmt.Errorf("unpack %q: %w", m.name, cause(err))
		}
	}
	return nil
}

func (u *unpacker) finishDirectory(m metadata) error {
	directory, err := openIn(u.root, m.name, strictly)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil
	}
	if err != nil {
		return err
	}
	defer directory.Close()
	if u.ownership == Mine {
		m.mode |= 0o700
	}
	return u.finish(directory, m)
}
