package plan

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The methods below record one system call each. They are named after it and
// take its arguments in the order of its man page (section 2); a method says
// more only where the kernel's interface does.

// Files and descriptors.

// Openat opens a path that only the runtime's side influences. For a path in a
// container's root use [Plan.OpenIn]. perm counts only with O_CREAT.
func (p *Plan) Openat(dir FD, path string, flags int, perm uint32) *Step {
	args := []Arg{dir.descriptor(), text(path), {kind: access, value: uintptr(flags)}}
	if flags&unix.O_CREAT != 0 {
		args = append(args, mode(perm))
	}
	return p.call("openat", unix.SYS_OPENAT, args...).found(dir, path)
}

// Openat2 opens path below dir the way the resolve flags (RESOLVE_…) allow. Linux 5.6.
func (p *Plan) Openat2(dir FD, path string, flags int, perm uint32, resolve uint64) *Step {
	how := &memory{bytes: words64(uint64(flags), uint64(perm), resolve)}
	show := func() string {
		s := "{flags=" + openString(uintptr(flags))
		if perm != 0 {
			s += fmt.Sprintf(", mode=%#03o", perm)
		}
		return s + ", resolve=" + flagString(uintptr(resolve), resolveNames) + "}"
	}
	return p.call("openat2", unix.SYS_OPENAT2, dir.descriptor(), text(path), block(how, show), size(len(how.bytes))).found(dir, path)
}

// OpenIn opens path as the container will see it: root is its root directory,
// and no symbolic link, "..", or rename by another process leads out of it.
func (p *Plan) OpenIn(root FD, path string, flags int, perm uint32) *Step {
	return p.Openat2(root, path, flags|unix.O_CLOEXEC, perm, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS)
}

// OpenStrictly is OpenIn for a path in which there may be no symbolic link.
func (p *Plan) OpenStrictly(root FD, path string, flags int) *Step {
	return p.Openat2(root, path, flags|unix.O_CLOEXEC, 0, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_SYMLINKS)
}

// OpenProc opens a file of our own procfs: below dir, without following any
// link and without entering anything mounted over it.
func (p *Plan) OpenProc(proc FD, path string, flags int) *Step {
	return p.Openat2(proc, path, flags|unix.O_CLOEXEC, 0, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_XDEV)
}

// Close closes a descriptor.
func (p *Plan) Close(fd FD) *Step { return p.call("close", unix.SYS_CLOSE, fd.descriptor()) }

// CloseRange closes the descriptors from first+skip to last-1, or to the
// highest possible if last is nil. Linux 5.9.
func (p *Plan) CloseRange(first FD, skip int, last FD) *Step {
	from, to := first.descriptor(), words(uintptr(^uint32(0)), "~0U")
	from.value += uintptr(skip)
	if last != nil {
		to = last.descriptor()
		to.value--
	}
	return p.call("close_range", unix.SYS_CLOSE_RANGE, from, to, size(0))
}

// Dup3 makes newfd the same open file as oldfd.
func (p *Plan) Dup3(oldfd FD, newfd int, flags int) *Step {
	return p.call("dup3", unix.SYS_DUP3, oldfd.descriptor(), size(newfd), bits(uintptr(flags), openNames))
}

// Read reads up to n bytes that nobody looks at.
func (p *Plan) Read(fd FD, n int) *Step {
	return p.call("read", unix.SYS_READ, fd.descriptor(), out("...", n), size(n))
}

// Write writes data; a short write is a failure.
func (p *Plan) Write(fd FD, data string) *Step {
	m := &memory{bytes: []byte(data)}
	return p.call("write", unix.SYS_WRITE, fd.descriptor(), block(m, func() string { return quote(data) }), size(len(data))).Wants(len(data))
}

// Sendfile copies n bytes, at most 2147479552, between descriptors, each from
// its own position; a short copy is a failure.
func (p *Plan) Sendfile(out, in FD, n int) *Step {
	return p.call("sendfile", unix.SYS_SENDFILE, out.descriptor(), in.descriptor(), null(), size(n)).Wants(n)
}

// Mkdirat makes a directory.
func (p *Plan) Mkdirat(dir FD, path string, perm uint32) *Step {
	return p.call("mkdirat", unix.SYS_MKDIRAT, dir.descriptor(), text(path), mode(perm)).
		ShellLine(func() string { return fmt.Sprintf("mkdir -m %o %s", perm, Quote(where(dir, path))) })
}

// Mknodat makes a file of the type in perm (S_IFCHR, S_IFBLK, S_IFIFO, S_IFREG);
// the numbers count only for devices.
func (p *Plan) Mknodat(dir FD, path string, perm uint32, major, minor uint32) *Step {
	dev := unix.Mkdev(major, minor)
	kind := perm & unix.S_IFMT
	args := []Arg{dir.descriptor(), text(path), {kind: node, value: uintptr(perm)}}
	if kind == unix.S_IFCHR || kind == unix.S_IFBLK {
		args = append(args, Arg{kind: device, value: uintptr(dev)})
	}
	s := p.call("mknodat", unix.SYS_MKNODAT, args...)
	if letter, ok := nodLetter[kind]; ok {
		s.ShellLine(func() string {
			return fmt.Sprintf("mknod -m %o %s %s %d %d", perm&0o777, Quote(where(dir, path)), letter, major, minor)
		})
	}
	return s
}

// Symlinkat makes path a symbolic link to target.
func (p *Plan) Symlinkat(target string, dir FD, path string) *Step {
	return p.call("symlinkat", unix.SYS_SYMLINKAT, text(target), dir.descriptor(), text(path)).
		ShellLine(func() string { return "ln -s " + Quote(target) + " " + Quote(where(dir, path)) })
}

// Unlinkat removes a file or, with AT_REMOVEDIR, an empty directory.
func (p *Plan) Unlinkat(dir FD, path string, flags int) *Step {
	return p.call("unlinkat", unix.SYS_UNLINKAT, dir.descriptor(), text(path), bits(uintptr(flags), atNames))
}

// Fchownat sets the owner; with path "" and AT_EMPTY_PATH, that of dir itself.
// 4294967295, which the kernel and strace call -1, leaves a user or group as it is.
func (p *Plan) Fchownat(dir FD, path string, uid, gid uint32, flags int) *Step {
	return p.call("fchownat", unix.SYS_FCHOWNAT, dir.descriptor(), text(path), size(int(int32(uid))), size(int(int32(gid))), bits(uintptr(flags), atNames)).
		ShellLine(func() string { return chownCommand(where(dir, path), uid, gid) })
}

// Fchmod sets the mode of an open file.
func (p *Plan) Fchmod(fd FD, perm uint32) *Step {
	return p.call("fchmod", unix.SYS_FCHMOD, fd.descriptor(), mode(perm))
}

// Device makes sure that fd is a device: of this kind (S_IFCHR, S_IFBLK) and
// with these numbers, or the step fails with ENODEV. For steps of the child's,
// which compares what statx(2) answers: struct statx has the type in the high
// bits of the 16 at 28, and the numbers at 128 and 132. Linux 4.11.
func (p *Plan) Device(fd *Step, kind, major, minor uint32) *Step {
	at, dev := one(uintptr(kind), fileTypes), Arg{kind: device, value: uintptr(unix.Mkdev(major, minor))}
	s := p.call("statx", unix.SYS_STATX, fd.descriptor(), text(""), bits(unix.AT_EMPTY_PATH, atNames), words(unix.STATX_TYPE, "STATX_TYPE"),
		block(&memory{bytes: make([]byte, int(unsafe.Sizeof(unix.Statx_t{})))}, func() string { return "{stx_mode=" + at.String() + ", stx_rdev=" + dev.String() + "}" }))
	half := func(low, high uint32) uint64 { return binary.NativeEndian.Uint64(words32(low, high)) }
	s.holds = []held{{24, half(0, unix.S_IFMT), half(0, kind)}, {128, ^uint64(0), half(major, minor)}}
	s.ShellLine(func() string {
		return fmt.Sprintf(`[ "$(stat -L -c %%t:%%T %s)" = %x:%x ]`, Quote(where(fd.dir, fd.file)), major, minor)
	})
	return s.Means(unix.ENODEV, fmt.Sprintf("what was opened is not the %s device %d:%d", deviceWord[kind], major, minor))
}

var deviceWord = map[uint32]string{unix.S_IFCHR: "character", unix.S_IFBLK: "block", unix.S_IFIFO: "FIFO"}

// Ioctl with a number as argument.
func (p *Plan) Ioctl(fd FD, request uint, arg int) *Step {
	a := size(arg)
	if request == unix.TIOCGPTPEER {
		a.kind = access
	}
	return p.call("ioctl", unix.SYS_IOCTL, fd.descriptor(), one(uintptr(request), ioctlNames), a)
}

// IoctlMemory is ioctl with the address of data; shown is data for the reader.
func (p *Plan) IoctlMemory(fd FD, request uint, data []byte, shown string) *Step {
	return p.call("ioctl", unix.SYS_IOCTL, fd.descriptor(), one(uintptr(request), ioctlNames), block(&memory{bytes: data}, as(shown)))
}

// Socket makes a socket.
func (p *Plan) Socket(domain, kind, protocol int) *Step {
	return p.call("socket", unix.SYS_SOCKET, one(uintptr(domain), domainNames), bits(uintptr(kind), socketNames), size(protocol))
}

// Sendmsg passes one descriptor (SCM_RIGHTS) along with data over a Unix socket.
func (p *Plan) Sendmsg(socket FD, data string, fd FD) *Step {
	control := words64(unix.SizeofCmsghdr + 4)
	control = append(control, words32(unix.SOL_SOCKET, unix.SCM_RIGHTS, 0, 0)...)
	iov := &memory{bytes: words64(0, uint64(len(data))), points: map[int]*memory{0: {bytes: []byte(data)}}}
	rights := &memory{bytes: control, narrow: map[int]FD{16: fd}}
	msg := &memory{bytes: words64(0, 0, 0, 1, 0, uint64(len(control)), 0), points: map[int]*memory{16: iov, 32: rights}}
	return p.call("sendmsg", unix.SYS_SENDMSG, socket.descriptor(), block(msg, func() string {
		return fmt.Sprintf("{msg_iov=[{iov_base=%s, iov_len=%d}], msg_control=[{cmsg_type=SCM_RIGHTS, cmsg_data=[%s]}]}", quote(data), len(data), fd.descriptor())
	}), size(0))
}

// Mounts, the older calls.

// Mount is mount(2). The source, target and data may be "" where the man page
// says they are ignored.
func (p *Plan) Mount(source, target, fstype string, flags uintptr, data string) *Step {
	d := null()
	if data != "" {
		d = text(data)
	}
	return p.call("mount", unix.SYS_MOUNT, optional(source), text(target), optional(fstype), bits(flags, mountNames), d).
		ShellLine(func() string { return mountCommand(source, target, fstype, flags, data) })
}

// Umount2 detaches what is mounted on target.
func (p *Plan) Umount2(target string, flags int) *Step {
	return p.call("umount2", unix.SYS_UMOUNT2, text(target), bits(uintptr(flags), umountNames)).
		Shell("umount -l %s", target)
}

// PivotRoot makes newRoot the root of the mount namespace and moves the old
// root to putOld; both may be ".".
func (p *Plan) PivotRoot(newRoot, putOld string) *Step {
	return p.call("pivot_root", unix.SYS_PIVOT_ROOT, text(newRoot), text(putOld)).
		Shell("pivot_root %s %s", newRoot, putOld)
}

// Mounts, by descriptors. Linux 5.2.

// Fsopen starts a file system that does not exist yet: returns its context.
func (p *Plan) Fsopen(fstype string) *Step {
	return p.call("fsopen", unix.SYS_FSOPEN, text(fstype), bits(unix.FSOPEN_CLOEXEC, fsopenNames))
}

// FsconfigString sets a parameter of a file system context; the kernel takes up to 255 bytes.
func (p *Plan) FsconfigString(fs FD, key, value string) *Step {
	return p.call("fsconfig", unix.SYS_FSCONFIG, fs.descriptor(), one(unix.FSCONFIG_SET_STRING, fsconfigNames), text(key), text(value), size(0))
}

// FsconfigFlag sets a parameter that has no value.
func (p *Plan) FsconfigFlag(fs FD, key string) *Step {
	return p.call("fsconfig", unix.SYS_FSCONFIG, fs.descriptor(), one(unix.FSCONFIG_SET_FLAG, fsconfigNames), text(key), null(), size(0))
}

// FsconfigCreate makes the file system of the context.
func (p *Plan) FsconfigCreate(fs FD) *Step {
	return p.call("fsconfig", unix.SYS_FSCONFIG, fs.descriptor(), one(unix.FSCONFIG_CMD_CREATE, fsconfigNames), null(), null(), size(0))
}

// Fsmount makes a mount of it that is not attached anywhere yet. attr is MOUNT_ATTR_….
func (p *Plan) Fsmount(fs FD, attr uint64) *Step {
	return p.call("fsmount", unix.SYS_FSMOUNT, fs.descriptor(), bits(unix.FSMOUNT_CLOEXEC, fsmountNames), bits(uintptr(attr), mountAttrNames))
}

// OpenTree opens a mounted directory or file: with OPEN_TREE_CLONE, as a new
// mount that is not attached anywhere yet.
func (p *Plan) OpenTree(dir FD, path string, flags uint) *Step {
	s := p.call("open_tree", unix.SYS_OPEN_TREE, dir.descriptor(), text(path), bits(uintptr(flags)|unix.OPEN_TREE_CLOEXEC, openTreeNames))
	s.deep = flags&unix.AT_RECURSIVE != 0
	return s.found(dir, path)
}

// MoveMount attaches the mount that from refers to on the file or directory
// that to refers to. No path is involved, so nothing can be swapped on the way.
func (p *Plan) MoveMount(from, to FD) *Step {
	s := p.call("move_mount", unix.SYS_MOVE_MOUNT, from.descriptor(), text(""), to.descriptor(), text(""),
		bits(unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH, moveMountNames))
	if tree, ok := from.(*Step); ok {
		tree.at = to
		s.ShellLine(func() string { return attach(tree, to) })
	}
	return s
}

// A MountAttr is what mount_setattr(2) changes: struct mount_attr. Linux 5.12.
type MountAttr struct {
	Set, Clear  uint64 // MOUNT_ATTR_…
	Propagation uint64 // MS_SHARED, MS_PRIVATE, MS_SLAVE, MS_UNBINDABLE; 0: as it is
	UserNS      FD     // with MOUNT_ATTR_IDMAP: whose id maps to use; nil otherwise
}

// MountSetattr changes the mount that fd refers to; with AT_RECURSIVE those below too.
func (p *Plan) MountSetattr(fd FD, flags uint, a MountAttr) *Step {
	m := &memory{bytes: words64(a.Set, a.Clear, a.Propagation, 0)}
	if a.UserNS != nil {
		m.fds = map[int]FD{24: a.UserNS}
	}
	return p.call("mount_setattr", unix.SYS_MOUNT_SETATTR, fd.descriptor(), text(""), bits(uintptr(flags)|unix.AT_EMPTY_PATH, atNames),
		block(m, a.String), size(len(m.bytes)))
}

// String prints what changes.
func (a MountAttr) String() string {
	userns := "0"
	if a.UserNS != nil {
		userns = a.UserNS.descriptor().String()
	}
	return fmt.Sprintf("{attr_set=%s, attr_clr=%s, propagation=%s, userns_fd=%s}", flagString(uintptr(a.Set), mountAttrNames),
		flagString(uintptr(a.Clear), mountAttrNames), flagString(uintptr(a.Propagation), mountNames), userns)
}

// The process.

// A Clone is the part of struct clone_args that plans use.
type Clone struct {
	Flags  uint64 // CLONE_NEW…, CLONE_PARENT; CLONE_CLEAR_SIGHAND is always added
	Cgroup FD     // the group to be born in; nil: the parent's. Linux 5.7
	PidFD  bool   // the runtime gets a pidfd; only for a clone3 of the runtime's
}

// Clone3 makes the process that goes on with the steps of the next side: the
// monitor's after a clone3 of the runtime that is followed by one, else the
// child's. Linux 5.5.
func (p *Plan) Clone3(c Clone) *Step {
	p.fresh = p.fresh || p.side == Runtime
	c.Flags |= unix.CLONE_CLEAR_SIGHAND
	m := &memory{}
	exit := uint64(unix.SIGCHLD)
	if c.Flags&unix.CLONE_PARENT != 0 {
		exit = 0 // the kernel refuses a signal here: it is the new parent's choice
	}
	if c.PidFD {
		c.Flags |= unix.CLONE_PIDFD
		m.points = map[int]*memory{8: {bytes: make([]byte, 8)}}
	}
	if c.Cgroup != nil {
		c.Flags |= unix.CLONE_INTO_CGROUP
		m.fds = map[int]FD{80: c.Cgroup}
	}
	m.bytes = words64(c.Flags, 0, 0, 0, exit, 0, 0, 0, 0, 0, 0)
	s := p.call("clone3", unix.SYS_CLONE3, block(m, c.String), size(len(m.bytes)))
	s.program = true
	return s.found(c.Cgroup, "cgroup.procs")
}

// String prints the fields that are set.
func (c Clone) String() string {
	s := "{flags=" + flagString(uintptr(c.Flags), cloneNames)
	if c.Flags&unix.CLONE_PARENT == 0 {
		s += ", exit_signal=SIGCHLD"
	}
	if c.Cgroup != nil {
		s += ", cgroup=" + c.Cgroup.descriptor().String()
	}
	return s + "}"
}

// Unshare leaves namespaces for new ones.
func (p *Plan) Unshare(flags int) *Step {
	return p.call("unshare", unix.SYS_UNSHARE, bits(uintptr(flags), cloneNames))
}

// Setns joins the namespace that fd refers to, or with a pidfd the kinds in
// flags of that process (Linux 5.8).
func (p *Plan) Setns(fd FD, flags int) *Step {
	return p.call("setns", unix.SYS_SETNS, fd.descriptor(), bits(uintptr(flags), cloneNames))
}

// Chdir changes the working directory.
func (p *Plan) Chdir(path string) *Step {
	return p.call("chdir", unix.SYS_CHDIR, text(path)).Shell("cd %s", path)
}

// Fchdir changes the working directory to an open one.
func (p *Plan) Fchdir(fd FD) *Step {
	return p.call("fchdir", unix.SYS_FCHDIR, fd.descriptor()).Shell("cd %s", fd)
}

// Chroot changes the root directory.
func (p *Plan) Chroot(path string) *Step {
	return p.call("chroot", unix.SYS_CHROOT, text(path)).Shell("chroot %s", path)
}

// Sethostname names the host of the UTS namespace.
func (p *Plan) Sethostname(name string) *Step {
	return p.call("sethostname", unix.SYS_SETHOSTNAME, text(name), size(len(name))).Shell("hostname %s", name)
}

// Setdomainname names the NIS domain of the UTS namespace.
func (p *Plan) Setdomainname(name string) *Step {
	return p.call("setdomainname", unix.SYS_SETDOMAINNAME, text(name), size(len(name))).Shell("domainname %s", name)
}

// Umask sets the file mode creation mask.
func (p *Plan) Umask(mask uint32) *Step {
	return p.call("umask", unix.SYS_UMASK, mode(mask)).Shell("umask %04o", mask)
}

// Setsid starts a session without a terminal.
func (p *Plan) Setsid() *Step { return p.call("setsid", unix.SYS_SETSID) }

// Prctl takes the operation (PR_…) and its first argument.
func (p *Plan) Prctl(op int, arg uintptr) *Step {
	return p.call("prctl", unix.SYS_PRCTL, one(uintptr(op), prctlNames), prctlArgument(op, arg), size(0), size(0), size(0))
}

// PrctlName names the calling thread (PR_SET_NAME), in at most 15 bytes: what
// ps(1) calls comm.
func (p *Plan) PrctlName(name string) *Step {
	return p.call("prctl", unix.SYS_PRCTL, one(unix.PR_SET_NAME, prctlNames), text(name))
}

// PrctlAmbient raises one ambient capability or, with PR_CAP_AMBIENT_CLEAR_ALL, drops all.
func (p *Plan) PrctlAmbient(op int, capability uintptr) *Step {
	c := size(0)
	if op == unix.PR_CAP_AMBIENT_RAISE {
		c = words(capability, capabilityName(capability))
	}
	return p.call("prctl", unix.SYS_PRCTL, words(unix.PR_CAP_AMBIENT, "PR_CAP_AMBIENT"), one(uintptr(op), ambientNames), c, size(0), size(0))
}

// Capset sets the capabilities of the process; bit n is capability n.
func (p *Plan) Capset(effective, permitted, inheritable uint64) *Step {
	const version3 = 0x20080522
	header := &memory{bytes: words32(version3, 0)}
	data := &memory{bytes: words32(uint32(effective), uint32(permitted), uint32(inheritable),
		uint32(effective>>32), uint32(permitted>>32), uint32(inheritable>>32))}
	show := func() string {
		return fmt.Sprintf("{effective=%s, permitted=%s, inheritable=%s}", capabilityMask(effective), capabilityMask(permitted), capabilityMask(inheritable))
	}
	return p.call("capset", unix.SYS_CAPSET, block(header, as("{version=_LINUX_CAPABILITY_VERSION_3, pid=0}")), block(data, show))
}

// Setgroups sets the supplementary groups; none for an empty list.
func (p *Plan) Setgroups(gids []uint32) *Step {
	return p.call("setgroups", unix.SYS_SETGROUPS, size(len(gids)), block(&memory{bytes: append(words32(gids...), 0)}, func() string {
		return strings.ReplaceAll(fmt.Sprint(gids), " ", ", ")
	}))
}

// Setresgid sets the real, effective and saved group.
func (p *Plan) Setresgid(gid uint32) *Step {
	return p.call("setresgid", unix.SYS_SETRESGID, size(int(gid)), size(int(gid)), size(int(gid)))
}

// Setresuid sets the real, effective and saved user.
func (p *Plan) Setresuid(uid uint32) *Step {
	return p.call("setresuid", unix.SYS_SETRESUID, size(int(uid)), size(int(uid)), size(int(uid)))
}

// Prlimit sets a resource limit (RLIMIT_…) of the process ([Plan.PID]). The soft
// and hard limit are in the resource's own unit; ^uint64(0) is no limit.
func (p *Plan) Prlimit(resource int, soft, hard uint64) *Step {
	m := &memory{bytes: words64(soft, hard)}
	return p.call("prlimit64", unix.SYS_PRLIMIT64, p.PID(), one(uintptr(resource), rlimitNames), block(m, func() string {
		return fmt.Sprintf("{rlim_cur=%s, rlim_max=%s}", limit(soft), limit(hard))
	}), null())
}

// Seccomp loads a filter: every later system call of the process passes it.
func (p *Plan) Seccomp(flags uint, filter []unix.SockFilter) *Step {
	code := &memory{bytes: make([]byte, 0, 8*len(filter))}
	for _, f := range filter {
		code.bytes = append(code.bytes, words64(uint64(f.Code)|uint64(f.Jt)<<16|uint64(f.Jf)<<24|uint64(f.K)<<32)...)
	}
	m := &memory{bytes: words64(uint64(len(filter)), 0), points: map[int]*memory{8: code}}
	return p.call("seccomp", unix.SYS_SECCOMP, words(unix.SECCOMP_SET_MODE_FILTER, "SECCOMP_SET_MODE_FILTER"), bits(uintptr(flags), seccompNames),
		block(m, func() string {
			return fmt.Sprintf("{len=%d, filter=[...]}", len(filter))
		}))
}

// RtSigprocmask lets all signals through: the child was born with all blocked.
func (p *Plan) RtSigprocmask() *Step {
	return p.call("rt_sigprocmask", unix.SYS_RT_SIGPROCMASK, words(2, "SIG_SETMASK"), block(&memory{bytes: words64(0)}, as("[]")), null(), size(8))
}

// Execve becomes the program at path.
func (p *Plan) Execve(path string, argv, env []string) *Step {
	list := func(l []string) Arg { return block(stringArray(l), func() string { return quoteList(l) }) }
	return p.call("execve", unix.SYS_EXECVE, text(path), list(argv), list(env)).ShellLine(func() string {
		words := append([]string{path}, argv[min(1, len(argv)):]...)
		if len(argv) > 0 && !strings.Contains(argv[0], "/") {
			words[0] = argv[0] // env(1) searches the new PATH
		}
		return "exec env -i " + strings.Join(quoteAll(append(slices.Clone(env), words...)), " ")
	})
}

// Waitid waits until the child that pid is the number of has ended, and leaves
// the 128 bytes of siginfo_t in info.
func (p *Plan) Waitid(pid *Step, info *Memory) *Step {
	return p.call("waitid", unix.SYS_WAITID, words(unix.P_PID, "P_PID"), pid.descriptor(), block(info.m, as("{...}")), words(unix.WEXITED, "WEXITED"), null())
}

// A Memory is a block that one step fills and a later one reads.
type Memory struct{ m *memory }

// NewMemory returns a block of n zero bytes.
func NewMemory(n int) *Memory { return &Memory{&memory{bytes: make([]byte, n)}} }

// WriteMemory writes a whole block.
func (p *Plan) WriteMemory(fd FD, b *Memory) *Step {
	n := len(b.m.bytes)
	return p.call("write", unix.SYS_WRITE, fd.descriptor(), block(b.m, as("{...}")), size(n)).Wants(n)
}

// ExitGroup ends the process.
func (p *Plan) ExitGroup(status int) *Step {
	return p.call("exit_group", unix.SYS_EXIT_GROUP, size(status))
}

// Call records a system call that has no method of its own: for one that only
// one room needs. Its arguments are made by [Number], [Named], [Text], [Ref] and
// [Block], in the order of the man page.
func (p *Plan) Call(name string, number uintptr, args ...Arg) *Step {
	return p.call(name, number, args...)
}

// BpfProgLoad loads a BPF program of 8-byte instructions that asks for no
// privileged kernel function (license ""): returns its descriptor. Needs
// CAP_BPF. [bpf(2)].
//
// [bpf(2)]: https://man7.org/linux/man-pages/man2/bpf.2.html
func (p *Plan) BpfProgLoad(kind uint32, name string, code []uint64) *Step {
	attr := &memory{bytes: words32(kind, uint32(len(code))), points: map[int]*memory{
		8:  {bytes: words64(code...)},
		16: {bytes: make([]byte, 1)},
	}}
	attr.bytes = append(attr.bytes, make([]byte, bpfAttrSize-len(attr.bytes))...)
	s := p.call("bpf", unix.SYS_BPF, words(unix.BPF_PROG_LOAD, "BPF_PROG_LOAD"), block(attr, func() string {
		return fmt.Sprintf("{prog_type=%s, insn_cnt=%d, insns=[...], license=\"\"}", name, len(code))
	}), size(len(attr.bytes)))
	s.opens = true
	return s
}

// bpfAttrSize is that of union bpf_attr: of the whole of it, since kernels have
// written more of it than they were told that there is.
const bpfAttrSize = 152

// BpfProgAttach attaches a program to a cgroup, besides those that are there.
func (p *Plan) BpfProgAttach(cgroup, program FD, kind uint32, name string) *Step {
	attr := &memory{bytes: words32(0, 0, kind, unix.BPF_F_ALLOW_MULTI), narrow: map[int]FD{0: cgroup, 4: program}}
	attr.bytes = append(attr.bytes, make([]byte, bpfAttrSize-len(attr.bytes))...)
	return p.call("bpf", unix.SYS_BPF, words(unix.BPF_PROG_ATTACH, "BPF_PROG_ATTACH"), block(attr, func() string {
		return fmt.Sprintf("{target_fd=%s, attach_bpf_fd=%s, attach_type=%s, attach_flags=BPF_F_ALLOW_MULTI}", cgroup.descriptor(), program.descriptor(), name)
	}), size(len(attr.bytes)))
}
