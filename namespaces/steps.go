package namespaces

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// This file records how the container process gets its new namespaces, and what
// it does first in them:
//
//	Clone         runtime  clone3(2) with the flags of all new namespaces but time
//	UnshareCgroup child    only if another process moves it into its cgroup
//	WriteIDMaps   runtime  at a gate: the ids of a new user namespace
//	SetUp         child    root, not dumpable, host name, loopback
//
// The packages below this one add steps for what few specs ask for: clocks and
// joined namespaces between WriteIDMaps and SetUp, network devices after SetUp.

// Clone records the birth of the container process in its new namespaces. It is
// recorded on the side of the process that clones. c.Flags are added to.
//
// CLONE_NEWTIME is not among the flags: it would put the child into the new time
// namespace at once, and from then on its clocks cannot be set. Package clocks
// unshares it.
func (s *Set) Clone(p *plan.Plan, c plan.Clone) *plan.Step {
	c.Flags |= s.made &^ unix.CLONE_NEWTIME
	if s.cgroupLater {
		c.Flags &^= unix.CLONE_NEWCGROUP
	}
	what := "namespaces"
	if c.Cgroup != nil {
		what = "namespaces and a cgroup"
	}
	p.Note("the one call that makes a container: a copy of this process, in " + what + " of its own")
	return p.Clone3(c)
}

// DeferCgroup is for a child that is not born in its cgroup but moved there while
// it waits at a gate. A cgroup namespace takes as its root the cgroup of its
// maker, so the child must make it after the move: with UnshareCgroup, not in
// Clone.
func (s *Set) DeferCgroup() { s.cgroupLater = true }

// UnshareCgroup records that the child makes the cgroup namespace that
// DeferCgroup has put off.
func (s *Set) UnshareCgroup(p *plan.Plan) {
	if s.cgroupLater && s.Makes(specs.CgroupNamespace) {
		p.Note("only now: a cgroup namespace takes as its root the cgroup of the process that makes it")
		p.Unshare(unix.CLONE_NEWCGROUP)
	}
}

// WriteIDMaps records a gate at which the runtime writes the id maps of a new
// user namespace. Only root can write any ids; for an ordinary user, package
// subids does it.
func (s *Set) WriteIDMaps(p *plan.Plan) {
	if !s.Makes(specs.UserNamespace) || s.facts.Euid != 0 {
		return
	}
	p.Note("only a process outside of the new user namespace can say which users and groups it has")
	p.Gate("id maps", func() {
		IDMap(s.spec.Linux.UIDMappings).Write(p, "uid_map")
		IDMap(s.spec.Linux.GIDMappings).Write(p, "gid_map")
	})
}

// SetUp records the child's first steps when it is in all of its namespaces.
func (s *Set) SetUp(p *plan.Plan) {
	if s.Makes(specs.UserNamespace) {
		s.becomeRoot(p)
	}
	// Not before the id maps: /proc/PID/uid_map of a process that is not dumpable
	// belongs to root, and an ordinary user could not write it.
	NotDumpable(p, "until execve no process of the container can trace this one, or look into it through /proc")
	if s.spec.Hostname != "" {
		p.Call("sethostname", unix.SYS_SETHOSTNAME, plan.String(s.spec.Hostname), plan.Num(len(s.spec.Hostname)))
	}
	if s.spec.Domainname != "" {
		p.Call("setdomainname", unix.SYS_SETDOMAINNAME, plan.String(s.spec.Domainname), plan.Num(len(s.spec.Domainname)))
	}
	if s.Makes(specs.NetworkNamespace) {
		loopback(p)
	}
}

// becomeRoot records how the child becomes root of its new user namespace. It
// has all capabilities there anyway, but as a user without a number inside it
// would make files that belong to nobody. If the map has no root, it stays that
// user.
func (s *Set) becomeRoot(p *plan.Plan) {
	if _, ok := IDMap(s.spec.Linux.GIDMappings).ToHost(0); ok {
		p.Setresgid(0)
	}
	if _, ok := IDMap(s.spec.Linux.UIDMappings).ToHost(0); ok {
		p.Setresuid(0)
	}
}

// NotDumpable records that no process without privileges over the runtime's own
// user namespace can trace this one, or see its memory, descriptors and program
// in /proc (ptrace(2), "Ptrace access mode checking"). Children inherit it;
// execve ends it, and so may a change of the user (fs.suid_dumpable in
// proc_sys_fs(5)).
func NotDumpable(p *plan.Plan, why string) {
	p.Note(why)
	p.Prctl(unix.PR_SET_DUMPABLE, 0)
}

// loopback records that the loopback device is switched on (netdevice(7)).
func loopback(p *plan.Plan) {
	p.Note("a new network namespace has a loopback device, which is down")
	socket := p.Call("socket", unix.SYS_SOCKET, plan.Num(unix.AF_INET), plan.Num(unix.SOCK_DGRAM|unix.SOCK_CLOEXEC), plan.Num(0)).Opens().As("socket")
	request := make([]byte, 40) // struct ifreq
	copy(request, "lo")
	binary.NativeEndian.PutUint16(request[unix.IFNAMSIZ:], unix.IFF_UP|unix.IFF_RUNNING)
	p.IoctlMemory(socket, unix.SIOCSIFFLAGS, request, `{ifr_name="lo", ifr_flags=IFF_UP|IFF_RUNNING}`)
	p.Close(socket)
}
