package container

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"minirun/cgroups/birth"
	"minirun/cgroups/owner"
	"minirun/cgroups/resctrl"
	"minirun/container/descriptors"
	"minirun/container/failure"
	"minirun/container/hooks"
	"minirun/container/listener"
	"minirun/namespaces/mapping"
	"minirun/namespaces/network/link"
	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// This file goes from a spec to a container. [Root.New] is the way: make the directory,
// check the spec, write the plan, run it. The order is such that most errors come before
// anything on the host has changed, and that a kill at any point leaves a directory from
// which delete knows what to remove.

// Options are what a command adds to a bundle. The zero value runs the program in the
// foreground with the caller's own standard files.
type Options struct {
	Wait    bool // create: stop before the program and wait for Start
	Monitor bool // a process of its own waits for the end and writes it down (clone.go); without one the caller waits, or nobody

	Stdin, Stdout, Stderr *os.File             // nil: the caller's own
	Console               *os.File             // a Unix socket for the terminal's master, if process.terminal
	Terminal              func() error         // called when Console has the terminal, while the child waits; may be nil
	PidFile               string               // "": none
	PidFD                 *os.File             // a Unix socket for a pidfd of the process; nil: nobody wants one
	Agent                 *listener.Connection // to the agent of the seccomp filter; nil: connect when it is needed
	ListenFDs             int                  // how many descriptors from 3 on are sockets that the program keeps, and finds in LISTEN_FDS
	PreserveFDs           int                  // how many more descriptors it keeps, with the numbers after those
	OldKeys               bool                 // the program gets the caller's session keyring: each new one counts against a user's quota
	Notify                bool                 // the program can say that it is ready; see package notify
	Cgroup                string               // exec: an existing group below the container's own; "": where the container process is
	IgnorePaused          bool                 // exec: the program may wait until somebody resumes the container
	AtExit                []string             // with Monitor: the command that the monitor becomes when all is over, by its path; nil: none
	NoCgroup              bool                 // the container stays in the caller's cgroup: no limits, no device filter (devices.Filter.Without)
	Systemd               bool                 // systemd makes the cgroup, as a scope; see package systemd
	Network               *link.Config         // the link that the container gets; nil: none

	Config []byte // the text of config.json, kept for exec and hooks; nil: they read the bundle's config.json again

	Warn func(text string) // called for each property that is left out where the runtime-spec allows that; may be nil

	Engine plan.Options // how the plan is run: Trace, Before and Fault
}

// New makes the container id from a bundle, an absolute path, with its
// process: waiting for Start (Options.Wait) or running the program.
//
// It needs the privileges that the spec's namespaces and mounts need, or a user
// namespace in the spec. If it fails, nothing is left: the plan undoes its steps, and New
// removes the directory. The container is locked until New returns, so that no other
// command can delete it while it is half made.
func (root Root) New(id, bundle string, spec *specs.Spec, o Options) (*Container, *plan.Process, error) {
	if err := descriptors.Check(o.keptFDs()); err != nil {
		return nil, nil, err
	}
	c, err := root.make(id)
	if err != nil {
		return nil, nil, err
	}
	defer c.Unlock()
	c.Warn, c.Mark = o.Warn, owner.New()
	b := newBuilder(c, bundle, spec, o)
	p, err := b.make()
	if err != nil {
		err = errors.Join(failure.Of(err, c.ID, spec.Process.Args), c.Notify.Close(), root.Discard(id))
		if c.Pid > 0 { // the process was cloned, so createRuntime hooks may have run: poststop hooks undo their work
			c.runPoststop()
		}
		return nil, nil, err
	}
	if err := b.started(p); err != nil { // the process exists, and may run: Delete ends it
		err = errors.Join(err, c.Notify.Close(), c.Delete(true))
		p.Wait() // ECHILD: it was the child of a monitor
		return nil, nil, err
	}
	return c, p, nil
}

// Plan is the plan that New would carry out, for printing. It changes nothing on the host
// and needs no privileges: without them it is the plan of an ordinary user. If this host
// cannot set a limit, the plan is whole, and the error says why New would fail.
func (root Root) Plan(id, bundle string, spec *specs.Spec, o Options) (*plan.Plan, error) {
	if err := CheckID(id); err != nil {
		return nil, err
	}
	b := newBuilder(&Container{dir: filepath.Join(string(root), id), State: State{ID: id, Mark: owner.Printed}}, bundle, spec, o)
	b.sources = true
	if err := b.check(); err != nil {
		return nil, err
	}
	p, err := b.plan()
	if err != nil {
		return nil, err
	}
	return p, b.unmet
}

// make goes from the spec to the process.
//
// The state is saved before the plan runs, because from its first step on there may be a
// cgroup to remove: state.json says which. If the first attempt fails because device
// nodes cannot be made, the second one does without them (mknodDenied); if the kernel
// has killed the child in its new group, the child is moved there (endedAtBirth). The
// first attempt has been undone by then.
func (b *builder) make() (*plan.Process, error) {
	if err := b.announce(); err != nil {
		return nil, err
	}
	if err := b.check(); err != nil {
		return nil, err
	}
	if err := b.Save(); err != nil {
		return nil, err
	}
	p, err := b.attempt()
	for b.mknodDenied(err) || b.endedAtBirth(err) {
		os.Remove(b.path(newFifo)) // of the first attempt. ENOENT: only create has a fifo
		if err = b.check(); err == nil {
			p, err = b.attempt()
		}
	}
	return p, err
}

// announce adds to the spec how the program finds the sockets that it is given: in the
// variables LISTEN_FDS and NOTIFY_SOCKET. The notify socket must exist before the program
// runs; with Wait, the start command makes it, because create has exited by then and would
// not receive from its own.
func (b *builder) announce() (err error) {
	b.spec = descriptors.Announce(b.spec, b.options.ListenFDs)
	b.Notify.Wanted = b.options.Notify
	if b.spec, err = b.Notify.Announce(b.spec); err != nil || b.options.Wait {
		return err
	}
	return b.Notify.Listen()
}

// attempt writes the plan and runs it. A plan can be run only once, because it holds the
// results of its steps.
func (b *builder) attempt() (*plan.Process, error) {
	p, err := b.plan()
	if err = errors.Join(err, b.unmet); err != nil {
		return nil, err
	}
	return b.run(p)
}

// mknodDenied says whether the child could not make a device node although it is root:
// the runtime has no CAP_MKNOD, or a device filter of a cgroup above denies it, as in a
// pod of Podman. Nothing can be asked about that filter before. So the child tries, and
// if mknod(2) answers EPERM, the next attempt binds the host's device nodes instead.
func (b *builder) mknodDenied(err error) bool {
	var failed *plan.StepError
	denied := errors.Is(err, unix.EPERM) && errors.As(err, &failed) && failed.Step.Call == "mknodat" && !b.facts.NoMknod
	b.facts.NoMknod = b.facts.NoMknod || denied
	return denied
}

// endedAtBirth says whether the kernel has killed the child because it was cloned into its
// group, as package birth explains: then the next attempt moves it there.
func (b *builder) endedAtBirth(err error) bool {
	ended := errors.Is(err, plan.ErrKilled) && !b.moved && b.unit == nil && b.Cgroup != "" && birth.Ends(b.Cgroup)
	b.moved = b.moved || ended
	return ended
}

// plan writes the whole plan of a new container. It is the table of contents of
// this program: to know how a line of a printed plan comes about, find its heading
// here, and go to the function below it.
//
// The order is not free. Where it matters most:
//
//   - The runtime opens what the child will need (namespaces to join, sources of bind
//     mounts) before clone3: in its new namespaces the child cannot reach it any more.
//   - The cgroup and its limits come before clone3, so that the child never runs
//     without limits.
//   - Id maps come early in the child. Without them its user is the overflow id
//     (user_namespaces(7)): it cannot become root, and can make no file (EOVERFLOW).
//   - Mounts come before masks, which lie on top of them, and both before pivot_root:
//     the sources are below the old root, which is gone afterwards.
//   - Capabilities are dropped nearly last, because the steps before need them. The seccomp
//     filter is loaded as late as possible, because it may forbid the calls of those steps.
func (b *builder) plan() (*plan.Plan, error) {
	p := &plan.Plan{Sources: b.sources}
	p.On(plan.Runtime)
	// Whatever the child is to reach on the host is opened before it leaves the host.
	b.joins.Open(p)
	b.idmaps.Record(p, b.root, mapping.Open)
	b.root.OpenSources(p)
	if err := b.clone(p); err != nil {
		return nil, err
	}
	p.On(plan.Child)
	if !b.identity.limitedByRuntime {
		b.identity.scheduling.OOMScore(p)
	}
	resctrl.Enter(p, b.tasks)
	p.Heading("names and loopback")
	b.namespaces.WriteIDMaps(p)
	b.subids.Write(p)
	b.clocks.Set(p)
	b.joins.Enter(p)
	b.namespaces.SetUp(p)
	b.netdevices.Move(p)
	b.options.Network.Connect(p)
	p.Heading("root and mounts")
	if b.detached != nil {
		b.detached.Open(p)
	} else {
		b.root.Open(p)
	}
	b.root.Mounts(p)
	p.Heading("devices")
	b.root.Devices(p)
	b.hooks.Gate(p, hooks.Prestart, hooks.CreateRuntime)
	b.terminal(p)
	b.root.MakeDirectory(p, b.spec.Process.Cwd)
	b.identity.labels.Record(p, b.root.Proc)
	b.sysctls.Write(p, b.root.Proc)
	b.hooks.Gate(p, hooks.CreateContainer)
	p.Heading("masks")
	b.root.Masks(p)
	p.Heading("the new root")
	if b.detached != nil {
		b.detached.Chroot(p)
	} else {
		b.root.PivotRoot(p)
	}
	p.Heading("who it is")
	b.identity.become(p)
	p.Heading("the program")
	b.waitForStart(p)
	b.identity.Execve(p)
	return p, p.Err()
}
