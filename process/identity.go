package process

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/plan"
	"minirun/process/seccomp"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// An Identity is a process of a spec, checked and ready to be recorded.
type Identity struct {
	spec *specs.Process

	bounding, effective, permitted, inheritable, ambient uint64

	limits []rlimit
	filter *seccomp.Filter // nil: none
	env    []string
	Fifo   bool // the child will wait on exec.fifo
	Keep   int  // how many descriptors from 3 on the program gets
	NoSets bool // setgroups(2) is denied in this user namespace
}

type rlimit struct {
	resource   int
	soft, hard uint64
}

// New checks a process. Errors name the property.
func New(p *specs.Process, filter *specs.LinuxSeccomp) (*Identity, error) {
	i := &Identity{spec: p, env: environment(p.Env)}
	if err := i.check(); err != nil {
		return nil, err
	}
	if err := errors.Join(i.readCapabilities(), i.readLimits()); err != nil {
		return nil, err
	}
	if filter != nil {
		compiled, err := seccomp.Compile(filter)
		if err != nil {
			return nil, err
		}
		i.filter = compiled
	}
	return i, nil
}

func (i *Identity) check() error {
	p := i.spec
	switch {
	case len(p.Args) == 0 || p.Args[0] == "":
		return errors.New("process.args: no program")
	case !path.IsAbs(p.Cwd):
		return fmt.Errorf("process.cwd %q: not an absolute path", p.Cwd)
	case p.User.UID == 1<<32-1 || p.User.GID == 1<<32-1:
		return errors.New("process.user: 4294967295 is no id")
	case p.User.Umask != nil && *p.User.Umask > 0o777:
		return fmt.Errorf("process.user.umask %d: at most 511 (octal 777)", *p.User.Umask)
	case p.OOMScoreAdj != nil && (*p.OOMScoreAdj < -1000 || *p.OOMScoreAdj > 1000):
		return fmt.Errorf("process.oomScoreAdj %d: want -1000 to 1000", *p.OOMScoreAdj)
	case p.ApparmorProfile != "" && p.ApparmorProfile != "unconfined":
		return fmt.Errorf("process.apparmorProfile %q: minirun does not do AppArmor", p.ApparmorProfile)
	case p.SelinuxLabel != "":
		return fmt.Errorf("process.selinuxLabel %q: minirun does not do SELinux", p.SelinuxLabel)
	case p.Scheduler != nil:
		return errors.New("process.scheduler: minirun does not set it")
	case p.IOPriority != nil:
		return errors.New("process.ioPriority: minirun does not set it")
	case p.ExecCPUAffinity != nil:
		return errors.New("process.execCPUAffinity: minirun does not set it")
	}
	return nil
}

// environment keeps of variables with one name the last.
func environment(env []string) []string {
	place := map[string]int{}
	var kept []string
	for _, e := range env {
		name, _, _ := strings.Cut(e, "=")
		if i, ok := place[name]; ok {
			kept[i] = e
			continue
		}
		place[name] = len(kept)
		kept = append(kept, e)
	}
	return kept
}

func (i *Identity) readCapabilities() error {
	c := i.spec.Capabilities
	if c == nil {
		return nil // none at all
	}
	for _, set := range []struct {
		name string
		from []string
		to   *uint64
	}{
		{"bounding", c.Bounding, &i.bounding}, {"effective", c.Effective, &i.effective}, {"permitted", c.Permitted, &i.permitted},
		{"inheritable", c.Inheritable, &i.inheritable}, {"ambient", c.Ambient, &i.ambient},
	} {
		bits, err := mask(set.name, set.from)
		if err != nil {
			return err
		}
		*set.to = bits
	}
	return nil
}

// resources are the limits of getrlimit(2).
var resources = map[string]int{
	"RLIMIT_CPU": unix.RLIMIT_CPU, "RLIMIT_FSIZE": unix.RLIMIT_FSIZE, "RLIMIT_DATA": unix.RLIMIT_DATA, "RLIMIT_STACK": unix.RLIMIT_STACK,
	"RLIMIT_CORE": unix.RLIMIT_CORE, "RLIMIT_RSS": unix.RLIMIT_RSS, "RLIMIT_NPROC": unix.RLIMIT_NPROC, "RLIMIT_NOFILE": unix.RLIMIT_NOFILE,
	"RLIMIT_MEMLOCK": unix.RLIMIT_MEMLOCK, "RLIMIT_AS": unix.RLIMIT_AS, "RLIMIT_LOCKS": unix.RLIMIT_LOCKS, "RLIMIT_SIGPENDING": unix.RLIMIT_SIGPENDING,
	"RLIMIT_MSGQUEUE": unix.RLIMIT_MSGQUEUE, "RLIMIT_NICE": unix.RLIMIT_NICE, "RLIMIT_RTPRIO": unix.RLIMIT_RTPRIO, "RLIMIT_RTTIME": unix.RLIMIT_RTTIME,
}

func (i *Identity) readLimits() error {
	for n, l := range i.spec.Rlimits {
		resource, ok := resources[l.Type]
		switch {
		case !ok:
			return fmt.Errorf("process.rlimits[%d].type %q: no such limit", n, l.Type)
		case slices.ContainsFunc(i.limits, func(r rlimit) bool { return r.resource == resource }):
			return fmt.Errorf("process.rlimits[%d].type %q: given twice", n, l.Type)
		case l.Soft > l.Hard:
			return fmt.Errorf("process.rlimits[%d] %s: soft limit %d above the hard limit %d", n, l.Type, l.Soft, l.Hard)
		}
		i.limits = append(i.limits, rlimit{resource, l.Soft, l.Hard})
	}
	return nil
}

// Early records what needs a procfs that the container has no hand in. proc is
// called only if there is something to write.
func (i *Identity) Early(p *plan.Plan, proc func(*plan.Plan) plan.FD) {
	if i.spec.OOMScoreAdj != nil {
		p.Note("who is killed first when memory runs out")
		f := p.OpenProc(proc(p), "self/oom_score_adj", unix.O_WRONLY).As("oom_score_adj")
		p.Write(f, strconv.Itoa(*i.spec.OOMScoreAdj))
		p.Close(f)
	}
}

// Become records who the process is, up to the point where only the program is
// missing.
func (i *Identity) Become(p *plan.Plan) {
	if !i.spec.Terminal {
		p.Setsid()
	}
	p.Note("a session keyring of its own: the caller's keys stay the caller's")
	p.Call("keyctl", unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, 0).Tolerate(unix.ENOSYS)
	for _, l := range i.limits {
		p.Prlimit(l.resource, l.soft, l.hard)
	}
	i.dropBounding(p)
	if !i.spec.NoNewPrivileges {
		i.seccomp(p, "loading a filter takes CAP_SYS_ADMIN, or no_new_privs: so before the capabilities go")
	}
	i.user(p)
	i.capabilities(p)
	if i.spec.NoNewPrivileges {
		p.Note("no program, setuid or not, will ever give more than this")
		p.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1)
	}
	i.closeAll(p)
	p.Note("only now a path of the container's: none of our descriptors can be in its way (/proc/self/fd/7)")
	p.Chdir(i.spec.Cwd)
}

// dropBounding records which capabilities the process and its children can
// never get, whatever they execute.
func (i *Identity) dropBounding(p *plan.Plan) {
	p.Note("capabilities that no program here can ever gain")
	for c := range plan.Capabilities {
		if i.bounding&(1<<c) == 0 {
			p.Prctl(unix.PR_CAPBSET_DROP, uintptr(c)).Tolerate(unix.EINVAL) // an older kernel has fewer
		}
	}
}

// user records the change of the groups and the user.
func (i *Identity) user(p *plan.Plan) {
	u := i.spec.User
	p.Note("without this, the capabilities would go with the user root")
	p.Prctl(unix.PR_SET_KEEPCAPS, 1)
	if !i.NoSets {
		p.Setgroups(u.AdditionalGids)
	}
	p.Setresgid(u.GID)
	p.Setresuid(u.UID)
	umask := uint32(0o022)
	if u.Umask != nil {
		umask = *u.Umask
	}
	p.Umask(umask)
}

func (i *Identity) capabilities(p *plan.Plan) {
	p.Capset(i.effective, i.permitted, i.inheritable)
	for c := range uint(len(plan.Capabilities)) {
		if i.ambient&i.inheritable&i.permitted&(1<<c) != 0 {
			p.PrctlAmbient(unix.PR_CAP_AMBIENT_RAISE, uintptr(c))
		}
	}
}

// closeAll records the closing of every descriptor but those that the program
// gets and those that lead back to the runtime, which execve closes.
func (i *Identity) closeAll(p *plan.Plan) {
	p.Note("nothing of ours stays open, whatever the runtime's caller left open")
	p.CloseRange(plan.Num(3+i.Keep), 0, plan.Channel)
	if i.Fifo {
		p.CloseRange(plan.Channel, 1, plan.Copy)
		p.CloseRange(plan.Copy, 1, nil)
	} else {
		p.CloseRange(plan.Channel, 1, nil)
	}
}

func (i *Identity) seccomp(p *plan.Plan, why string) {
	if i.filter != nil {
		p.Note(why)
		p.Seccomp(i.filter.Flags, i.filter.Program)
	}
}

// Look records a check that the program can be executed, for a create that
// would else have nothing to say until start.
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
	if i.spec.NoNewPrivileges {
		i.seccomp(p, "as late as possible: from here on the filter must allow what we do")
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
// a slash, else one in each directory of the container's PATH.
func (i *Identity) candidates() []string {
	program := i.spec.Args[0]
	if strings.Contains(program, "/") {
		return []string{program}
	}
	search := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	for _, e := range i.env {
		if value, ok := strings.CutPrefix(e, "PATH="); ok {
			search = value
		}
	}
	var list []string
	for _, dir := range strings.Split(search, ":") {
		list = append(list, path.Join("/", dir, program)) // an empty one would be the current directory
	}
	return list
}

// Terminal records the container's terminal: the two ends of a pseudo-terminal
// of its own devpts, whose multiplexer ptmx is. The slave becomes descriptors
// 0, 1 and 2 and the controlling terminal; the master goes out over the socket
// "console". It returns the slave.
func (i *Identity) Terminal(p *plan.Plan, ptmx plan.FD) plan.FD {
	p.IoctlMemory(ptmx, unix.TIOCSPTLCK, make([]byte, 8), "[0]")
	p.Note("the other end, by its descriptor: the container may have put anything at /dev/pts/0")
	slave := p.Ioctl(ptmx, unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC).As("terminal")
	if size := i.spec.ConsoleSize; size != nil {
		p.IoctlMemory(slave, unix.TIOCSWINSZ, winsize(size), fmt.Sprintf("{ws_row=%d, ws_col=%d}", size.Height, size.Width))
	}
	p.Fchownat(slave, "", i.spec.User.UID, i.spec.User.GID, unix.AT_EMPTY_PATH)
	p.Sendmsg(plan.Given("console"), "/dev/ptmx", ptmx)
	p.Setsid()
	p.Ioctl(slave, unix.TIOCSCTTY, 0)
	for fd := range 3 {
		p.Dup3(slave, fd, 0)
	}
	return slave
}

func winsize(b *specs.Box) []byte {
	return []byte{byte(b.Height), byte(b.Height >> 8), byte(b.Width), byte(b.Width >> 8), 0, 0, 0, 0}
}
