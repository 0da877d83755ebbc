package process

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/plan"
	"minirun/process/seccomp"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// This file reads a process from a spec; become.go records how it comes to be.

// An Identity is a process of a spec, checked and ready to be recorded, once.
type Identity struct {
	// Set these before recording; the zero values are those of an ordinary run.

	Fifo    bool   // the child will wait on exec.fifo
	Keep    int    // how many descriptors from 3 on the program gets
	OldKeys bool   // the program gets the caller's session keyring, instead of a new one
	Program string // the file to execute; "": what the first of the arguments says
	NoSets  bool   // setgroups(2) is denied in this user namespace
	Outside bool   // the child is in a user namespace, where it lacks the host's privileges that the runtime has: limits are the runtime's to set

	// Warnings are what the spec asks for that cannot be had, and that the
	// runtime-spec wants ignored with a warning: unknown capabilities, those
	// without the ones that they need, and those that nobody has to give. Nil
	// if there are none.
	Warnings []string

	spec     *specs.Process
	caps     capabilities
	limits   limits
	filter   *seccomp.Filter // nil: none
	env      []string
	personal *int          // personality(2); nil: as it is
	memory   *memoryPolicy // nil: as it is
	cpus     cpuSet        // of a process that joins
}

// New checks a process. Errors name the property.
func New(p *specs.Process, filter *specs.LinuxSeccomp) (*Identity, error) {
	i := &Identity{spec: p}
	if err := errors.Join(i.check(), i.readEnvironment()); err != nil {
		return nil, err
	}
	if err := errors.Join(i.limits.read(p), i.limits.readScheduler(p.Scheduler), i.limits.readIOPriority(p.IOPriority)); err != nil {
		return nil, err
	}
	var err error
	if i.cpus, err = affinity(p.ExecCPUAffinity); err != nil {
		return nil, err
	}
	i.readCapabilities()
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
	case slices.ContainsFunc(p.Args, hasNUL):
		return errors.New("process.args: contains a NUL byte")
	case !path.IsAbs(p.Cwd):
		return fmt.Errorf("process.cwd %q: not an absolute path", p.Cwd)
	case len(p.Cwd) >= unix.PathMax: // an image's author may choose how many directories we are to make
		return fmt.Errorf("process.cwd: %w", unix.ENAMETOOLONG)
	case p.User.UID == none || p.User.GID == none || slices.Contains(p.User.AdditionalGids, none):
		return errors.New("process.user: 4294967295 is no id, but means no change")
	case p.User.Umask != nil && *p.User.Umask > 0o777:
		return fmt.Errorf("process.user.umask %d: at most 511 (octal 777)", *p.User.Umask)
	case p.ConsoleSize != nil && max(p.ConsoleSize.Height, p.ConsoleSize.Width) > 1<<16-1:
		return fmt.Errorf("process.consoleSize %d by %d: at most 65535", p.ConsoleSize.Height, p.ConsoleSize.Width)
	}
	return nil
}

// none is no id: setresuid(2) takes it for "leave it", so that who asked for
// it would stay root.
const none = 1<<32 - 1

func hasNUL(s string) bool { return strings.IndexByte(s, 0) >= 0 }

// readEnvironment keeps of variables with one name the last, in the place of
// the first.
func (i *Identity) readEnvironment() error {
	place := map[string]int{}
	for n, e := range i.spec.Env {
		name, _, ok := strings.Cut(e, "=")
		if !ok || name == "" || hasNUL(e) {
			return fmt.Errorf("process.env[%d] %q: want NAME=value", n, e)
		}
		if at, ok := place[name]; ok {
			i.env[at] = e
			continue
		}
		place[name] = len(i.env)
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

// Home sets the variable HOME, if it is unset or empty, to the user's home
// directory: "/" if passwd (of the container's own, as for [Lookup]) does not
// know it or does not exist. passwd is opened only if it is needed.
func (i *Identity) Home(passwd func() (io.ReadCloser, error)) error {
	if i.variable("HOME") != "" {
		return nil
	}
	home := "/"
	file, err := passwd()
	if err == nil {
		var line []string
		line, _, err = find(file, fmt.Sprint(i.spec.User.UID), 2)
		if path.IsAbs(field(line, 5)) && !hasNUL(field(line, 5)) {
			home = field(line, 5)
		}
		err = errors.Join(err, file.Close())
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("home of user %d: %w", i.spec.User.UID, err)
	}
	i.env = append(slices.DeleteFunc(i.env, func(e string) bool { return e == "HOME=" }), "HOME="+home)
	return nil
}

// capabilities are the five sets of capabilities(7).
type capabilities struct {
	bounding, effective, permitted, inheritable, ambient uint64
}

// readCapabilities reads the sets, and leaves out of each what the kernel would
// not give without another.
func (i *Identity) readCapabilities() {
	c := i.spec.Capabilities
	if c == nil {
		return // none at all
	}
	b := &i.caps
	b.bounding = i.set("bounding", c.Bounding, ^uint64(0), "")
	b.permitted = i.set("permitted", c.Permitted, ^uint64(0), "")
	b.effective = i.set("effective", c.Effective, b.permitted, "not permitted")
	b.inheritable = i.set("inheritable", c.Inheritable, b.bounding, "not in the bounding set")
	b.ambient = i.set("ambient", c.Ambient, b.permitted&b.inheritable, "not permitted and inheritable")
}

// set turns capability names into bits; why says what is wrong with those that
// are not in allowed.
func (i *Identity) set(name string, list []string, allowed uint64, why string) (set uint64) {
	var unknown, denied []string
	for _, c := range list {
		n := slices.Index(plan.Capabilities, c)
		switch {
		case n < 0:
			unknown = append(unknown, strconv.Quote(c))
		case allowed&(1<<n) == 0:
			denied = append(denied, c)
		default:
			set |= 1 << n
		}
	}
	i.leftOut("."+name, unknown, "no such capability")
	i.leftOut("."+name, denied, why)
	return set
}

// leftOut warns of capabilities, if there are any.
func (i *Identity) leftOut(set string, list []string, why string) {
	if len(list) > 0 {
		i.Warnings = append(i.Warnings, fmt.Sprintf("process.capabilities%s %s: %s: left out", set, strings.Join(list, ", "), why))
	}
}

// Grant says which capabilities there are to give, bit n for number n. The
// others are left out: it is a user namespace or a machine that has less than
// the spec's author thought of, not a mistake of his.
func (i *Identity) Grant(have uint64) {
	c := &i.caps
	var missing []string
	for n, name := range plan.Capabilities {
		if (c.bounding|c.permitted)&^have&(1<<n) != 0 {
			missing = append(missing, name)
		}
	}
	i.leftOut("", missing, "not minirun's to give")
	for _, set := range []*uint64{&c.bounding, &c.effective, &c.permitted, &c.inheritable, &c.ambient} {
		*set &= have
	}
}

// OwnCapabilities are those that this process may use, and so may leave to a
// child in its own user namespace (capget(2)).
func OwnCapabilities() (uint64, error) {
	var sets [2]unix.CapUserData
	if err := unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &sets[0]); err != nil {
		return 0, fmt.Errorf("capget: %w", err)
	}
	return uint64(sets[1].Permitted)<<32 | uint64(sets[0].Permitted), nil
}
