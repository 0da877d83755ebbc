package rootfs

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A Root is a container's file system, checked and ready to be recorded. Its
// methods record one part each; doc.go says in which order.
type Root struct {
	Warnings []string // what the spec asks for that has no effect; nil if nothing

	// Stack records a root directory that is stacked from layers; nil: it is there.
	Stack func(p *plan.Plan) plan.FD
	// Follow says where a path leads that goes through a link to what is missing; any
	// other path it returns unchanged, as it does until package below sets it.
	Follow func(path string) string

	Extra []Device // those of the spec (package devices), besides the ones that every container has

	spec   *specs.Spec
	facts  plan.Facts
	has    func(specs.LinuxNamespaceType) bool
	path   string // of the root directory on the host
	mounts []*Mount

	root     plan.FD            // the root directory, once it is recorded
	detached bool               // the root is a tree of mounts that is attached nowhere
	dirs     map[string]plan.FD // directories of new mounts, by their path in the container
	procs    []string           // the mounts of procfs and sysfs, in their order; they are in dirs
	ownProc  plan.FD            // see Proc
	devpts   plan.FD            // the container's /dev/pts
	readonly []plan.FD          // the mounts that Masks makes read-only
}

// New checks the root and the mounts of a spec. has
// says whether the container is in another namespace of a kind than the runtime.
// Relative paths of the spec start at bundle, an absolute path. isDir says whether
// the source of a bind mount is a directory. Errors name the property.
func New(spec *specs.Spec, facts plan.Facts, has func(specs.LinuxNamespaceType) bool, bundle string, isDir func(path string) bool) (*Root, error) {
	if spec.Root == nil || spec.Root.Path == "" {
		return nil, errors.New("root.path: missing")
	}
	r := &Root{spec: spec, facts: facts, has: has, path: absolute(bundle, spec.Root.Path), dirs: map[string]plan.FD{},
		Follow: func(path string) string { return path }}
	r.facts.NoMknod = facts.NoMknod || has(specs.UserNamespace)
	for i, m := range spec.Mounts {
		checked, err := newMount(m, bundle, isDir)
		if err != nil {
			return nil, MountError(i, m, err)
		}
		if checked.Type == "" { // mount(2) ignores them, too
			for _, option := range checked.Options {
				r.Warnings = append(r.Warnings, fmt.Sprintf("mounts[%d] %q: option %q: a bind mount makes no file system that could have it: left out", i, m.Destination, option))
			}
			checked.Options = nil
		}
		r.mounts = append(r.mounts, checked)
	}
	if _, ok := propagations[spec.Linux.RootfsPropagation]; !ok && spec.Linux.RootfsPropagation != "" {
		return nil, fmt.Errorf("linux.rootfsPropagation %q: not a propagation", spec.Linux.RootfsPropagation)
	}
	return r, nil
}

// MountError names the entry of the spec's mounts that an error is about.
func MountError(i int, m specs.Mount, err error) error {
	return fmt.Errorf("mounts[%d] %.100q: %w", i, m.Destination, err)
}

// Path is the root directory on the host.
func (r *Root) Path() string { return r.path }

// All are the spec's mounts, in its order.
func (r *Root) All() []*Mount { return r.mounts }

func absolute(bundle, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(bundle, path)
}

// Open records how the root directory becomes a mount and a descriptor: it is
// mounted on itself, or stacked from the layers of an image.
//
// A new mount namespace begins as a copy of the host's. Where a mount of the host
// is shared (systemd makes all of them so), its copy is shared with it: a mount in
// one appears in the other. So the first step is to make every copy a slave. Volumes
// that are to stay peers of the host's mounts are copied before; the copies are
// attached nowhere yet, so that step does not reach them.
func (r *Root) Open(p *plan.Plan) {
	if r.keepsPeers() {
		r.OpenAll(p, "linux.rootfsPropagation: what is mounted in this volume later appears on the host, too, unless the volume has a propagation of its own")
	}
	p.Note("first cut the ties to the host: its mounts may be shared, and ours would appear there, too; pivot_root would refuse")
	p.Mount("", "/", "", unix.MS_REC|r.hostPropagation(), "")
	if r.Stack != nil {
		r.root = r.Stack(p)
		return
	}
	dir, tree := r.copyTree(p)
	p.Note("why mount a directory on itself? pivot_root wants a mount")
	p.MoveMount(tree, dir)
	r.root = tree
}

// OpenTree is Open for a container without a mount namespace of its own (package
// detached): the root is a copy of the mounts at the root directory. It is attached
// nowhere, so the host does not see what is mounted in it.
func (r *Root) OpenTree(p *plan.Plan) plan.FD {
	_, tree := r.copyTree(p)
	r.hideFromHost(p, tree)
	r.root, r.detached = tree, true
	return tree
}

func (r *Root) copyTree(p *plan.Plan) (dir, tree *plan.Step) {
	dir = p.Openat(plan.CWD, r.path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0).As("root directory").
		Explain(unix.ENOENT, "no such root directory (root.path)")
	return dir, p.OpenTree(dir, "", unix.OPEN_TREE_CLONE|unix.AT_RECURSIVE|unix.AT_EMPTY_PATH).As("root")
}

// keepsPeers says whether the bind mounts stay peers of the host's mounts, where these
// are shared: a mount in one then appears in the other. linux.rootfsPropagation says so
// with rshared, and with each value that is about the root alone (shared, slave,
// private). In a user namespace nothing stays a peer: that is the kernel's own rule for
// the copies that are made there (mount_namespaces(7)).
func (r *Root) keepsPeers() bool {
	flags, ok := propagations[r.spec.Linux.RootfsPropagation]
	return ok && !r.has(specs.UserNamespace) && (flags&unix.MS_REC == 0 || flags&unix.MS_SHARED != 0)
}

// hideFromHost records that nothing which is mounted later in this copy of the
// host's mounts appears on the host, whose mounts may be shared. A slave still gets
// what the host mounts later; a private mount does not.
func (r *Root) hideFromHost(p *plan.Plan, tree plan.FD) {
	p.MountSetattr(tree, unix.AT_RECURSIVE, plan.MountAttr{Propagation: uint64(r.hostPropagation())})
}

// hostPropagation is what the container's copies of the host's mounts become. Neither
// kind passes anything on to the host.
func (r *Root) hostPropagation() uintptr {
	if strings.HasSuffix(r.spec.Linux.RootfsPropagation, "private") {
		return unix.MS_PRIVATE
	}
	return unix.MS_SLAVE
}

// MountOverlay records a root that is stacked from an image's layers, for package
// overlay: below the directory base, options name them.
func (r *Root) MountOverlay(p *plan.Plan, base, options string) plan.FD {
	p.Note("the options of one mount must fit in a page: the layers are named relative to their common directory")
	p.Chdir(base)
	p.Note("the image's layers, read-only, below a directory for what the container writes")
	p.Mount("overlay", r.path, "overlay", 0, options)
	return p.Openat(plan.CWD, r.path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0).As("root")
}

// Proc returns a procfs of our own, recorded at the first use. It is attached
// nowhere, so the container cannot put anything in its place. It is not the
// container's /proc: sysctls and labels that were written to that one could end
// in a file of the container's. The first use must come before PivotRoot.
//
// A process in the host's pid namespace and in a user namespace of its own cannot
// mount one; it gets the host's /proc.
func (r *Root) Proc(p *plan.Plan) plan.FD {
	switch {
	case r.ownProc != nil:
	case r.has(specs.PIDNamespace) || !r.has(specs.UserNamespace):
		r.ownProc = NewProc(p)
	default:
		r.ownProc = p.Openat(plan.CWD, "/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0).As("procfs")
	}
	return r.ownProc
}

// NewProc records a procfs of the caller's pid namespace that is attached nowhere.
// It takes CAP_SYS_ADMIN over that namespace.
func NewProc(p *plan.Plan) plan.FD {
	p.Note("a procfs of our own, attached nowhere: the container cannot put something else in its place")
	fs := p.Fsopen("proc").As("fs")
	p.FsconfigCreate(fs)
	return p.Fsmount(fs, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC).As("procfs")
}

// PivotRoot records the change of the root directory.
//
// pivot_root(2) makes another mount the root of the mount namespace, and mounts the
// old root somewhere below. There the program could still reach the host's files,
// so umount2 detaches the old root. Both arguments may be ".": then the old root is
// mounted on top of the new one, and umount2(".") takes it off again. So the image,
// which may be read-only, needs no directory for the old root. Why not chroot(2)? A
// process with CAP_SYS_CHROOT can leave a chroot, and the host's mounts would stay.
//
// linux.rootfsPropagation comes last because it may be "shared": pivot_root does not
// put the old root on a shared mount (EINVAL), and here it puts it on the new root.
func (r *Root) PivotRoot(p *plan.Plan) {
	p.Fchdir(r.root)
	p.Note("this directory becomes the root; the old root now lies on top of it")
	p.PivotRoot(".", ".")
	p.Note("the old root goes, and with it every mount of the host")
	p.Call("umount2", unix.SYS_UMOUNT2, plan.String("."), plan.Num(unix.MNT_DETACH))
	p.Chdir("/")
	if flags, ok := propagations[r.spec.Linux.RootfsPropagation]; ok {
		p.Note("the propagation that the spec asks for: last, because pivot_root refuses a shared root")
		p.Mount("", "/", "", flags, "")
	}
}
