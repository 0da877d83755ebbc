package process

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// An Identity is a process of a spec, checked and ready to be recorded, once.
//
// Its methods record one part each; doc.go says in which order.
type Identity struct {
	// The caller may set these before the first method records anything. The zero
	// values are those of an ordinary run.

	ExecFifo        bool   // the child will wait on exec.fifo, so that descriptor stays open
	KeepFDs         int    // how many descriptors, from 3 on, the program inherits
	NoNewKeyring    bool   // the program shares the caller's session keyring
	Program         string // the file to execute; "": the one that args[0] names
	SetgroupsDenied bool   // setgroups(2) is denied in the process's user namespace (user_namespaces(7))

	// Warnings tell what the spec asks for, but cannot have. The runtime-spec wants
	// such capabilities left out with a warning: unknown ones, those that lack
	// another that they depend on, and those that the runtime does not have itself.
	// Nil if there are none.
	Warnings []string

	spec   *specs.Process
	env    []string
	caps   capabilities
	filter *Filter
}

// A Filter is a seccomp filter that is ready to be loaded. Package
// process/seccomp compiles one from the spec.
type Filter struct {
	Program  []unix.SockFilter // a BPF program: 1 to 4096 instructions
	Flags    uint              // SECCOMP_FILTER_FLAG_…
	Listener bool              // seccomp(2) returns a descriptor on which another process decides calls
}

// New checks a process. filter is nil if the process has none. Errors name the
// property of the spec.
func New(p *specs.Process, filter *Filter) (*Identity, error) {
	i := &Identity{spec: p, filter: filter}
	if err := errors.Join(i.check(), i.readEnvironment()); err != nil {
		return nil, err
	}
	if n := len(i.candidates()); n > mostDirectories {
		return nil, fmt.Errorf("process.env: PATH has %d directories: at most %d", n, mostDirectories)
	}
	if err := i.checkLimits(); err != nil {
		return nil, err
	}
	i.readCapabilities()
	return i, nil
}

// check refuses what no system call could take, or what would mean something else
// to it, before anything is made.
func (i *Identity) check() error {
	p := i.spec
	switch {
	case len(p.Args) == 0 || p.Args[0] == "":
		return errors.New("process.args: no program")
	case slices.ContainsFunc(p.Args, hasNUL):
		return errors.New("process.args: contains a NUL byte")
	case !path.IsAbs(p.Cwd):
		return fmt.Errorf("process.cwd %q: not an absolute path", p.Cwd)
	case plan.CheckDepth(p.Cwd) != nil:
		return fmt.Errorf("process.cwd: %w", plan.CheckDepth(p.Cwd))
	case p.User.UID == unchanged || p.User.GID == unchanged || slices.Contains(p.User.AdditionalGids, unchanged):
		return errors.New("process.user: 4294967295 is no id, but means no change")
	case p.User.Umask != nil && *p.User.Umask > 0o777:
		return fmt.Errorf("process.user.umask %d: at most 511 (octal 777)", *p.User.Umask)
	case p.ConsoleSize != nil && max(p.ConsoleSize.Height, p.ConsoleSize.Width) > 1<<16-1:
		return fmt.Errorf("process.consoleSize %d by %d: at most 65535", p.ConsoleSize.Height, p.ConsoleSize.Width)
	}
	return nil
}

// unchanged is not an id: setresuid(2) and fchownat(2) leave a user or group as
// it is. A spec with this user would get a process that stays root.
const unchanged = 1<<32 - 1

func hasNUL(s string) bool { return strings.IndexByte(s, 0) >= 0 }

// readEnvironment keeps one variable of each name: the last value, in the place
// of the first.
func (i *Identity) readEnvironment() error {
	index := map[string]int{}
	for n, e := range i.spec.Env {
		name, _, ok := strings.Cut(e, "=")
		if !ok || name == "" || hasNUL(e) {
			return fmt.Errorf("process.env[%d] %q: want NAME=value", n, e)
		}
		if first, ok := index[name]; ok {
			i.env[first] = e
			continue
		}
		index[name] = len(i.env)
		i.env = append(i.env, e)
	}
	return nil
}

// variable is the value of an environment variable; "" if it is not set.
func (i *Identity) variable(name string) string {
	for _, e := range i.env {
		if value, ok := strings.CutPrefix(e, name+"="); ok {
			return value
		}
	}
	return ""
}

// SetHome sets the variable HOME, if it is unset or empty, to the home directory
// that lookup returns for the user; "/" if lookup returns "". lookup is called
// only if it is needed (package process/passwd has one).
func (i *Identity) SetHome(lookup func(uid uint32) (string, error)) error {
	if i.variable("HOME") != "" {
		return nil
	}
	home, err := lookup(i.spec.User.UID)
	if err != nil {
		return fmt.Errorf("home of user %d: %w", i.spec.User.UID, err)
	}
	i.env = slices.DeleteFunc(i.env, func(e string) bool { return e == "HOME=" })
	i.env = append(i.env, "HOME="+cmp.Or(home, "/"))
	return nil
}

// Session records that the process does not inherit two things: late timers of
// minirunc's, and the session of minirunc's caller. A process with a terminal has
// its session already, from [Identity.Terminal].
//
// Late timers: see timers.go in container/protect. main gives its own thread normal
// ones at once. But Go's scheduler chooses the thread that clones this process, and
// every other thread still has late ones.
func (i *Identity) Session(p *plan.Plan) {
	p.Note("timers as precise as in any process: minirunc's threads may have later ones, which the child inherits (container/protect)")
	p.Prctl(unix.PR_SET_TIMERSLACK, 50_000)
	if !i.spec.Terminal {
		p.Note("a session of its own: signals from the caller's terminal do not reach it")
		p.Setsid()
	}
}

// WorkingDirectory records the change of the working directory. It is opened
// below the container's root, without following those links in /proc that lead
// to any open file: they could lead out of the container (CVE-2024-21626). And
// it is opened while the process is still root, because the user of the process
// may lack the right to enter it; the program may start there all the same.
func (i *Identity) WorkingDirectory(p *plan.Plan) {
	dir := strings.TrimLeft(i.spec.Cwd, "/")
	if dir == "" {
		return
	}
	p.Note("the working directory, opened as a path of the container, wherever its links point")
	p.Fchdir(p.OpenIn(plan.CWD, dir, unix.O_PATH|unix.O_DIRECTORY, 0).As("cwd").Explain(unix.ENOENT, "no such working directory"))
}

// CloseDescriptors records that every descriptor is closed, except the standard
// three, those that the program inherits, and those that lead back to the
// runtime; execve(2) closes the latter. A descriptor of the host's that stayed
// open would be a way out of the container.
func (i *Identity) CloseDescriptors(p *plan.Plan) {
	p.Note("every other descriptor goes, also those that the runtime's caller left open")
	kept := []plan.FD{plan.Channel}
	if i.ExecFifo {
		kept = append(kept, plan.Copy)
	}
	if i.HasListener() {
		kept = append(kept, plan.Listener)
	}
	p.CloseRange(plan.Num(3+i.KeepFDs), 0, plan.Channel)
	for n, fd := range kept[1:] {
		p.CloseRange(kept[n], 1, fd)
	}
	p.CloseRange(kept[len(kept)-1], 1, nil)
}
