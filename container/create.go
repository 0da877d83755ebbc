package container

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"minirun/cgroups"
	"minirun/cgroups/delegation"
	"minirun/cgroups/devices"
	"minirun/cgroups/resctrl"
	"minirun/cgroups/resources"
	"minirun/cgroups/systemd"
	"minirun/namespaces"
	"minirun/plan"
	"minirun/process"
	"minirun/rootfs"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Options are what a command adds to a bundle.
type Options struct {
	Wait    bool // create: stop before the program and wait for Start
	Monitor bool // a monitor waits for the end and writes it down; without one the caller does, or nobody

	Stdin, Stdout, Stderr *os.File // nil: the caller's own
	Console               *os.File // a Unix socket for the terminal's master, if process.terminal
	PidFile               string   // "": none
	PidFD                 *os.File // a Unix socket for a pidfd of the process; nil: nobody wants one
	ListenFDs             int      // how many descriptors from 3 on are sockets that the program keeps, and is told of
	PreserveFDs           int      // how many more it keeps after those
	OldKeys               bool     // the program gets the caller's session keyring: each new one counts against a user's quota
	Notify                bool     // the program can say that it is ready; see TellReady
	Cgroup                string   // exec: an existing group below the container's own; "": where the container process is
	IgnorePaused          bool     // exec: the program may wait until somebody resumes the container
	AtExit                []string // with Monitor: the command that it becomes when all is over, by its path; nil: none
	NoCgroup              bool     // the container stays in the caller's cgroup: no limits, no device filter
	Systemd               bool     // systemd makes the cgroup, as a scope; see package systemd

	Config []byte // the text of config.json, which exec and hooks start from; nil: they read the bundle's again

	Warn func(text string) // what is left out of the spec, as it wants, with a warning; nil: nobody listens

	Look plan.Options // Trace, Before and Fault
}

// New makes the container id from a bundle, an absolute path, with its
// process: waiting for Start (Options.Wait) or running the program.
//
// It needs the privileges that the spec's namespaces and mounts need, or a user
// namespace in the spec. If it fails, nothing is left.
func (root Root) New(id, bundle string, spec *specs.Spec, o Options) (*Container, *plan.Process, error) {
	if err := o.checkKept(); err != nil {
		return nil, nil, err
	}
	c, err := root.make(id)
	if err != nil {
		return nil, nil, err
	}
	defer c.Unlock()
	c.Warn = o.Warn
	spec = o.listening(spec)
	if o.Notify {
		if spec, err = c.announced(spec); err == nil && !o.Wait {
			err = c.listen()
		}
		if err != nil {
			return nil, nil, errors.Join(err, os.RemoveAll(c.dir))
		}
	}
	c.State = State{ID: id, Bundle: bundle, Created: time.Now().UTC(), Owner: os.Geteuid(),
		Annotations: spec.Annotations, Namespaces: spec.Linux.Namespaces, Hooks: spec.Hooks, MemorySwap: memorySwap(spec.Linux.Resources)}
	b := &builder{Container: c, spec: spec, options: o, host: facts(bundle)}
	p, err := b.make()
	if err != nil {
		err = errors.Join(b.explain(err, spec.Process), c.stopListening(), os.RemoveAll(c.dir))
		if c.Pid > 0 { // what the first hooks have made, the last ones take away
			c.runPoststop()
		}
		return nil, nil, err
	}
	if err := b.started(p); err != nil {
		err = errors.Join(err, c.stopListening(), c.Delete(true))
		p.Wait() // ECHILD: it was its monitor's
		return nil, nil, err
	}
	return c, p, nil
}

// make goes from the spec to the process.
func (b *builder) make() (*plan.Process, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	if err := b.save(); err != nil {
		return nil, err
	}
	p, err := b.attempt()
	if b.noDevices(err) {
		b.host.noMknod = true
		os.Remove(b.path(newFifo)) // ENOENT: none was wanted
		if err = b.check(); err == nil {
			p, err = b.attempt()
		}
	}
	return p, err
}

func (b *builder) attempt() (*plan.Process, error) {
	p, err := b.plan()
	if err != nil {
		return nil, err
	}
	return b.start(p)
}

// noDevices says whether the child could not make a device although it is root:
// without CAP_MKNOD, or because a cgroup above denies it, as that of a pod of
// Podman's does. No plan can tell before. The next attempt shows it the host's.
func (b *builder) noDevices(err error) bool {
	var failed *plan.StepError
	return errors.Is(err, unix.EPERM) && errors.As(err, &failed) && failed.Step.Call == "mknodat" && !b.host.noMknod
}

// ErrProgram says that the program could not be executed; why is in the error
// that it is joined with.
var ErrProgram = errors.New("cannot execute the program")

// explain puts the failure to execute a program in words that engines know.
func (c *Container) explain(err error, process *specs.Process) error {
	if errors.Is(err, plan.ErrJoinedEnded) {
		return fmt.Errorf("exec in %s: %w", c.ID, ErrNotRunning)
	}
	if errors.Is(err, plan.ErrKilled) {
		return fmt.Errorf("container %s: %w", c.ID, err)
	}
	var failed *plan.StepError
	if !errors.As(err, &failed) || failed.Step.Call != "execve" && failed.Step.Call != "faccessat" {
		return err
	}
	program := process.Args[0]
	if errors.Is(err, unix.ENOENT) && !strings.Contains(program, "/") {
		return fmt.Errorf("exec: %q: executable file not found in $PATH: %w", program, &programError{failed})
	}
	return fmt.Errorf("exec: %q: %w", program, &programError{failed})
}

// A programError is an [ErrProgram] that prints only its cause.
type programError struct{ step *plan.StepError }

func (e *programError) Error() string   { return e.step.Err.Error() }
func (e *programError) Unwrap() []error { return []error{ErrProgram, e.step} }

// Plan is the plan that New would carry out, for printing.
func (root Root) Plan(id, bundle string, spec *specs.Spec, o Options) (*plan.Plan, error) {
	if err := CheckID(id); err != nil {
		return nil, err
	}
	c := &Container{dir: filepath.Join(string(root), id), State: State{ID: id, Bundle: bundle, Hooks: spec.Hooks}}
	b := &builder{Container: c, spec: spec, options: o, host: facts(bundle)}
	if err := b.check(); err != nil {
		return nil, err
	}
	return b.plan()
}

// A host is what must be known of the machine to write a plan: with it, spec
// to plan is a function without side effects.
type host struct {
	euid   int
	bundle string
	isDir  func(path string) bool
	tree   func(root, path string) ([]rootfs.Entry, error)
	isPipe func(fd int) bool
	passwd func(root string) (io.ReadCloser, error)
	groups func() (*cgroups.Hierarchy, error)
	units  func(user bool) (string, error) // the group below which systemd makes others
	grants func() (uint64, error)          // the runtime's own capabilities
	shares func() (string, error)          // where resctrl is mounted

	ours func(path string, kind specs.LinuxNamespaceType) bool // see namespaces.Host

	confined bool // root, but of a user namespace: without privileges on the host
	noMknod  bool // nobody may make devices here
	noSets   bool // setgroups(2) is denied to us

	delegated func() ([]string, error) // the files of a cgroup that go with it
}

func facts(bundle string) host {
	h := host{
		euid:   os.Geteuid(),
		bundle: bundle,
		isDir: func(path string) bool {
			info, err := os.Stat(path)
			return err == nil && info.IsDir()
		},
		tree:   rootfs.Tree,
		isPipe: isPipe,
		passwd: func(root string) (io.ReadCloser, error) { return openPasswd(root, "etc/passwd") },
		groups: cgroups.Find,
		units:  systemd.Find,
		grants: process.OwnCapabilities,
		shares: resctrl.Find,
		ours:   namespaces.Ours,

		delegated: delegation.Files,
		confined:  !namespaces.InitialUser(),
	}
	if h.confined {
		h.noMknod = true
		h.noSets, _ = namespaces.SetgroupsDenied(os.Getpid()) // without /proc, setgroups will tell
	}
	return h
}

// privileged says whether the host's cgroups and devices are ours to rule.
func (h host) privileged() bool { return h.euid == 0 && !h.confined }

// user is what the namespaces must know of us.
func (h host) user() namespaces.Host {
	return namespaces.Host{Euid: h.euid, Confined: h.confined, NoSets: h.noSets, Ours: h.ours}
}

// A builder turns a spec into a plan.
type builder struct {
	*Container
	spec    *specs.Spec
	options Options
	host    host

	namespaces *namespaces.Set
	root       *rootfs.Root
	identity   *process.Identity
	cgroup     *cgroups.Group // nil: the caller's own
	limits     []cgroups.Write
	filter     *devices.Filter        // nil: none
	delegation *delegation.Delegation // nil: the group stays the host's
	unit       *systemd.Unit          // as which systemd makes the group; nil: the runtime does
	units      string                 // the group below which systemd does
	tasks      []plan.FD              // of the class that the container process joins
	passed     error                  // why the seccomp listener did not reach its agent; nil: it did
}

// check lets every room look at its part of the spec. Nothing has been changed
// on the host when it fails.
func (b *builder) check() (err error) {
	if err := b.checkHooks(); err != nil {
		return err
	}
	if b.namespaces, err = namespaces.New(b.spec, b.host.user()); err != nil {
		return err
	}
	if b.identity, err = process.New(b.spec.Process, b.spec.Linux.Seccomp); err != nil {
		return err
	}
	if err := b.grant(b.namespaces.Has(specs.UserNamespace)); err != nil {
		return err
	}
	b.warn(b.identity.Warnings)
	b.identity.Fifo, b.identity.Keep, b.identity.OldKeys = b.options.Wait, b.options.kept(), b.options.OldKeys
	b.identity.NoSets = b.namespaces.DeniesSetgroups(b.host.user())
	b.identity.Outside = b.namespaces.Has(specs.UserNamespace) && (b.host.euid == 0 || b.namespaces.Between(b.host.user()))
	if err := b.identity.Linux(b.spec.Linux); err != nil {
		return err
	}
	b.root, err = rootfs.New(b.spec, rootfs.Host{
		Bundle: b.host.bundle,
		Mknod:  !b.namespaces.Has(specs.UserNamespace) && !b.host.noMknod,
		OwnPID: b.namespaces.Has(specs.PIDNamespace) || !b.namespaces.Has(specs.UserNamespace),
		OwnNS:  b.namespaces.Has(specs.MountNamespace),
		IsDir:  b.host.isDir,
		Tree:   b.host.tree,
		Opens:  b.host.euid == 0 && b.namespaces.Has(specs.UserNamespace),

		Mapping: namespaces.Mapping,
	})
	if err != nil {
		return err
	}
	b.warn(b.root.Warnings)
	b.Rootfs = b.root.Path()
	if err := b.identity.Home(func() (io.ReadCloser, error) { return b.host.passwd(b.Rootfs) }); err != nil {
		return err
	}
	if err := errors.Join(b.findClass(), b.findGroup()); err != nil {
		return err
	}
	return b.checkGroup()
}

// findClass decides on the class of processor resources.
func (b *builder) findClass() (err error) {
	b.Class, err = resctrl.New(b.spec.Linux.IntelRdt, b.ID, b.host.shares)
	return err
}

// grant leaves out the capabilities that the runtime has not itself. In a user
// namespace of its own a process has them all.
func (b *builder) grant(userNS bool) error {
	if userNS || b.host.euid != 0 {
		return nil
	}
	own, err := b.host.grants()
	if err != nil {
		return err
	}
	b.identity.Grant(own)
	return nil
}

func (b *builder) warn(warnings []string) {
	if b.options.Warn != nil {
		for _, w := range warnings {
			b.options.Warn(w)
		}
	}
}

// findGroup decides which cgroup the container is born in.
func (b *builder) findGroup() (err error) {
	if b.limits, err = resources.New(b.spec.Linux.Resources); err != nil {
		return err
	}
	h, err := b.host.groups()
	if err != nil {
		return err
	}
	if b.options.Systemd {
		return b.findUnit(h)
	}
	path := b.spec.Linux.CgroupsPath
	if path == "" {
		path = "minirun-" + b.ID
		if b.host.privileged() {
			path = "/" + path
		}
	}
	if b.cgroup, err = h.Group(path); err != nil {
		return err
	}
	var without string
	switch {
	case b.options.NoCgroup:
		without = "there is to be no cgroup (--cgroup-manager disabled)"
	case !b.host.privileged() && !b.cgroup.Writable():
		without = "an ordinary user needs a delegated cgroup for it"
	}
	if without != "" {
		for _, w := range b.limits {
			if !w.Optional {
				return fmt.Errorf("limit %s for cgroup %s: %s", w, b.cgroup.Dir, without)
			}
		}
		b.cgroup = nil // without limits the caller's own group does as well
		return nil
	}
	b.Cgroup = b.cgroup.Dir
	return nil
}

// checkGroup looks at what a group of its own gets besides limits: a device filter,
// and perhaps another owner. Both need privileges over the host. Without them no
// filter is needed: in a user namespace nobody can make device files.
func (b *builder) checkGroup() (err error) {
	if b.cgroup == nil || !b.host.privileged() {
		return nil
	}
	var rules []specs.LinuxDeviceCgroup
	if r := b.spec.Linux.Resources; r != nil {
		rules = r.Devices
	}
	if b.filter, err = devices.New(rules); err != nil {
		return err
	}
	b.delegation, err = delegation.New(b.spec, b.host.delegated)
	return err
}

// plan writes the whole plan of a new container. It is the table of contents
// of this program.
func (b *builder) plan() (*plan.Plan, error) {
	p := &plan.Plan{}
	p.On(plan.Runtime)
	b.namespaces.Before(p)
	b.root.Before(p)
	if err := b.clone(p); err != nil {
		return nil, err
	}
	p.On(plan.Child)
	b.identity.First(p)
	resctrl.Enter(p, b.tasks)
	b.namespaces.Enter(p, b.host.user())
	b.root.Build(p)
	b.hookGate(p, prestart, createRuntime)
	b.terminal(p)
	b.root.Directory(p, b.spec.Process.Cwd)
	b.identity.Early(p, b.root.Proc)
	b.sysctls(p)
	b.hookGate(p, createContainer)
	b.root.Finish(p)
	b.root.Enter(p)
	b.identity.Become(p)
	b.wait(p)
	b.identity.Exec(p)
	return p, p.Err()
}

// clone records the cgroup and the birth of the process in it, below a monitor
// if there is to be one.
func (b *builder) clone(p *plan.Plan) (err error) {
	c := plan.Clone{}
	if b.cgroup != nil && b.unit == nil {
		if c.Cgroup, err = b.cgroup.Add(p, b.limits); err != nil {
			return err
		}
		b.filter.Record(p, c.Cgroup)
		b.delegation.Record(p, c.Cgroup)
	}
	b.tasks = b.Class.Add(p)
	if b.unit != nil {
		b.namespaces.Moved()
	}
	if b.options.Monitor {
		return b.monitor(p, c)
	}
	c.PidFD = true
	b.namespaces.Clone(p, c, b.host.user())
	if b.unit != nil || b.namespaces.Between(b.host.user()) {
		return b.known(p)
	}
	p.Do("state.json: the container process", b.cloned)
	return nil
}

// cloned writes down which process the container is, as early as possible:
// whatever happens to us, delete will know what to end.
func (b *builder) cloned(p *plan.Process) error {
	b.Pid = p.Pid
	if !b.options.Wait {
		b.Started = time.Now().UTC()
	}
	s, err := processStat(p.Pid)
	if err != nil {
		return err
	}
	b.StartTime = s.start
	return errors.Join(b.save(), b.keepConfig())
}

// keepConfig keeps config.json as it was read: what becomes of the bundle's after
// create must not change the container (runtime-spec, runtime.md, Lifecycle).
func (b *builder) keepConfig() error {
	if b.options.Config == nil {
		return nil
	}
	return writeFile(b.path("config.json"), b.options.Config, 0o600)
}

// stdio records what descriptors 0, 1 and 2 become, where they do not stay. A
// pipe, or a log, becomes the user's, who may want to open it again as
// /dev/stdout.
func (b *builder) stdio(p *plan.Plan) {
	for fd, f := range []*os.File{b.options.Stdin, b.options.Stdout, b.options.Stderr} {
		file := fd
		if f != nil {
			file = int(f.Fd())
			p.Dup3(given(fd), fd, 0)
		}
		if log := b.options.Monitor && f != nil && fd > 0; log || b.host.isPipe(file) {
			b.identity.Own(p, fd)
		}
	}
}

func isPipe(fd int) bool {
	var s unix.Stat_t
	return unix.Fstat(fd, &s) == nil && s.Mode&unix.S_IFMT == unix.S_IFIFO
}

func given(fd int) plan.Given { return plan.Given([]string{"stdin", "stdout", "stderr"}[fd]) }

// terminal records the container's terminal, or its plain standard files.
func (b *builder) terminal(p *plan.Plan) {
	if !b.spec.Process.Terminal {
		b.stdio(p)
		return
	}
	slave := b.identity.Terminal(p, b.root.Ptmx(p))
	b.root.Console(p, slave)
}

// sysctls records the writing of kernel parameters through our own procfs.
func (b *builder) sysctls(p *plan.Plan) {
	for _, s := range b.namespaces.Sysctls() {
		f := p.OpenProc(b.root.Proc(p), s.Path, unix.O_WRONLY).As(s.Path)
		p.Write(f, s.Value)
		p.Close(f)
	}
}

// wait records the end of create: the state is saved, the runtime leaves, and
// the child waits until somebody writes a byte into exec.fifo.
func (b *builder) wait(p *plan.Plan) {
	if b.options.Wait {
		p.Note("can the program be executed at all? after create has returned it is too late to ask")
		b.identity.Look(p)
		p.Ready()
		conceal := b.reveal(p, startContainer)
		p.Gate(plan.Created, func() { p.Do("exec.fifo: from now on start may come", b.showFifo) })
		p.Note("created; start writes one byte here")
		p.Read(plan.Copy, 1).Wants(1)
		conceal()
		return
	}
	b.hookGate(p, startContainer)
	p.Ready()
}

// start carries the plan out.
func (b *builder) start(p *plan.Plan) (process *plan.Process, _ error) {
	o := b.options.Look
	o.FirstFD = 3 + b.options.kept()
	if o.Given == nil {
		o.Given = map[plan.Given]int{}
	}
	for fd, f := range []*os.File{b.options.Stdin, b.options.Stdout, b.options.Stderr} {
		if f != nil {
			o.Given[given(fd)] = int(f.Fd())
		}
	}
	if b.options.Console != nil {
		o.Given["console"] = int(b.options.Console.Fd())
	}
	if b.options.Wait {
		fifo, err := b.makeFifo()
		if err != nil {
			return nil, err
		}
		defer unix.Close(fifo)
		o.Given[plan.Copy] = fifo
	}
	if b.options.Monitor {
		null, exit, err := b.monitorFiles()
		if err != nil {
			return nil, err
		}
		defer null.Close()
		defer exit.Close()
		o.Given["null"], o.Given["exit"] = int(null.Fd()), int(exit.Fd())
	}
	if b.identity.Listens() {
		agent, err := b.agent(b.spec.Linux.Seccomp)
		if err != nil {
			return nil, err
		}
		o.Given[plan.Listener] = agent.theirs
		defer func() { b.passed = agent.finish(process) }()
	}
	process, err := b.namespaces.OnThread(func() (*plan.Process, error) { return p.Start(o) })
	return process, err
}

// newFifo is the name that exec.fifo has until the container is created.
const newFifo = "exec.fifo.new"

// showFifo gives exec.fifo its name: this is when the state becomes created.
func (b *builder) showFifo(*plan.Process) error {
	return os.Rename(b.path(newFifo), b.path("exec.fifo"))
}

// makeFifo makes what is to be exec.fifo and opens it for reading and writing: so
// it has a reader as long as the container waits, and a read does not end before start.
func (b *builder) makeFifo() (int, error) {
	path := b.path(newFifo)
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return -1, fmt.Errorf("mkfifo %s: %w", path, err)
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", path, err)
	}
	return fd, nil
}

// started saves what is known once the child is through.
func (b *builder) started(p *plan.Process) error {
	if err := errors.Join(b.passed, b.sendPidFD(p, "standard")); err != nil {
		return err
	}
	if b.options.PidFile != "" {
		if err := writeFile(b.options.PidFile, []byte(strconv.Itoa(p.Pid)), 0o644); err != nil {
			return err
		}
	}
	if b.options.Wait {
		return nil
	}
	return b.runHooks(poststart)
}
