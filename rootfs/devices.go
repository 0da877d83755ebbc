package rootfs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A device is a device file to make.
type device struct {
	path         string // in the container
	kind         uint32 // S_IFCHR, S_IFBLK, S_IFIFO
	major, minor uint32
	mode         uint32
	uid, gid     uint32
}

// defaultDevices must exist in every container (runtime-spec, config-linux.md,
// Default Devices).
var defaultDevices = []device{
	{path: "/dev/null", kind: unix.S_IFCHR, major: 1, minor: 3, mode: 0o666},
	{path: "/dev/zero", kind: unix.S_IFCHR, major: 1, minor: 5, mode: 0o666},
	{path: "/dev/full", kind: unix.S_IFCHR, major: 1, minor: 7, mode: 0o666},
	{path: "/dev/random", kind: unix.S_IFCHR, major: 1, minor: 8, mode: 0o666},
	{path: "/dev/urandom", kind: unix.S_IFCHR, major: 1, minor: 9, mode: 0o666},
	{path: "/dev/tty", kind: unix.S_IFCHR, major: 5, minor: 0, mode: 0o666},
}

// links are symbolic links in /dev that programs expect.
var links = []struct{ name, target string }{
	{"fd", "/proc/self/fd"},
	{"stdin", "/proc/self/fd/0"},
	{"stdout", "/proc/self/fd/1"},
	{"stderr", "/proc/self/fd/2"},
	{"ptmx", "pts/ptmx"},
}

var deviceTypes = map[string]uint32{"c": unix.S_IFCHR, "u": unix.S_IFCHR, "b": unix.S_IFBLK, "p": unix.S_IFIFO}

func (r *Root) checkDevices() error {
	for i, d := range r.spec.Linux.Devices {
		if _, ok := deviceTypes[d.Type]; !ok {
			return fmt.Errorf("linux.devices[%d].type %q: want c, b, u or p", i, d.Type)
		}
		if !filepath.IsAbs(d.Path) {
			return fmt.Errorf("linux.devices[%d].path %q: not an absolute path", i, d.Path)
		}
		if len(d.Path) >= unix.PathMax {
			return fmt.Errorf("linux.devices[%d].path: %w", i, unix.ENAMETOOLONG)
		}
	}
	return nil
}

// devices records the default devices, those of the spec, and the links.
func (r *Root) devices(p *plan.Plan) {
	p.Note("the devices that every container has")
	dev := r.directory(p, "/dev")
	for _, d := range defaultDevices {
		if !r.overridden(d.path) {
			r.device(p, dev, d)
		}
	}
	for _, d := range r.spec.Linux.Devices {
		r.device(p, r.directory(p, filepath.Dir(d.Path)), fromSpec(d))
	}
	for _, l := range links {
		p.Symlinkat(l.target, dev, l.name).Tolerate(unix.EEXIST)
	}
}

// empty says whether path is on a file system that is new: what is there already
// we have made ourselves.
func (r *Root) empty(path string) (fresh bool) {
	for _, m := range r.mounts {
		if strings.HasPrefix(path, m.destination+"/") {
			fresh = m.fstype == "tmpfs" && !m.copyUp
		}
	}
	return fresh
}

// overridden says whether the spec itself makes or mounts something at path.
func (r *Root) overridden(path string) bool {
	for _, d := range r.spec.Linux.Devices {
		if filepath.Clean(d.Path) == path {
			return true
		}
	}
	for _, m := range r.mounts {
		if m.destination == path || m.destination == "/dev" && m.fstype == "" {
			return true // a bind-mounted /dev has its devices
		}
	}
	return false
}

func fromSpec(d specs.LinuxDevice) device {
	c := device{path: filepath.Clean(d.Path), kind: deviceTypes[d.Type], major: uint32(d.Major), minor: uint32(d.Minor), mode: 0o666}
	if d.FileMode != nil {
		c.mode = uint32(*d.FileMode & os.ModePerm)
	}
	if d.UID != nil {
		c.uid = *d.UID
	}
	if d.GID != nil {
		c.gid = *d.GID
	}
	return c
}

// Directory records that a directory of the container is made where it is
// missing: the program's working directory has to exist.
func (r *Root) Directory(p *plan.Plan, path string) { r.directory(p, filepath.Clean(path)) }

// directory records a descriptor of a directory in the container, made if missing.
func (r *Root) directory(p *plan.Plan, path string) plan.FD {
	if fd, ok := r.parents[path]; ok {
		return fd
	}
	if path == "/" {
		return r.root
	}
	fd := r.target(p, path, true, false)
	r.parents[path] = fd
	return fd
}

// device records one device file. Where nobody may make one, as in a user
// namespace, the host's is mounted on an empty file, if it is the same device. So
// must be what the image has there already.
func (r *Root) device(p *plan.Plan, dir plan.FD, d device) {
	name := filepath.Base(d.path)
	if !r.host.Mknod && d.kind != unix.S_IFIFO {
		tree := p.OpenTree(plan.CWD, d.path, unix.OPEN_TREE_CLONE).As("host's " + d.path)
		p.Device(tree, d.kind, d.major, d.minor)
		p.Mknodat(dir, name, unix.S_IFREG|d.mode, 0, 0).Tolerate(unix.EEXIST)
		p.MoveMount(tree, p.OpenIn(r.root, strings.TrimPrefix(d.path, "/"), unix.O_PATH, 0).As(d.path))
		return
	}
	if r.empty(d.path) {
		p.Mknodat(dir, name, d.kind|d.mode, d.major, d.minor).Tolerate(unix.EEXIST)
	} else {
		var there *plan.Step
		p.Alternatives([]unix.Errno{unix.EEXIST}, func() {
			p.Mknodat(dir, name, d.kind|d.mode, d.major, d.minor)
			there = p.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0).As(d.path)
		})
		p.Device(there, d.kind, d.major, d.minor)
	}
	if d.uid|d.gid != 0 {
		p.Fchownat(dir, name, d.uid, d.gid, unix.AT_SYMLINK_NOFOLLOW)
	}
}

// Ptmx records the opening of the container's pseudo-terminal multiplexer: of
// the devpts that we have just mounted, not of a path. Nil if the spec mounts
// no devpts on /dev/pts.
func (r *Root) Ptmx(p *plan.Plan) plan.FD {
	if r.devpts == nil {
		return nil
	}
	return p.OpenIn(r.devpts, "ptmx", unix.O_RDWR|unix.O_NOCTTY, 0).As("ptmx")
}

// Console records the terminal's appearance as /dev/console.
func (r *Root) Console(p *plan.Plan, slave plan.FD) {
	tree := p.OpenTree(slave, "", unix.OPEN_TREE_CLONE|unix.AT_EMPTY_PATH).As("console")
	p.Mknodat(r.directory(p, "/dev"), "console", unix.S_IFREG|0o600, 0, 0).Tolerate(unix.EEXIST)
	p.MoveMount(tree, p.OpenIn(r.root, "dev/console", unix.O_PATH, 0).As("/dev/console"))
}
