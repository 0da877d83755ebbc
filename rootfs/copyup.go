package rootfs

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

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// This file is the mount option tmpcopyup: a tmpfs that begins with what the
// directory below it has. What is copied is decided by the planner; the plan
// shows each file.

// An Entry is a file to copy. UID and GID are the host's.
type Entry struct {
	Path     string // below the directory; "." for itself
	Mode     fs.FileMode
	UID, GID uint32
	Size     int64  // of a regular file, in bytes
	Target   string // of a symbolic link
}

// What can be copied: each file is several steps, its contents one sendfile(2).
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
	dir, err := unix.Openat2(top, path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
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
		info, err := d.Info()
		if err != nil || !info.IsDir() && !info.Mode().IsRegular() && info.Mode().Type() != fs.ModeSymlink {
			return err
		}
		if len(list) == maxEntries {
			return fmt.Errorf("more than %d files", maxEntries)
		}
		if info.Mode().IsRegular() && info.Size() > maxSize {
			return &fs.PathError{Op: "copy", Path: name, Err: unix.EFBIG}
		}
		e := Entry{Path: name, Mode: info.Mode(), Size: info.Size()}
		if s, ok := info.Sys().(*syscall.Stat_t); ok {
			e.UID, e.GID = s.Uid, s.Gid
		}
		if info.Mode().Type() == fs.ModeSymlink {
			e.Target, err = below.Readlink(name)
		}
		list = append(list, e)
		return err
	})
	return list, err
}

// copyUp finds what the i-th mount begins with. What other mounts hide or show
// there is not known before they are made.
func (r *Root) copyUp(m *mount) error {
	if m.fstype != "tmpfs" {
		return errors.New(`option "tmpcopyup": only a tmpfs can have it`)
	}
	for _, other := range r.mounts {
		if m.destination == other.destination || strings.HasPrefix(m.destination, strings.TrimSuffix(other.destination, "/")+"/") {
			return fmt.Errorf(`option "tmpcopyup": below the mount %s`, other.destination)
		}
	}
	list, err := r.host.Tree(r.path, m.destination)
	if err != nil {
		return fmt.Errorf(`option "tmpcopyup": %w`, err)
	}
	for i := range list {
		list[i].UID = inside(r.spec.Linux.UIDMappings, list[i].UID)
		list[i].GID = inside(r.spec.Linux.GIDMappings, list[i].GID)
	}
	if len(list) == 0 {
		return nil
	}
	m.copied = list[1:]
	return m.like(list[0])
}

// like gives the tmpfs the mode and owner of the directory, unless told.
func (m *mount) like(dir Entry) error {
	for option, value := range map[string]uint32{"uid": dir.UID, "gid": dir.GID} {
		if !m.has(option) && value != 0 {
			m.data = append(m.data, fmt.Sprintf("%s=%d", option, value))
		}
	}
	if !m.has("mode") {
		m.data = append(m.data, fmt.Sprintf("mode=%o", permissions(dir.Mode)))
	}
	slices.Sort(m.data)
	return nil
}

func (m *mount) has(option string) bool {
	return slices.ContainsFunc(m.data, func(o string) bool { return strings.HasPrefix(o, option+"=") })
}

// inside is an id as the container's user namespace has it: its root, where it
// has none. Without maps it is the host's.
func inside(maps []specs.LinuxIDMapping, id uint32) uint32 {
	for _, m := range maps {
		if id >= m.HostID && id-m.HostID < m.Size {
			return m.ContainerID + id - m.HostID
		}
	}
	if len(maps) > 0 {
		return 0
	}
	return id
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

// copy records the copying of the files in old, a directory of the container,
// to the tree: nobody else has that yet.
func (m mount) copy(p *plan.Plan, old plan.FD, tree plan.FD) {
	for _, e := range m.copied {
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

// copy records the copying of a regular file. Its mode comes last: a change of
// owner takes setuid away.
func (e Entry) copy(p *plan.Plan, old, tree plan.FD) {
	from := p.Openat2(old, e.Path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_XDEV).As("old " + e.Path)
	to := p.Openat(tree, e.Path, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600).As("new " + e.Path)
	if e.Size > 0 {
		p.Sendfile(to, from, int(e.Size))
	}
	if e.UID|e.GID != 0 {
		p.Fchownat(to, "", e.UID, e.GID, unix.AT_EMPTY_PATH)
	}
	p.Fchmod(to, permissions(e.Mode))
	p.Close(from)
	p.Close(to)
}
