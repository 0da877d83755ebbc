package image

// The kinds of entries: file, link, symbolic link, device, fifo, and what is
// said about them: owner, mode, attributes, time. In that order, because
// chown(2) clears setuid, setgid and security.capability, and everything
// changes times.

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// xattrRecord precedes the names of extended attributes in PAX records.
const xattrRecord = "SCHILY.xattr."

// file makes a regular file and fills it.
func (u *unpacker) file(parent *os.File, base string, m metadata, size int64, content io.Reader) error {
	if err := u.budget.file(size); err != nil {
		return err
	}
	fd, err := unix.Openat(int(parent.Fd()), base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), base)
	defer f.Close() // publish syncs; a late write error shows there
	if err := copySparse(f, content, size, u.buffer); err != nil {
		return err
	}
	return u.finish(f, m)
}

// copySparse copies size bytes, leaving holes where a whole buffer is zero: a
// sparse file in the archive reads as zeros and must not fill the disk.
func copySparse(f *os.File, content io.Reader, size int64, buffer []byte) error {
	for at := int64(0); at < size; {
		piece := buffer[:min(size-at, int64(len(buffer)))]
		if _, err := io.ReadFull(content, piece); err != nil {
			return fmt.Errorf("read archive: %w", short(err))
		}
		if !isZero(piece) {
			if _, err := f.WriteAt(piece, at); err != nil {
				return err
			}
		}
		at += int64(len(piece))
	}
	return f.Truncate(size)
}

// short turns an end of file where more was promised into the error it is.
func short(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// isZero compares b with itself, shifted by one: if the first byte is zero
// and each equals the next, all are zero.
func isZero(b []byte) bool {
	return len(b) == 0 || b[0] == 0 && bytes.Equal(b[:len(b)-1], b[1:])
}

// finish gives an open file or directory its metadata.
func (u *unpacker) finish(f *os.File, m metadata) error {
	fd := int(f.Fd())
	if u.ownership != Mine {
		if err := unix.Fchown(fd, m.uid, m.gid); err != nil {
			return chownError(m, err)
		}
	}
	if err := unix.Fchmod(fd, m.mode); err != nil {
		return fmt.Errorf("chmod: %w", err)
	}
	for name, value := range m.xattrs {
		if err := u.setXattr(f, m, name, value); err != nil {
			return err
		}
	}
	return setTime(fd, "", m, unix.AT_EMPTY_PATH)
}

func chownError(m metadata, err error) error {
	if errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("chown to %d:%d, an id that this user namespace does not map: %w", m.uid, m.gid, err)
	}
	return fmt.Errorf("chown to %d:%d: %w", m.uid, m.gid, err)
}

// setTime sets both times with utimensat(2); AT_EMPTY_PATH is understood
// since Linux 5.8. An archive without a time leaves the present one.
func setTime(fd int, base string, m metadata, flags int) error {
	if m.modified.IsZero() {
		return nil
	}
	time, err := unix.TimeToTimespec(m.modified)
	if err != nil {
		return fmt.Errorf("set time: %w", err)
	}
	if err := unix.UtimesNanoAt(fd, base, []unix.Timespec{time, time}, flags); err != nil {
		return fmt.Errorf("set time: %w", err)
	}
	return nil
}

// xattrs picks the attributes that may come from an archive: user.* and
// security.capability, on files and directories. Others belong to the host:
// trusted.* and user.overlay.* would steer overlayfs (a redirect could name
// any directory of a lower layer), security.* is for the host's labels.
func (u *unpacker) xattrs(header *tar.Header) map[string]string {
	var picked map[string]string
	for record, value := range header.PAXRecords {
		name, ok := strings.CutPrefix(record, xattrRecord)
		if !ok {
			continue
		}
		if reason := xattrRefusal(name, value, header.Typeflag); reason != "" {
			u.skip(header.Name, fmt.Sprintf("extended attribute %q: %s", name, reason))
			continue
		}
		if picked == nil {
			picked = map[string]string{}
		}
		picked[name] = value
	}
	return picked
}

func xattrRefusal(name, value string, kind byte) string {
	const longest = 64 << 10 // XATTR_SIZE_MAX (xattr(7))
	allowed := strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "user.overlay.") || name == "security.capability"
	switch {
	case !allowed:
		return "only user.*, without user.overlay.*, and security.capability are taken from archives"
	case kind != tar.TypeReg && kind != tar.TypeDir:
		return "only files and directories can have it"
	case len(value) > longest:
		return fmt.Sprintf("%d bytes, and the kernel takes %d", len(value), longest)
	}
	return ""
}

// setXattr sets one attribute with fsetxattr(2). Without root,
// security.capability cannot be set, and nothing in a container run without
// root misses it.
func (u *unpacker) setXattr(f *os.File, m metadata, name, value string) error {
	err := unix.Fsetxattr(int(f.Fd()), name, []byte(value), 0)
	if errors.Is(err, unix.EPERM) && u.ownership != Keep {
		u.skip(m.name, fmt.Sprintf("extended attribute %q: %v", name, err))
		return nil
	}
	if err != nil {
		return fmt.Errorf("set extended attribute %q: %w", name, err)
	}
	return nil
}

// symlink makes a symbolic link. Where it points does not matter: nothing
// here follows it but openat2(2) inside the layer.
func (u *unpacker) symlink(parent *os.File, base string, m metadata, target string) error {
	if err := unix.Symlinkat(target, int(parent.Fd()), base); err != nil {
		return err
	}
	return u.finishNamed(parent, base, m)
}

// finishNamed gives owner and time to what has just been made as base and
// cannot be opened without side effects: links, devices, fifos.
func (u *unpacker) finishNamed(parent *os.File, base string, m metadata) error {
	fd := int(parent.Fd())
	if u.ownership != Mine {
		if err := unix.Fchownat(fd, base, m.uid, m.gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return chownError(m, err)
		}
	}
	return setTime(fd, base, m, unix.AT_SYMLINK_NOFOLLOW)
}

// link makes a hard link to an earlier entry of the same layer. Why not to a
// file of a layer below? A hard link across overlayfs layers does not exist;
// the builder's overlayfs copied the file up into this layer first, so an
// archive made from it has the file, too.
func (u *unpacker) link(parent *os.File, base, name, target string) error {
	old, err := cleanName(target)
	if err != nil {
		return fmt.Errorf("hard link: %w", err)
	}
	if old == name {
		return fmt.Errorf("hard link to itself")
	}
	directory, err := openIn(u.root, path.Dir(old), unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return linkError(target, err)
	}
	defer directory.Close()
	if isDirectory(directory, path.Base(old)) {
		return fmt.Errorf("hard link to %q, a directory", target)
	}
	if err := u.clear(parent, base); err != nil {
		return err
	}
	// Without AT_SYMLINK_FOLLOW, linkat(2) links a symbolic link itself.
	if err := unix.Linkat(int(directory.Fd()), path.Base(old), int(parent.Fd()), base, 0); err != nil {
		return linkError(target, err)
	}
	return nil
}

func linkError(target string, err error) error {
	if errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("hard link to %q, which is not in this layer: %w", target, err)
	}
	return fmt.Errorf("hard link to %q: %w", target, err)
}

// device makes a device node. Number 0:0 is a whiteout whoever makes it.
func (u *unpacker) device(parent *os.File, base string, m metadata, kind uint32, header *tar.Header) error {
	number := unix.Mkdev(uint32(header.Devmajor), uint32(header.Devminor))
	if kind == unix.S_IFCHR && number == 0 {
		return makeWhiteout(parent, base)
	}
	if u.ownership != Keep {
		u.skip(header.Name, "device node: making one takes CAP_MKNOD in the initial user namespace")
		return nil
	}
	return u.node(parent, base, m, kind, number)
}

// node makes a device or a fifo with mknod(2).
func (u *unpacker) node(parent *os.File, base string, m metadata, kind uint32, number uint64) error {
	fd := int(parent.Fd())
	if err := unix.Mknodat(fd, base, kind|0o600, int(number)); err != nil {
		return fmt.Errorf("mknod: %w", err)
	}
	if err := u.finishNamed(parent, base, m); err != nil {
		return err
	}
	// fchmodat(2) follows links, and one that does not came only with Linux
	// 6.6. Here base cannot be a link: mknod has just made it, and nobody
	// else can enter the directory. It comes after chown, which clears setuid,
	// and does not change the modification time.
	if err := unix.Fchmodat(fd, base, m.mode, 0); err != nil {
		return fmt.Errorf("chmod: %w", err)
	}
	return nil
}

func (u *unpacker) skip(name, reason string) {
	u.skipped(Skip{Layer: u.blob, Name: name, Reason: reason})
}
