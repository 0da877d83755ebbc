package namespaces

import (
	"encoding/binary"
	"fmt"
	"maps"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"

	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// This file records how the container process gets into its namespaces. Who
// joins one, and when, follows from three rules of the kernel's:
//
//	It takes privileges over the namespace itself; in a user namespace of its
//	own the child has lost the host's. So what can be joined before clone3 is.
//	A thread can join pid (for its children), net, ipc and uts alone; cgroup,
//	time and mount are for the child, which has one thread.
//	A process with threads, as the runtime is, can join no user namespace. So
//	a process in between does; it makes the child, and ends. Nor can who is
//	root of a user namespace only come back to one of the host's.

// Before records how the runtime opens the namespaces that are joined, and
// checks that each is of its kind (ioctl_ns(2)): a container that was to join a
// network must not end up in somebody's user namespace. Nor must one be the
// host's if the spec changes what is in it. [New] has asked that of the path; but
// joined is what the descriptor refers to, and nobody can exchange that.
func (s *Set) Before(p *plan.Plan) {
	for _, k := range kinds {
		path, ok := s.paths[k.flag]
		if !ok {
			continue
		}
		fd := p.Openat(plan.CWD, path, unix.O_RDONLY|unix.O_CLOEXEC, 0).As(k.file + " namespace")
		p.Ioctl(fd, unix.NS_GET_NSTYPE, 0).Expect(int(k.flag), fmt.Errorf("%s is not a %s namespace: %w", path, k.name, unix.EINVAL))
		if property, ok := s.needed[k.flag]; ok {
			p.Note("what the spec changes in it would else be changed on the host")
			p.Do("fstat(<"+k.file+" namespace>): not that of "+ownPath(k), func(r *plan.Process) error {
				var stat unix.Stat_t
				if err := unix.Fstat(r.Result(fd), &stat); err != nil {
					return err
				}
				if same, err := isOwn(stat, k); err != nil || !same {
					return err
				}
				return oursError(property, path, k.name)
			})
		}
		s.opened[k.flag] = fd
	}
}

// Clone records the birth of the container process in its new namespaces, and
// in those joined ones that one must be born in. It is recorded on the side
// that is to clone, the runtime or a monitor, and returns the clone3; c.Flags
// are added to. Afterwards the plan may be on another side.
//
// If it joins a user namespace, or the runtime could not come back from others,
// the process is one of a process in between, and the runtime gets no pidfd.
func (s *Set) Clone(p *plan.Plan, c plan.Clone, host Host) *plan.Step {
	c.Flags |= s.flags()
	if s.Between(host) {
		return s.cloneBetween(p, c, host)
	}
	back := s.visit(p)
	what := "namespaces and a cgroup"
	if s.moved {
		what = "namespaces"
	}
	p.Note("the one call that makes a container: a copy of this process, in " + what + " of its own")
	child := p.Clone3(c).ShellLine(s.Unshare)
	for _, b := range back {
		p.Setns(b.fd, int(b.flag))
	}
	return child
}

// own is a namespace of the runtime's, to go back to.
type own struct {
	fd   plan.FD
	flag uint64
}

// visit records how a thread joins namespaces for the sake of its next child.
func (s *Set) visit(p *plan.Plan) []own {
	var back []own
	for _, k := range kinds {
		fd, ok := s.opened[k.flag]
		if !ok || !k.early {
			continue
		}
		if k.flag == unix.CLONE_NEWPID {
			hide(p, "processes in that pid namespace will see the child from its birth: they must not look into it")
		}
		if len(back) == 0 {
			p.Note("joined before the clone, with privileges that the child may not have; each first opens the way back")
		}
		back = append(back, own{home(p, k), k.flag})
		p.Setns(fd, int(k.flag))
		s.thread = true
	}
	return back
}

// home records a descriptor of the caller's own namespace.
func home(p *plan.Plan, k kind) *plan.Step {
	return p.Openat(plan.CWD, ownPath(k), unix.O_RDONLY|unix.O_CLOEXEC, 0).As("own " + k.file + " namespace")
}

// hide records that nobody without privileges over the runtime's own user
// namespace may trace the process or look at its memory, descriptors and
// program (ptrace(2), "Ptrace access mode checking"). Children inherit it,
// execve ends it.
func hide(p *plan.Plan, why string) {
	p.Note(why)
	p.Prctl(unix.PR_SET_DUMPABLE, 0)
}

// cloneBetween records a process in between that joins everything, a user
// namespace last: up to then it has the privileges of the runtime, if those
// are root's. Without them all it may do to the others is what the user
// namespace gives it.
func (s *Set) cloneBetween(p *plan.Plan, c plan.Clone, host Host) *plan.Step {
	monitor := p.Side() == plan.Monitor // has no threads either, and may join itself
	if !monitor {
		why := "the runtime has threads, and so may not join a user namespace"
		if !s.joins(specs.UserNamespace) {
			why = "root of a user namespace could join others, but not the host's again"
		}
		c = between(p, c, why)
	}
	hide(p, "processes in the namespaces that are joined must not look into this one")
	user, ok := s.opened[unix.CLONE_NEWUSER]
	if ok && host.Euid != 0 {
		p.Setns(user, unix.CLONE_NEWUSER)
	}
	for _, k := range kinds {
		if fd, ok := s.opened[k.flag]; ok && k.flag != unix.CLONE_NEWUSER {
			p.Setns(fd, int(k.flag))
		}
	}
	if ok && host.Euid == 0 {
		p.Note("the user namespace last, and with it go the privileges over all others")
		p.Setns(user, unix.CLONE_NEWUSER)
	}
	p.Note("the one call that makes a container; its new namespaces belong to the user namespace that this process is in")
	child := p.Clone3(c).Reported().ShellLine(s.Unshare)
	if !monitor {
		p.ExitGroup(0)
	}
	return child
}

// between records a process between the runtime and the child, and returns how
// it is to clone. It is not the child's parent: the runtime is.
func between(p *plan.Plan, c plan.Clone, why string) plan.Clone {
	p.Note("an intermediate process: " + why)
	p.Clone3(plan.Clone{Cgroup: c.Cgroup})
	p.On(plan.Intermediate)
	return plan.Clone{Flags: c.Flags | unix.CLONE_PARENT}
}

// OnThread calls start, on a thread of its own if the runtime's steps change
// the thread that makes them; the thread ends with it.
func (s *Set) OnThread(start func() (*plan.Process, error)) (process *plan.Process, err error) {
	if !s.thread {
		return start()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the goroutine's end is the thread's
		process, err = start()
	}()
	<-done
	return process, err
}

// Enter records the child's first steps: id maps, clocks, the joins that are
// left, names, loopback, network devices.
func (s *Set) Enter(p *plan.Plan, host Host) {
	if s.Makes(specs.UserNamespace) {
		p.Note("who is who: only from outside can it be said which users the new user namespace has")
		p.Gate("id maps", func() { s.writeMaps(p, host) })
	}
	s.clocks(p)
	for _, k := range kinds {
		if fd, ok := s.opened[k.flag]; ok && !k.early && !s.Between(host) {
			p.Setns(fd, int(k.flag))
		}
	}
	s.becomeRoot(p)
	// Not before the id maps: /proc/PID/uid_map of a hidden process belongs to root.
	hide(p, "from here on no process of the container can look into this one (ptrace, /proc), until execve")
	if s.spec.Hostname != "" {
		p.Sethostname(s.spec.Hostname)
	}
	if s.spec.Domainname != "" {
		p.Setdomainname(s.spec.Domainname)
	}
	if s.Makes(specs.NetworkNamespace) {
		loopback(p)
	}
	s.moveDevices(p)
}

// Settle records the child's first step after it was moved into its cgroup.
func (s *Set) Settle(p *plan.Plan) {
	if s.moved && s.Makes(specs.CgroupNamespace) {
		p.Note("not before: the group that a process is in when it makes a cgroup namespace is the root of that")
		p.Unshare(unix.CLONE_NEWCGROUP)
	}
}

// becomeRoot records how the child becomes root of its user namespace. It has
// all capabilities there in any case; but the files that it makes should
// belong to somebody. Where root is not mapped, it stays who it is.
func (s *Set) becomeRoot(p *plan.Plan) {
	if s.joins(specs.UserNamespace) {
		becomeRootIfMapped(p)
	}
	if !s.Makes(specs.UserNamespace) {
		return
	}
	if mapped(0, s.spec.Linux.GIDMappings) {
		p.Setresgid(0)
	}
	if mapped(0, s.spec.Linux.UIDMappings) {
		p.Setresuid(0)
	}
}

// becomeRootIfMapped is for a user namespace that was made by somebody else:
// EINVAL says that it has no root.
func becomeRootIfMapped(p *plan.Plan) {
	p.Note("root of the user namespace, if it has one")
	p.Setresgid(0).Tolerate(unix.EINVAL)
	p.Setresuid(0).Tolerate(unix.EINVAL)
}

func mapped(id uint32, list []specs.LinuxIDMapping) bool {
	return slices.ContainsFunc(list, func(m specs.LinuxIDMapping) bool { return overlap(id, 1, m.ContainerID, m.Size) })
}

// clocks records a new time namespace. The one who unshares it stays outside,
// since the offsets must be set before the first process enters: execve does
// (since Linux 6.1; before, only a child of ours would have). The host's /proc
// is still there, and the file is ours only as long as we are not hidden.
func (s *Set) clocks(p *plan.Plan) {
	if !s.Makes(specs.TimeNamespace) {
		return
	}
	p.Note("a time namespace: its clocks are set before execve enters it")
	p.Unshare(unix.CLONE_NEWTIME)
	for _, clock := range slices.Sorted(maps.Keys(s.spec.Linux.TimeOffsets)) {
		offset := s.spec.Linux.TimeOffsets[clock]
		f := p.Openat(plan.CWD, "/proc/self/timens_offsets", unix.O_WRONLY|unix.O_CLOEXEC, 0).As("timens_offsets")
		p.Write(f, fmt.Sprintf("%s %d %d\n", clock, offset.Secs, offset.Nanosecs))
		p.Close(f)
	}
}

// loopback records that the loopback device goes up (netdevice(7)).
func loopback(p *plan.Plan) {
	p.Note("a new network namespace has a loopback device, which is down")
	socket := p.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0).As("socket")
	request := make([]byte, 40) // struct ifreq
	copy(request, "lo")
	binary.NativeEndian.PutUint16(request[unix.IFNAMSIZ:], unix.IFF_UP|unix.IFF_RUNNING)
	p.IoctlMemory(socket, unix.SIOCSIFFLAGS, request, `{ifr_name="lo", ifr_flags=IFF_UP|IFF_RUNNING}`).
		Shell("ip link set lo up")
	p.Close(socket)
}

// Exec records the birth of a process in a running container whose namespaces
// the set lists; container is a pidfd of its process (setns(2), Linux 5.8).
// The plan is on the child's side afterwards.
//
// Processes of the container see the child from its birth. To be hidden is not
// enough: who has CAP_SYS_PTRACE, and no user namespace around it, looks into
// any process that it sees (CVE-2016-9962). So a process in between, which it
// does not see, joins everything first; the child is born with the container's
// root, and without a descriptor that leads to the host. (Who is not root
// needs it in any case: a process with threads cannot join a user namespace.)
// The runtime then gets no pidfd.
//
// A mount namespace brings its root along. Without one, root is the container's,
// to change to; nil otherwise.
func (s *Set) Exec(p *plan.Plan, container, root plan.FD, c plan.Clone, host Host) {
	all := s.all()
	if all&(unix.CLONE_NEWPID|unix.CLONE_NEWUSER) == 0 { // nothing is between it and the host's processes
		p.Clone3(c)
		p.On(plan.Child)
		s.follow(p, container, all)
		changeRoot(p, root)
		return
	}
	group := c.Cgroup
	c = between(p, c, "the container sees the child from its birth, and this one not at all")
	hide(p, "processes of the container must not look into this one, nor into the child")
	if group != nil {
		p.Note("the child is born where this process is, and must not have a directory of the host's")
		p.Close(group)
	}
	if host.Euid != 0 && all&unix.CLONE_NEWUSER != 0 {
		p.Setns(container, int(all))
	} else {
		s.follow(p, container, all)
	}
	changeRoot(p, root)
	p.Clone3(c).Reported()
	p.ExitGroup(0)
	p.On(plan.Child)
	if host.Euid != 0 && all&unix.CLONE_NEWUSER != 0 {
		becomeRootIfMapped(p)
	}
}

func changeRoot(p *plan.Plan, root plan.FD) {
	if root == nil {
		return
	}
	p.Note("the container is in the host's mount namespace, but sees no more of it than this directory")
	p.Fchdir(root)
	p.Chroot(".")
	p.Close(root)
}

// follow records how a process of root's joins them: the user namespace last,
// since with it go the privileges over the others.
func (s *Set) follow(p *plan.Plan, container plan.FD, all uint64) {
	if rest := all &^ unix.CLONE_NEWUSER; rest != 0 {
		p.Setns(container, int(rest))
	}
	if all&unix.CLONE_NEWUSER == 0 {
		return
	}
	p.Setns(container, unix.CLONE_NEWUSER)
	becomeRootIfMapped(p)
	hide(p, "again: a change of the user may have undone it (fs.suid_dumpable)")
}

// all are the flags of every namespace that is not the runtime's.
func (s *Set) all() uint64 {
	flags := s.fresh
	for f := range s.paths {
		flags |= f
	}
	return flags
}
