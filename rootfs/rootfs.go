package rootfs

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A Host is what must be known of the host to write the plan.
type Host struct {
	Bundle string                 // absolute; relative paths of the spec start here
	Mknod  bool                   // the child may make devices; else the host's are shown, as in a user namespace
	OwnPID bool                   // it has a pid namespace of its own, or shares one that it may mount proc for
	OwnNS  bool                   // it has a mount namespace of its own, or joins one; without one nothing is attached to the host's root
	IsDir  func(path string) bool // whether a bind source is a directory
	Tree   func(root, path string) ([]Entry, error)

	// Opens: the runtime opens the sources of bind mounts. Root of a user
	// namespace may have no way to them.
	Opens bool

	// Mapping records a descriptor of a user namespace with these maps, for
	// mounts that are mapped by it.
	Mapping func(p *plan.Plan, uids, gids []specs.LinuxIDMapping) plan.FD
}

// A Root is a container's file system, checked and ready to be recorded.
type Root struct {
	Warnings []string // what the spec asks for that has no effect; nil: nothing

	spec   *specs.Spec
	host   Host
	path   string // of the root directory on the host
	mounts []mount

	root    plan.FD            // the root directory, once recorded
	parents map[string]plan.FD // directories by their path in the container: fresh mounts
	kernels []string           // those of them that are procfs or sysfs, in the order of their mounts
	proc    plan.FD            // our own procfs
	devpts  plan.FD            // the container's /dev/pts
}

// New checks root, mounts, devices, masked and read-only paths of a spec. Its
// errors name the property.
func New(spec *specs.Spec, host Host) (*Root, error) {
	if spec.Root == nil || spec.Root.Path == "" {
		return nil, errors.New("root.path: missing")
	}
	r := &Root{spec: spec, host: host, path: absolute(host.Bundle, spec.Root.Path), parents: map[string]plan.FD{}}
	for i, m := range spec.Mounts {
		checked, err := newMount(m, spec.Linux, host)
		if err == nil && checked.copyUp {
			err = r.copyUp(&checked)
		}
		if err == nil && checked.destination == "/" && !host.OwnNS {
			err = errNoNS
		}
		if err != nil {
			return nil, fmt.Errorf("mounts[%d] %.100q: %w", i, m.Destination, err)
		}
		for _, w := range checked.dropData() {
			r.Warnings = append(r.Warnings, fmt.Sprintf("mounts[%d] %q: %s", i, m.Destination, w))
		}
		r.mounts = append(r.mounts, checked)
	}
	if _, ok := propagations[spec.Linux.RootfsPropagation]; !ok && spec.Linux.RootfsPropagation != "" {
		return nil, fmt.Errorf("linux.rootfsPropagation %q: not a propagation", spec.Linux.RootfsPropagation)
	}
	if spec.Linux.RootfsPropagation != "" && !host.OwnNS {
		return nil, fmt.Errorf("linux.rootfsPropagation: %w", errNoNS)
	}
	return r, r.checkDevices()
}

var errNoNS = errors.New("no mount namespace: it would be the host's")

// Path is the root directory on the host.
func (r *Root) Path() string { return r.path }

func absolute(bundle, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(bundle, path)
}

// Before records what the runtime makes before the container process is born,
// since it takes the host's privileges: mounts that show files as somebody
// else's, and those whose sources the container's root could not reach.
func (r *Root) Before(p *plan.Plan) {
	for i := range r.mounts {
		m := &r.mounts[i]
		switch {
		case m.idmap:
			m.tree = m.mapped(p, r.host)
		case m.fstype == "" && r.host.Opens:
			p.Note("a mount of the host's, opened by the runtime: the container's root may have no way to it")
			m.tree = m.bind(p)
		default:
			continue
		}
		p.Note("why? what the container mounts in it would else appear on the host, where mounts are shared")
		r.hideFromHost(p, m.tree)
	}
}

// Build records what makes the file system, up to the point where only the
// root itself is left to change.
func (r *Root) Build(p *plan.Plan) {
	if r.host.OwnNS {
		p.Note("why first? what we mount would else appear on the host too, where mounts are shared; pivot_root would refuse")
		p.Mount("", "/", "", unix.MS_REC|r.hostPropagation(), "")
	}
	r.open(p)
	p.Note("files get exactly the modes that the plan says")
	p.Umask(0)
	for _, m := range r.mounts {
		if m.destination != "/" {
			r.mount(p, m)
		}
	}
	r.devices(p)
}

// Finish records what comes last below the root: masked and read-only paths,
// and the read-only root. Nothing can be made in the root after it.
func (r *Root) Finish(p *plan.Plan) {
	r.mask(p)
	r.readonly(p)
	if r.spec.Root.Readonly {
		p.Note("the root itself read-only; what is mounted below it keeps its own flags")
		p.MountSetattr(r.root, 0, plan.MountAttr{Set: unix.MOUNT_ATTR_RDONLY}).Shell("mount -o remount,bind,ro .")
	}
}

// hostPropagation is what the copies of the host's mounts become: they may
// hear of later mounts on the host (slave), but nothing goes the other way.
func (r *Root) hostPropagation() uintptr {
	if strings.HasSuffix(r.spec.Linux.RootfsPropagation, "private") {
		return unix.MS_PRIVATE
	}
	return unix.MS_SLAVE
}

// open records how the root directory becomes a mount and a descriptor.
func (r *Root) open(p *plan.Plan) {
	if i := slices.IndexFunc(r.mounts, func(m mount) bool { return m.destination == "/" }); i >= 0 {
		r.openOverlay(p, r.mounts[i])
		return
	}
	dir := p.Openat(plan.CWD, r.path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0).As("root directory").
		Means(unix.ENOENT, "no such root directory (root.path)")
	if !r.host.OwnNS {
		r.openDetached(p, dir)
		return
	}
	p.Note("why mount a directory on itself? pivot_root wants a mount")
	root := p.OpenTree(dir, "", unix.OPEN_TREE_CLONE|unix.AT_RECURSIVE|unix.AT_EMPTY_PATH).As("root")
	p.MoveMount(root, dir).Shell("mount --rbind %s %s\ncd %s", r.path, r.path, r.path)
	r.root = root.Path(".")
}

// openDetached records a root in the host's mount namespace, which nobody there
// sees: a tree of mounts of its own, attached nowhere. The mounts are made in
// it, and go with the last process that has it as its root.
func (r *Root) openDetached(p *plan.Plan, dir plan.FD) {
	p.Note("the container shares the host's mounts: its own are made in a tree that is attached nowhere")
	root := p.OpenTree(dir, "", unix.OPEN_TREE_CLONE|unix.AT_RECURSIVE|unix.AT_EMPTY_PATH).As("root").
		Shell("# a shell has no such tree: these mounts stay on the host\ncd %s", r.path)
	r.hideFromHost(p, root)
	r.root = root.Path(".")
}

// hideFromHost records that what is mounted in a copy of a mount of the host's
// does not appear on the host, where mounts are shared.
func (r *Root) hideFromHost(p *plan.Plan, tree plan.FD) {
	p.MountSetattr(tree, unix.AT_RECURSIVE, plan.MountAttr{Propagation: uint64(r.hostPropagation())})
}

// openOverlay records a root that is stacked from an image's layers. It is
// mounted in the container's own mount namespace: when the last process of the
// container ends, so does the mount, and nobody has to clean up.
func (r *Root) openOverlay(p *plan.Plan, m mount) {
	base, data := shorten(m.data)
	p.Note("the options of one mount must fit in a page: layers are named relative to their common directory")
	p.Chdir(base)
	p.Note("the image's layers, read-only, below a directory for what the container writes")
	p.Mount("overlay", r.path, "overlay", 0, strings.Join(data, ","))
	r.root = p.Openat(plan.CWD, r.path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0).As("root").Shell("cd %s", r.path).Path(".")
}

// shorten makes the directories in overlay options relative to the directory
// that all of them are in.
func shorten(data []string) (base string, short []string) {
	var dirs []string
	for _, o := range data {
		if key, value, ok := strings.Cut(o, "="); ok && overlayDirs[key] {
			dirs = append(dirs, strings.Split(value, ":")...)
		}
	}
	base = "/"
	if len(dirs) > 0 {
		base = filepath.Dir(dirs[0])
		for _, d := range dirs {
			for base != "/" && !strings.HasPrefix(d, base+"/") {
				base = filepath.Dir(base)
			}
		}
	}
	for _, o := range data {
		if key, value, ok := strings.Cut(o, "="); ok && overlayDirs[key] {
			o = key + "=" + strings.ReplaceAll(strings.TrimPrefix(value, strings.TrimSuffix(base, "/")+"/"), ":"+strings.TrimSuffix(base, "/")+"/", ":")
		}
		short = append(short, o)
	}
	return base, short
}

var overlayDirs = map[string]bool{"lowerdir": true, "upperdir": true, "workdir": true}

// Proc returns our own procfs: mounted nowhere, so that nothing in the
// container can stand in its place. It is recorded at its first use, which
// must be before Enter.
func (r *Root) Proc(p *plan.Plan) plan.FD {
	if r.proc != nil {
		return r.proc
	}
	if !r.host.OwnPID {
		r.proc = p.Openat(plan.CWD, "/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0).As("procfs")
		return r.proc
	}
	r.proc = Proc(p)
	return r.proc
}

// Proc records a procfs of the caller's pid namespace that is mounted nowhere.
// It takes CAP_SYS_ADMIN over that namespace.
func Proc(p *plan.Plan) plan.FD {
	p.Note("a procfs of our own, attached nowhere: the container cannot put something else in its place")
	fs := p.Fsopen("proc").As("fs")
	p.FsconfigCreate(fs)
	return p.Fsmount(fs, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC).As("procfs")
}

// Enter records the change of the root.
func (r *Root) Enter(p *plan.Plan) {
	p.Fchdir(r.root)
	if !r.host.OwnNS {
		p.Note("nothing to pivot: of the host's mount namespace, the process sees no more than its root directory")
		p.Chroot(".")
		return
	}
	p.Note("this directory becomes the root; the old root now lies on top of it")
	p.PivotRoot(".", ".")
	p.Note("and goes: with it, every mount of the host")
	p.Umount2(".", unix.MNT_DETACH)
	p.Chdir("/")
	if flags, ok := propagations[r.spec.Linux.RootfsPropagation]; ok {
		p.Mount("", "/", "", flags, "")
	}
}
