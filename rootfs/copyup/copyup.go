// Package copyup fills a new tmpfs with what the directory below it has.
//
// A tmpfs on /run hides what the image has there. With the mount option tmpcopyup
// it begins as a copy of that: directories, regular files and symbolic links, with
// their modes and owners. The option is runc's; the runtime-spec lists it among
// the mount options (config.md, "Linux mount options").
//
// Which files there are is decided while the plan is written, so that the plan
// shows each of them. The files are hostile: they are listed and opened below a
// descriptor, with openat2(2), and their number and size are bounded. They are
// copied before the tmpfs is attached, while nobody else can reach it.
//
// Left out: devices, pipes, sockets, extended attributes and times; and a tmpfs
// below another mount of the spec, which is empty while the plan is written.
//
// Man pages: [tmpfs(5)], [openat2(2)], [sendfile(2)].
//
// [tmpfs(5)]: https://man7.org/linux/man-pages/man5/tmpfs.5.html
// [openat2(2)]: https://man7.org/linux/man-pages/man2/openat2.2.html
// [sendfile(2)]: https://man7.org/linux/man-pages/man2/sendfile.2.html
package copyup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"minirun/plan"
	"minirun/rootfs"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// An Entry is a file to copy. UID and GID are the host's.
type Entry struct {
	Path     string // below the directory; "." for itself
	Mode     fs.FileMode
	UID, GID uint32
	Size     int64  // of a regular file, in bytes
	Target   string // of a symbolic link
}

// The bounds: each file is several steps, its contents one sendfile(2), which
// copies no more than maxSize.
const (
	maxEntries = 4096
	maxSize    = 0x7ffff000 // bytes
)

// Tree lists the directories, regular files and symbolic links in a directory,
// as a container whose root directory is root would see it, parents first. A
// directory that is missing is empty. openat2(2), Linux 5.6.
func Tree(root, path string) ([]Entry, error) {
	top, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: root, Err: err}
	}
	defer unix.Close(top)
	dir, err := plan.Openat2(top, path, unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	} else if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(dir)
	below, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", dir))
	if err != nil {
		return nil, err
	}
	defer below.Close()
	var list []Entry
	err = fs.WalkDir(below.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		e, err := entry(below, name, d)
		if e == nil || err != nil {
			return err
		}
		if len(list) == maxEntries {
			return fmt.Errorf("more than %d files", maxEntries)
		}
		list = append(list, *e)
		return nil
	})
	return list, err
}

// entry looks at one file; nil if it is of a kind that is not copied.
func entry(below *os.Root, name string, d fs.DirEntry) (*Entry, error) {
	info, err := d.Info()
	if err != nil {
		return nil, err
	}
	e := &Entry{Path: name, Mode: info.Mode(), Size: info.Size()}
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		e.UID, e.GID = s.Uid, s.Gid
	}
	switch mode := info.Mode(); {
	case mode.IsDir():
	case mode.IsRegular():
		if info.Size() > maxSize {
			return nil, &fs.PathError{Op: "copy", Path: name, Err: unix.EFBIG}
		}
	case mode.Type() == fs.ModeSymlink:
		e.Target, err = below.Readlink(name)
	default:
		return nil, nil
	}
	return e, err
}

// New looks for the option tmpcopyup in the mounts of a spec, and lets each such
// mount begin with what tree (see [Tree]) finds below it. root is that of the same
// spec: it records the copying where it mounts the tmpfs. uid and gid turn an id of the
// host's into the container's; false if it has none.
func New(spec *specs.Spec, root *rootfs.Root, tree func(root, path string) ([]Entry, error), uid, gid func(uint32) (uint32, bool)) error {
	for i, m := range spec.Mounts {
		if !slices.Contains(m.Options, "tmpcopyup") {
			continue
		}
		if err := prepare(root, i, tree, uid, gid); err != nil {
			return rootfs.MountError(i, m, fmt.Errorf(`option "tmpcopyup": %w`, err))
		}
	}
	return nil
}

// prepare finds what the i-th mount begins with.
func prepare(root *rootfs.Root, i int, tree func(root, path string) ([]Entry, error), uid, gid func(uint32) (uint32, bool)) error {
	m := root.All()[i]
	if m.Type != "tmpfs" {
		return errors.New("only a tmpfs can have it")
	}
	for n := range i {
		other := root.All()[n].Destination
		if m.Destination == other || strings.HasPrefix(m.Destination, strings.TrimSuffix(other, "/")+"/") {
			return fmt.Errorf("below the mount %s", other)
		}
	}
	list, err := tree(root.Path(), m.Destination)
	if err != nil || len(list) == 0 {
		return err
	}
	for n := range list {
		list[n].UID, list[n].GID = orRoot(uid(list[n].UID)), orRoot(gid(list[n].GID))
	}
	m.Options = withOwner(m.Options, list[0])
	m.Fill = func(p *plan.Plan, below, tree plan.FD) { copyAll(p, list[1:], below, tree) }
	return nil
}

// orRoot is the container's root for an id that the container does not have.
func orRoot(id uint32, ok bool) uint32 {
	if !ok {
		return 0
	}
	return id
}

// withOwner adds mode and owner of the directory to the options of the tmpfs,
// unless they have their own.
func withOwner(options []string, dir Entry) []string {
	defaults := map[string]string{"mode": fmt.Sprintf("%o", permissions(dir.Mode))}
	if dir.UID != 0 {
		defaults["uid"] = fmt.Sprint(dir.UID)
	}
	if dir.GID != 0 {
		defaults["gid"] = fmt.Sprint(dir.GID)
	}
	for key, value := range defaults {
		if !slices.ContainsFunc(options, func(o string) bool { return strings.HasPrefix(o, key+"=") }) {
			options = append(options, key+"="+value)
		}
	}
	slices.Sort(options)
	return options
}

// permissions are a mode's bits as chmod(2) takes them.
func permissions(m fs.FileMode) uint32 {
	bits := uint32(m.Perm())
	for flag, bit := range map[fs.FileMode]uint32{fs.ModeSetuid: unix.S_ISUID, fs.ModeSetgid: unix.S_ISGID, fs.ModeSticky: unix.S_ISVTX} {
		if m&flag != 0 {
			bits |= bit
		}
	}
	return bits
}

// copyAll records the copying of files from old, a directory of the container, to
// the new tmpfs.
func copyAll(p *plan.Plan, list []Entry, old, tree plan.FD) {
	for _, e := range list {
		switch e.Mode.Type() {
		case fs.ModeDir:
			p.Mkdirat(tree, e.Path, permissions(e.Mode))
		case fs.ModeSymlink:
			p.Symlinkat(e.Target, tree, e.Path)
		default:
			e.copy(p, old, tree)
			continue
		}
		if e.UID|e.GID != 0 {
			p.Fchownat(tree, e.Path, e.UID, e.GID, unix.AT_SYMLINK_NOFOLLOW)
		}
	}
}

// copy records the copying of a regular file. Its mode comes last, because a
// change of the owner takes set-user-ID away. A copy that is shorter than the file
// was is a failure.
func (e Entry) copy(p *plan.Plan, old, tree plan.FD) {
	from := p.Openat2(old, e.Path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_XDEV).As("old " + e.Path)
	to := p.Openat(tree, e.Path, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600).As("new " + e.Path)
	if e.Size > 0 {
		p.Call("sendfile", unix.SYS_SENDFILE, to, from, plan.Null, plan.Num(int(e.Size))).MustReturn(int(e.Size))
	}
	if e.UID|e.GID != 0 {
		p.Fchownat(to, "", e.UID, e.GID, unix.AT_EMPTY_PATH)
	}
	p.Call("fchmod", unix.SYS_FCHMOD, to, plan.Num(int(permissions(e.Mode))))
	p.Close(from)
	p.Close(to)
}
