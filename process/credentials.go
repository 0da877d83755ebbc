package process

import (
	"slices"

	"golang.org/x/sys/unix"

	"minirun/plan"
)

// Credentials records how the process gives up root's privileges (credentials(7)).
// The order is forced: the first three steps need capabilities, which the fourth
// gives up.
//
//	dropBounding      needs CAP_SETPCAP
//	changeUser        needs CAP_SETGID and CAP_SETUID
//	loadFilter        needs CAP_SYS_ADMIN; or no_new_privs: then it comes right before execve
//	setCapabilities   needs nothing; the process keeps what the program may have
//	no_new_privs      needs nothing, and cannot be undone
func (i *Identity) Credentials(p *plan.Plan) {
	i.dropBounding(p)
	i.changeUser(p)
	if !i.NoNewKeyring {
		p.Note("a new session keyring: the program does not get the caller's keys (ENOSYS: the kernel has no keyrings)")
		p.Call("keyctl", unix.SYS_KEYCTL, plan.Name{Value: unix.KEYCTL_JOIN_SESSION_KEYRING, Text: "KEYCTL_JOIN_SESSION_KEYRING"}, plan.Null).
			Tolerate(unix.ENOSYS)
	}
	if i.filter != nil && !i.loadsLast() {
		i.loadFilter(p)
	}
	i.setCapabilities(p)
	if i.spec.NoNewPrivileges {
		p.Note("from now on no program, setuid or not, gives the process more than it has")
		p.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1)
	}
}

// changeUser records the change of the groups and the user. Groups come first,
// because changing them takes a privilege that goes with root.
func (i *Identity) changeUser(p *plan.Plan) {
	u := i.spec.User
	umask := uint32(0o022)
	if u.Umask != nil {
		umask = *u.Umask
	}
	p.Umask(umask)
	if u.UID != 0 {
		p.Note("keep capabilities for the moment: the kernel clears them all when root becomes another user")
		p.Prctl(unix.PR_SET_KEEPCAPS, 1)
	}
	isPrimary := func(gid uint32) bool { return gid == u.GID }
	others := slices.DeleteFunc(slices.Clone(u.AdditionalGids), isPrimary)
	if !i.SetgroupsDenied || len(others) > 0 { // denied, the call fails and says why
		p.Note("always set the groups, even to none: otherwise the process keeps the caller's")
		p.Setgroups(u.AdditionalGids)
	}
	p.Setresgid(u.GID)
	p.Setresuid(u.UID)
}

// HasListener says whether the seccomp filter leaves decisions to another
// process. The caller then provides a Unix socket as [plan.Listener], over which
// the child sends the listener's descriptor.
func (i *Identity) HasListener() bool { return i.filter != nil && i.filter.Listener }

// loadsLast says whether the filter is loaded right before execve. That needs
// no_new_privs. A filter with a listener cannot wait: the runtime must still be
// there when its descriptor is sent.
func (i *Identity) loadsLast() bool { return i.spec.NoNewPrivileges && !i.HasListener() }

// loadFilter records the loading of the filter while the process still has
// CAP_SYS_ADMIN, which allows it without no_new_privs. From here on the filter
// must let through the calls that the plan still makes: capset, prctl, sendto,
// read, rt_sigprocmask, execve.
func (i *Identity) loadFilter(p *plan.Plan) {
	if i.spec.User.UID != 0 {
		p.Note("CAP_SYS_ADMIN once more: the change of the user switched it off")
		p.Capset(1<<unix.CAP_SYS_ADMIN, i.caps.permitted|1<<unix.CAP_SYS_ADMIN, 0)
	}
	p.Note("loading a filter takes CAP_SYS_ADMIN or no_new_privs: so before the capabilities go")
	listener := p.Seccomp(i.filter.Flags, i.filter.Program)
	if i.filter.Listener {
		p.Note("pass the listener on: its owner decides the system calls that the filter leaves open")
		p.Sendmsg(plan.Listener, "seccompFd", listener.As("listener"))
		p.Close(listener)
	}
}
