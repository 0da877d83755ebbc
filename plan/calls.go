package plan

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The methods below record one system call each. They are named after it and
// take its arguments in the order of its man page (section 2). A method says more only
// where the kernel's interface hides something. A call that only one room makes has no method
// here: the room uses [Plan.Call].

// Files and descriptors.

// Openat opens a path that only the host's administrator influences, such as one below /sys.
// For a path in a container's root use [Plan.OpenIn]: there a symbolic link could lead to
// any file of the host. perm counts only with O_CREAT.
func (p *Plan) Openat(dir FD, path string, flags int, perm uint32) *Step {
	args := []Arg{dir, String(path), Num(flags)}
	if flags&unix.O_CREAT != 0 {
		args = append(args, Num(perm))
	}
	return p.call("openat", unix.SYS_OPENAT, args...).Opens()
}

// Openat2 opens path below dir the way the resolve flags (RESOLVE_…) allow.
// Linux 5.6. If the kernel answers EAGAIN, the call is made again: see
// the function [Openat2].
func (p *Plan) Openat2(dir FD, path string, flags int, perm uint32, resolve uint64) *Step {
	how := &Memory{Bytes: words64(uint64(flags), uint64(perm), resolve)}
	return p.call("openat2", unix.SYS_OPENAT2, dir, String(path), how, Num(len(how.Bytes))).Opens()
}

// OpenIn opens path as the container will see it: root is its root directory,
// and no symbolic link, "..", or rename by another process leads out of it
// (RESOLVE_IN_ROOT). RESOLVE_NO_MAGICLINKS: the links in /proc/PID/fd and the like do not
// have a path, so they would lead out.
func (p *Plan) OpenIn(root FD, path string, flags int, perm uint32) *Step {
	return p.Openat2(root, path, flags|unix.O_CLOEXEC, perm, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS)
}

// OpenStrictly is OpenIn for a path in which no part must be a symbolic link: with one the
// call fails with ELOOP.
func (p *Plan) OpenStrictly(root FD, path string, flags int) *Step {
	return p.Openat2(root, path, flags|unix.O_CLOEXEC, 0, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_SYMLINKS)
}

// Close closes a descriptor.
func (p *Plan) Close(fd FD) *Step { return p.call("close", unix.SYS_CLOSE, fd) }

// CloseRange closes the descriptors from first+skip to last-1, or to the
// highest possible if last is nil. Linux 5.9.
func (p *Plan) CloseRange(first FD, skip int, last FD) *Step {
	from, to := Arg(first), Arg(Name{uintptr(^uint32(0)), "~0U"})
	if skip != 0 {
		from = Offset{first, skip}
	}
	if last != nil {
		to = Offset{last, -1}
	}
	return p.call("close_range", unix.SYS_CLOSE_RANGE, from, to, Num(0))
}

// Dup3 makes newfd the same open file as oldfd. Without O_CLOEXEC in flags, newfd stays open
// at execve. If the two are equal, the kernel says EINVAL.
func (p *Plan) Dup3(oldfd FD, newfd int, flags int) *Step {
	return p.call("dup3", unix.SYS_DUP3, oldfd, Num(newfd), Num(flags))
}

// Read reads up to n bytes into memory that no step uses: it is for waiting until there is
// something to read.
func (p *Plan) Read(fd FD, n int) *Step {
	return p.call("read", unix.SYS_READ, fd, &Memory{Bytes: make([]byte, n)}, Num(n))
}

// Write writes data; a short write is a failure.
func (p *Plan) Write(fd FD, data string) *Step {
	return p.call("write", unix.SYS_WRITE, fd, &Memory{Bytes: []byte(data)}, Num(len(data))).MustReturn(len(data))
}

// Mkdirat makes a directory.
func (p *Plan) Mkdirat(dir FD, path string, perm uint32) *Step {
	return p.call("mkdirat", unix.SYS_MKDIRAT, dir, String(path), Num(perm))
}

// Mknodat makes a file of the type in perm (S_IFCHR, S_IFBLK, S_IFIFO, S_IFREG);
// the numbers count only for devices.
func (p *Plan) Mknodat(dir FD, path string, perm uint32, major, minor uint32) *Step {
	args := []Arg{dir, String(path), Num(perm)}
	if kind := perm & unix.S_IFMT; kind == unix.S_IFCHR || kind == unix.S_IFBLK {
		args = append(args, Num(unix.Mkdev(major, minor)))
	}
	return p.call("mknodat", unix.SYS_MKNODAT, args...)
}

// Symlinkat makes path a symbolic link to target.
func (p *Plan) Symlinkat(target string, dir FD, path string) *Step {
	return p.call("symlinkat", unix.SYS_SYMLINKAT, String(target), dir, String(path))
}

// Fchownat sets the owner of path below dir; with path "" and AT_EMPTY_PATH, that of dir.
// 4294967295, which the kernel and strace call -1, leaves a user or group as it is.
func (p *Plan) Fchownat(dir FD, path string, uid, gid uint32, flags int) *Step {
	return p.call("fchownat", unix.SYS_FCHOWNAT, dir, String(path), Num(int32(uid)), Num(int32(gid)), Num(flags))
}

// Device makes sure that fd is a device of this kind (S_IFCHR, S_IFBLK) and with
// these numbers, or the step fails with ENODEV. It is for the child's steps: the
// child compares what statx(2) answers. In struct statx the type is in the high
// bits of the 16 at offset 28, and the numbers are at 128 and 132. Linux 4.11.
func (p *Plan) Device(fd *Step, kind, major, minor uint32) *Step {
	s := p.call("statx", unix.SYS_STATX, fd, String(""), Num(unix.AT_EMPTY_PATH), Num(unix.STATX_TYPE),
		&Memory{Bytes: make([]byte, int(unsafe.Sizeof(unix.Statx_t{})))})
	half := func(low, high uint32) uint64 { return binary.NativeEndian.Uint64(words32(low, high)) }
	s.Verified = []Comparison{{24, half(0, unix.S_IFMT), half(0, kind)}, {128, ^uint64(0), half(major, minor)}}
	return s.Explain(unix.ENODEV, fmt.Sprintf("what was opened is not the %s device %d:%d", deviceWord[kind], major, minor))
}

// deviceWord is how an error calls a kind of device.
var deviceWord = map[uint32]string{unix.S_IFCHR: "character", unix.S_IFBLK: "block", unix.S_IFIFO: "FIFO"}

// Ioctl records an ioctl(2) whose argument is a number. A request that returns a new
// descriptor, such as TIOCGPTPEER, needs [Step.Opens].
func (p *Plan) Ioctl(fd FD, request uint, arg int) *Step {
	return p.call("ioctl", unix.SYS_IOCTL, fd, Num(request), Num(arg))
}

// IoctlMemory records an ioctl(2) whose argument is the address of data; shown is what the
// printed plan has in place of data.
func (p *Plan) IoctlMemory(fd FD, request uint, data []byte, shown string) *Step {
	return p.call("ioctl", unix.SYS_IOCTL, fd, Num(request), &Memory{Bytes: data, Show: as(shown)})
}

// Sendmsg passes one descriptor (SCM_RIGHTS, unix(7)) along with data over a Unix socket:
// the receiver gets a descriptor of its own for the same open file. The message is a struct
// msghdr, which points to a struct iovec with the data, and to a control message (cmsg(3))
// with the descriptor. A stream socket needs at least one byte of data along with it.
func (p *Plan) Sendmsg(socket FD, data string, fd FD) *Step {
	control := words64(unix.SizeofCmsghdr + 4)
	control = append(control, words32(unix.SOL_SOCKET, unix.SCM_RIGHTS, 0, 0)...)
	iov := &Memory{Bytes: words64(0, uint64(len(data))), Points: map[int]*Memory{0: {Bytes: []byte(data)}}}
	rights := &Memory{Bytes: control, FDs32: map[int]FD{16: fd}}
	msg := &Memory{Bytes: words64(0, 0, 0, 1, 0, uint64(len(control)), 0), Points: map[int]*Memory{16: iov, 32: rights}}
	return p.call("sendmsg", unix.SYS_SENDMSG, socket, msg, Num(0))
}

// Mounts, the older calls.

// Mount is mount(2). The source, target and data may be "" where the man page
// says they are ignored.
func (p *Plan) Mount(source, target, fstype string, flags uintptr, data string) *Step {
	return p.call("mount", unix.SYS_MOUNT, optional(source), String(target), optional(fstype), Num(flags), optional(data))
}

// PivotRoot makes newRoot the root of the mount namespace and moves the old
// root to putOld; both may be ".", and then the old root lies on top of the new one. EINVAL
// says that newRoot is not a mount, or that a mount involved is shared.
func (p *Plan) PivotRoot(newRoot, putOld string) *Step {
	return p.call("pivot_root", unix.SYS_PIVOT_ROOT, String(newRoot), String(putOld))
}

// Mounts, by descriptors. Linux 5.2. mount(2) does in one call what these do in steps:
// fsopen begins a file system, fsconfig sets its options one by one, and then creates it,
// fsmount makes a mount of it, and move_mount attaches that to a directory. Until then
// nobody else can see the mount, and no path is involved that could be changed meanwhile.

// Fsopen begins a file system. The result is a descriptor of its configuration.
func (p *Plan) Fsopen(fstype string) *Step {
	return p.call("fsopen", unix.SYS_FSOPEN, String(fstype), Num(unix.FSOPEN_CLOEXEC)).Opens()
}

// FsconfigString sets an option that has a value. The kernel takes up to 255 bytes, so a
// longer value, such as a list of many layers, must be split.
func (p *Plan) FsconfigString(fs FD, key, value string) *Step {
	return p.call("fsconfig", unix.SYS_FSCONFIG, fs, Num(unix.FSCONFIG_SET_STRING), String(key), String(value), Num(0))
}

// FsconfigFlag sets an option that has no value.
func (p *Plan) FsconfigFlag(fs FD, key string) *Step {
	return p.call("fsconfig", unix.SYS_FSCONFIG, fs, Num(unix.FSCONFIG_SET_FLAG), String(key), Null, Num(0))
}

// FsconfigCreate makes the file system. If an option is wrong, it fails
// with EINVAL, and a read of the descriptor says which one (fsopen(2)).
func (p *Plan) FsconfigCreate(fs FD) *Step {
	return p.call("fsconfig", unix.SYS_FSCONFIG, fs, Num(unix.FSCONFIG_CMD_CREATE), Null, Null, Num(0))
}

// Fsmount makes a mount of the file system, which is not attached anywhere yet. attr is
// MOUNT_ATTR_…. The mount goes away with its last descriptor unless it is attached.
func (p *Plan) Fsmount(fs FD, attr uint64) *Step {
	return p.call("fsmount", unix.SYS_FSMOUNT, fs, Num(unix.FSMOUNT_CLOEXEC), Num(attr)).Opens()
}

// OpenTree opens a mounted directory or file: with OPEN_TREE_CLONE, as a new
// mount that is not attached anywhere yet.
func (p *Plan) OpenTree(dir FD, path string, flags uint) *Step {
	return p.call("open_tree", unix.SYS_OPEN_TREE, dir, String(path), Num(flags|unix.OPEN_TREE_CLOEXEC)).Opens()
}

// MoveMount attaches the mount that from refers to on the file or directory
// that to refers to. No path is involved, so nothing can be swapped on the way.
func (p *Plan) MoveMount(from, to FD) *Step {
	return p.call("move_mount", unix.SYS_MOVE_MOUNT, from, String(""), to, String(""),
		Num(unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH))
}

// A MountAttr is what mount_setattr(2) changes: struct mount_attr. Linux 5.12.
type MountAttr struct {
	Set, Clear  uint64 // MOUNT_ATTR_…
	Propagation uint64 // MS_SHARED, MS_PRIVATE, MS_SLAVE, MS_UNBINDABLE; 0: as it is
	UserNS      FD     // with MOUNT_ATTR_IDMAP: whose id maps to use; nil otherwise
}

// MountSetattr changes the mount that fd refers to; with AT_RECURSIVE in flags also those
// below it, all or none. mount(2) with MS_REMOUNT can change only the one. Linux 5.12.
func (p *Plan) MountSetattr(fd FD, flags uint, a MountAttr) *Step {
	m := &Memory{Bytes: words64(a.Set, a.Clear, a.Propagation, 0)}
	if a.UserNS != nil {
		m.FDs = map[int]FD{24: a.UserNS}
	}
	return p.call("mount_setattr", unix.SYS_MOUNT_SETATTR, fd, String(""), Num(flags|unix.AT_EMPTY_PATH), m, Num(len(m.Bytes)))
}

// The process.

// A Clone is the part of struct clone_args that plans use.
type Clone struct {
	Flags  uint64 // CLONE_NEW…, CLONE_PARENT; CLONE_CLEAR_SIGHAND is always added
	Cgroup FD     // the group to be born in; nil: the parent's. Linux 5.7
	PidFD  bool   // the runtime gets a pidfd; only for a clone3 of the runtime's
}

// Offsets in struct clone_args.
const (
	clonePidFD  = 8
	cloneCgroup = 80
)

// Clone3 makes the process that goes on with the steps of the next side: the
// monitor's or the intermediate process's after a clone3 of the runtime that is
// followed by one, else the child's. Linux 5.5.
//
// CLONE_CLEAR_SIGHAND gives the process the default action for every signal: the runtime's
// handlers are Go code, which must not run in it. No CLONE_VM: the process has a copy of the
// memory, as after fork(2).
func (p *Plan) Clone3(c Clone) *Step {
	p.fresh = p.fresh || p.side == Runtime
	c.Flags |= unix.CLONE_CLEAR_SIGHAND
	m := &Memory{}
	exit := uint64(unix.SIGCHLD)
	if c.Flags&unix.CLONE_PARENT != 0 {
		exit = 0 // the kernel refuses a signal here: it is the new parent's choice
	}
	if c.PidFD {
		c.Flags |= unix.CLONE_PIDFD
		m.Points = map[int]*Memory{clonePidFD: {Bytes: make([]byte, 8)}}
	}
	if c.Cgroup != nil {
		c.Flags |= unix.CLONE_INTO_CGROUP
		m.FDs = map[int]FD{cloneCgroup: c.Cgroup}
	}
	m.Bytes = words64(c.Flags, 0, 0, 0, exit, 0, 0, 0, 0, 0, 0)
	s := p.call("clone3", unix.SYS_CLONE3, m, Num(len(m.Bytes)))
	s.program = true
	return s
}

// Unshare moves the process from its namespaces of some kinds (CLONE_NEW…) to new ones.
func (p *Plan) Unshare(flags int) *Step { return p.call("unshare", unix.SYS_UNSHARE, Num(flags)) }

// Setns joins the namespace that fd refers to. If fd is a pidfd, it joins the namespaces of
// that process, of the kinds in flags (CLONE_NEW…; Linux 5.8): all or none. A pid namespace
// is joined only by the children that the process then makes.
func (p *Plan) Setns(fd FD, flags int) *Step {
	return p.call("setns", unix.SYS_SETNS, fd, Num(flags))
}

// Chdir changes the working directory.
func (p *Plan) Chdir(path string) *Step { return p.call("chdir", unix.SYS_CHDIR, String(path)) }

// Fchdir changes the working directory to an open one.
func (p *Plan) Fchdir(fd FD) *Step { return p.call("fchdir", unix.SYS_FCHDIR, fd) }

// Chroot changes the root directory. Other than pivot_root it changes nothing for other
// processes, and a privileged process can leave the directory again.
func (p *Plan) Chroot(path string) *Step { return p.call("chroot", unix.SYS_CHROOT, String(path)) }

// Umask sets the mask of permission bits that new files do not get.
func (p *Plan) Umask(mask uint32) *Step { return p.call("umask", unix.SYS_UMASK, Num(mask)) }

// Setsid starts a session without a terminal, of which this process is the leader. EPERM:
// it is the leader of a process group already; a freshly cloned process is not.
func (p *Plan) Setsid() *Step { return p.call("setsid", unix.SYS_SETSID) }

// Prctl records a prctl(2) with the operation (PR_…) and one argument. The others are 0,
// because some operations refuse anything else.
func (p *Plan) Prctl(op int, arg uintptr) *Step {
	return p.call("prctl", unix.SYS_PRCTL, Num(op), Num(arg), Num(0), Num(0), Num(0))
}

// PrctlAmbient raises one ambient capability or, with PR_CAP_AMBIENT_CLEAR_ALL, drops all.
func (p *Plan) PrctlAmbient(op int, capability uintptr) *Step {
	return p.call("prctl", unix.SYS_PRCTL, Num(unix.PR_CAP_AMBIENT), Num(op), Num(capability), Num(0), Num(0))
}

// Capset sets the capabilities of the process; bit n is capability n. The kernel refuses
// (EPERM) to add one that is not permitted already. The structs of version 3 hold the
// lower 32 capabilities first, then the upper.
func (p *Plan) Capset(effective, permitted, inheritable uint64) *Step {
	const version3 = 0x20080522
	return p.call("capset", unix.SYS_CAPSET, &Memory{Bytes: words32(version3, 0)},
		&Memory{Bytes: words32(uint32(effective), uint32(permitted), uint32(inheritable),
			uint32(effective>>32), uint32(permitted>>32), uint32(inheritable>>32))})
}

// Setgroups sets the supplementary groups; none for an empty list. It needs CAP_SETGID, and
// in a user namespace it may be denied for all (/proc/PID/setgroups).
func (p *Plan) Setgroups(gids []uint32) *Step {
	return p.call("setgroups", unix.SYS_SETGROUPS, Num(len(gids)), &Memory{Bytes: append(words32(gids...), 0)})
}

// Setresgid sets the real, effective and saved group. It goes before Setresuid, after which
// the privilege for it is gone.
func (p *Plan) Setresgid(gid uint32) *Step {
	return p.call("setresgid", unix.SYS_SETRESGID, Num(gid), Num(gid), Num(gid))
}

// Setresuid sets the real, effective and saved user. All three, because a process can go
// back to a saved one (credentials(7)).
func (p *Plan) Setresuid(uid uint32) *Step {
	return p.call("setresuid", unix.SYS_SETRESUID, Num(uid), Num(uid), Num(uid))
}

// Prlimit sets a resource limit (RLIMIT_…) of the process ([Plan.PID]). The soft
// and hard limit are in the resource's own unit; ^uint64(0) is no limit.
func (p *Plan) Prlimit(resource int, soft, hard uint64) *Step {
	return p.call("prlimit64", unix.SYS_PRLIMIT64, p.PID(), Num(resource), &Memory{Bytes: words64(soft, hard)}, Null)
}

// Seccomp loads a filter: every later system call of the process passes it, also execve. It
// needs CAP_SYS_ADMIN or no_new_privs (seccomp(2)). The filter is an array of struct
// sock_filter: a 16-bit code, two 8-bit jumps, and a 32-bit constant.
func (p *Plan) Seccomp(flags uint, filter []unix.SockFilter) *Step {
	code := &Memory{Bytes: make([]byte, 0, 8*len(filter))}
	for _, f := range filter {
		code.Bytes = append(code.Bytes, words64(uint64(f.Code)|uint64(f.Jt)<<16|uint64(f.Jf)<<24|uint64(f.K)<<32)...)
	}
	return p.call("seccomp", unix.SYS_SECCOMP, Num(unix.SECCOMP_SET_MODE_FILTER), Num(flags),
		&Memory{Bytes: words64(uint64(len(filter)), 0), Points: map[int]*Memory{8: code}})
}

// RtSigprocmask lets all signals through. The child was born with all of them blocked, and
// a program that is executed keeps the mask: without this step it could not be stopped by
// SIGTERM.
func (p *Plan) RtSigprocmask() *Step {
	return p.call("rt_sigprocmask", unix.SYS_RT_SIGPROCMASK, Num(unix.SIG_SETMASK), &Memory{Bytes: words64(0), Show: as("[]")}, Null, Num(8))
}

// Execve becomes the program at path. All descriptors that are close-on-exec are closed, the
// channel among them, which is how the runtime learns of it.
func (p *Plan) Execve(path string, argv, env []string) *Step {
	return p.call("execve", unix.SYS_EXECVE, String(path), stringArray(argv), stringArray(env))
}

// ExitGroup ends the process.
func (p *Plan) ExitGroup(status int) *Step {
	return p.call("exit_group", unix.SYS_EXIT_GROUP, Num(status))
}
