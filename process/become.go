package process

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/plan"
)

// Early records what needs our own procfs, in which the container has no hand:
// the labels of security modules, which take effect at execve. proc is called
// only if there is something to write; it is not to be the container's /proc,
// where anything may lie in the way (CVE-2025-52881).
func (i *Identity) Early(p *plan.Plan, proc func(*plan.Plan) plan.FD) {
	if profile := i.spec.ApparmorProfile; profile != "" {
		i.label(p, proc(p), "AppArmor profile", "exec "+profile, "the kernel does not run AppArmor", "thread-self/attr/apparmor/exec", "thread-self/attr/exec")
	}
	if label := i.spec.SelinuxLabel; label != "" {
		i.label(p, proc(p), "SELinux label", label, "no such label, or the kernel does not run SELinux", "thread-self/attr/exec")
	}
}

// label records the writing of one label. A kernel without the security module
// says EINVAL, or has no such file; but without one, all are unconfined.
func (i *Identity) label(p *plan.Plan, proc plan.FD, name, text, invalid string, files ...string) {
	// Not OpenProc: thread-self is a link, of procfs's own.
	const resolve = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_MAGICLINKS
	var opened []*plan.Step
	p.Note("a label that takes effect at execve")
	p.Alternatives([]unix.Errno{unix.ENOENT}, func() {
		for _, file := range files {
			opened = append(opened, p.Openat2(proc, file, unix.O_WRONLY|unix.O_CLOEXEC, 0, resolve).As(name))
		}
	})
	for _, f := range opened {
		w := p.Write(f, text).Explain(unix.EINVAL, invalid).Explain(unix.ENOENT, "no such profile is loaded")
		if text == "exec unconfined" {
			w.Tolerate(unix.EINVAL)
		}
	}
}

// Become records who the process is, up to the point where only the program is
// missing. The current directory is the container's root.
func (i *Identity) Become(p *plan.Plan) {
	p.Note("timers as precise as any process has them: the runtime's own may be late (container/protect.go)")
	p.Prctl(unix.PR_SET_TIMERSLACK, 50_000)
	if !i.spec.Terminal {
		p.Setsid()
	}
	i.directory(p)
	i.closeAll(p)
	i.limits.record(p, i.Outside)
	if i.personal != nil {
		p.Call("personality", unix.SYS_PERSONALITY, plan.Number(*i.personal))
	}
	if i.memory != nil {
		p.SetMempolicy(i.memory.mode, i.memory.nodes)
	}
	i.dropBounding(p)
	i.user(p)
	if !i.OldKeys {
		p.Note("a session keyring of its own: the caller's keys stay the caller's (ENOSYS: there are no keys)")
		p.KeyctlJoinSessionKeyring().Tolerate(unix.ENOSYS).Shell("keyctl new_session")
	}
	if !i.spec.NoNewPrivileges || i.Listens() {
		i.seccomp(p)
	}
	i.capabilities(p)
	if i.spec.NoNewPrivileges {
		p.Note("no program, setuid or not, will ever give more than this")
		p.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1)
	}
}

// directory records the working directory: opened as the container sees it,
// without the links in /proc that lead anywhere (CVE-2024-21626), and while we
// are still root: it need not be one that the user could enter.
func (i *Identity) directory(p *plan.Plan) {
	dir := strings.TrimLeft(i.spec.Cwd, "/")
	if dir == "" {
		return
	}
	p.Note("the working directory, wherever links in the container point")
	p.Fchdir(p.OpenIn(plan.CWD, dir, unix.O_PATH|unix.O_DIRECTORY, 0).As("cwd").Explain(unix.ENOENT, "no such working directory"))
}

// closeAll records the closing of every descriptor but those that the program
// gets and those that lead back to the runtime, which execve closes.
func (i *Identity) closeAll(p *plan.Plan) {
	p.Note("nothing of ours stays open, whatever the runtime's caller left open")
	kept := []plan.FD{plan.Channel}
	if i.Fifo {
		kept = append(kept, plan.Copy)
	}
	if i.Listens() {
		kept = append(kept, plan.Listener)
	}
	p.CloseRange(plan.Num(3+i.Keep), 0, plan.Channel)
	for n, fd := range kept[1:] {
		p.CloseRange(kept[n], 1, fd)
	}
	p.CloseRange(kept[len(kept)-1], 1, nil)
}

// dropBounding records which capabilities the process and its children can
// never get, whatever they execute. One more than we know of: a newer kernel's.
func (i *Identity) dropBounding(p *plan.Plan) {
	p.Note("capabilities that no program here can ever gain (EINVAL: the kernel has fewer)")
	for c := range len(plan.Capabilities) + 1 {
		if i.caps.bounding&(1<<c) == 0 {
			p.Prctl(unix.PR_CAPBSET_DROP, uintptr(c)).Tolerate(unix.EINVAL)
		}
	}
}

// user records the change of the groups and the user: groups first, since it
// takes a privilege that goes with root.
func (i *Identity) user(p *plan.Plan) {
	u := i.spec.User
	umask := uint32(0o022)
	if u.Umask != nil {
		umask = *u.Umask
	}
	p.Umask(umask)
	if u.UID != 0 {
		p.Note("without this, all capabilities would go with the user root")
		p.Prctl(unix.PR_SET_KEEPCAPS, 1)
	}
	isOwn := func(gid uint32) bool { return gid == u.GID }
	if more := slices.DeleteFunc(slices.Clone(u.AdditionalGids), isOwn); !i.NoSets || len(more) > 0 {
		p.Note("always, even to none: else the caller's groups would be the container's")
		p.Setgroups(u.AdditionalGids)
	}
	p.Setresgid(u.GID)
	p.Setresuid(u.UID)
}

// capabilities records the final sets. Inheritable ones are none unless the
// spec asks: a file's capabilities could bring them back.
func (i *Identity) capabilities(p *plan.Plan) {
	p.Capset(i.caps.effective, i.caps.permitted, i.caps.inheritable)
	if i.caps.ambient == 0 {
		return
	}
	p.Note("ambient capabilities outlive an execve by an ordinary user")
	for c := range len(plan.Capabilities) {
		if i.caps.ambient&(1<<c) != 0 {
			p.PrctlAmbient(unix.PR_CAP_AMBIENT_RAISE, uintptr(c))
		}
	}
}

// Listens says whether the filter has a listener, which must be passed on while
// the runtime is still there: over the Unix socket given as [plan.Listener].
func (i *Identity) Listens() bool { return i.filter != nil && i.filter.Listener }

// seccomp records the loading of the filter while CAP_SYS_ADMIN is still there
// to allow it. From here on the filter must let through what we do ourselves:
// capset, prctl, sendto, read, rt_sigprocmask, execve.
func (i *Identity) seccomp(p *plan.Plan) {
	if i.filter == nil {
		return
	}
	if i.spec.User.UID != 0 {
		p.Note("CAP_SYS_ADMIN once more: the change of the user switched it off")
		const admin = 1 << unix.CAP_SYS_ADMIN
		p.Capset(admin, i.caps.permitted|admin, 0)
	}
	p.Note("loading a filter takes CAP_SYS_ADMIN, or no_new_privs: so before the capabilities go")
	listener := p.Seccomp(i.filter.Flags, i.filter.Program)
	if i.filter.Listener {
		p.Note("somebody else will answer for some system calls: who holds this descriptor")
		p.Sendmsg(plan.Listener, "seccompFd", listener.As("listener"))
		p.Close(listener)
	}
}

// Look records a check that the program can be executed, for a create that
// would else have nothing to say until start. (A directory passes it.)
func (i *Identity) Look(p *plan.Plan) {
	p.Alternatives(searchErrnos, func() {
		for _, file := range i.candidates() {
			p.Faccessat(plan.CWD, file, unix.X_OK)
		}
	})
}

// Exec records the last steps, after [plan.Plan.Ready].
func (i *Identity) Exec(p *plan.Plan) {
	p.Note("signals were blocked since the clone: nobody could have answered them")
	p.RtSigprocmask()
	if i.filter != nil && i.spec.NoNewPrivileges && !i.Listens() {
		p.Note("as late as possible: what the filter must allow of ours is only execve")
		p.Seccomp(i.filter.Flags, i.filter.Program)
	}
	p.Note("the process becomes the program; everything above it keeps")
	p.Alternatives(searchErrnos, func() {
		for _, file := range i.candidates() {
			p.Execve(file, i.spec.Args, i.env)
		}
	})
}

// searchErrnos are those after which a shell, too, tries the next directory of PATH.
var searchErrnos = []unix.Errno{unix.ENOENT, unix.EACCES, unix.ENOTDIR}

// candidates are the files that the program's name may mean: itself if it has
// a slash, else one in each directory of the container's PATH. An empty or
// relative directory there counts from the root, not from the working directory.
func (i *Identity) candidates() []string {
	program := cmp.Or(i.Program, i.spec.Args[0])
	if strings.Contains(program, "/") {
		return []string{program}
	}
	search := i.variable("PATH")
	if search == "" {
		search = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	}
	var list []string
	for _, dir := range strings.Split(search, ":") {
		list = append(list, path.Join("/", dir, program))
	}
	return list
}
