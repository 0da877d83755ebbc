package container

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"minirun/cgroups/resctrl"
	"minirun/container/descriptors"
	"minirun/container/failure"
	"minirun/container/hooks"
	"minirun/namespaces/mapping"
	"minirun/plan"

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
	Notify                bool     // the program can say that it is ready; see package notify
	Cgroup                string   // exec: an existing group below the container's own; "": where the container process is
	IgnorePaused          bool     // exec: the program may wait until somebody resumes the container
	AtExit                []string // with Monitor: the command that the monitor becomes when all is over, by its path; nil: none
	NoCgroup              bool     // the container stays in the caller's cgroup: no limits, no device filter (devices.Filter.Without)
	Systemd               bool     // systemd makes the cgroup, as a scope; see package systemd

	Config []byte // the text of config.json, which exec and hooks start from; nil: they read the bundle's again

	Warn func(text string) // told what is left out of the spec where the spec allows it; may be nil

	Engine plan.Options // how the plan is run: Trace, Before and Fault
}

// New makes the container id from a bundle, an absolute path, with its
// process: waiting for Start (Options.Wait) or running the program.
//
// It needs the privileges that the spec's namespaces and mounts need, or a user
// namespace in the spec. If it fails, nothing is left.
func (root Root) New(id, bundle string, spec *specs.Spec, o Options) (*Container, *plan.Process, error) {
	if err := descriptors.Check(o.keptFDs()); err != nil {
		return nil, nil, err
	}
	c, err := root.make(id)
	if err != nil {
		return nil, nil, err
	}
	defer c.Unlock()
	c.Warn = o.Warn
	b := newBuilder(c, bundle, spec, o)
	p, err := b.make()
	if err != nil {
		err = errors.Join(failure.Of(err, c.ID, spec.Process.Args), c.Notify.Close(), os.RemoveAll(c.dir))
		if c.Pid > 0 { // createRuntime hooks may have run: poststop hooks undo their work
			c.runPoststop()
		}
		return nil, nil, err
	}
	if err := b.started(p); err != nil {
		err = errors.Join(err, c.Notify.Close(), c.Delete(true))
		p.Wait() // ECHILD: it was its monitor's
		return nil, nil, err
	}
	return c, p, nil
}

// Plan is the plan that New would carry out, for printing.
func (root Root) Plan(id, bundle string, spec *specs.Spec, o Options) (*plan.Plan, error) {
	if err := CheckID(id); err != nil {
		return nil, err
	}
	b := newBuilder(&Container{dir: filepath.Join(string(root), id), State: State{ID: id}}, bundle, spec, o)
	b.sources = true
	if err := b.check(); err != nil {
		return nil, err
	}
	return b.plan()
}

// make goes from the spec to the process.
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
	if b.mknodDenied(err) {
		b.facts.NoMknod = true
		os.Remove(b.path(newFifo)) // ENOENT: create only
		if err = b.check(); err == nil {
			p, err = b.attempt()
		}
	}
	return p, err
}

// announce adds to the spec how the program finds the sockets that it is given.
func (b *builder) announce() (err error) {
	b.spec = descriptors.Announce(b.spec, b.options.ListenFDs)
	b.Notify.Wanted = b.options.Notify
	if b.spec, err = b.Notify.Announce(b.spec); err != nil || b.options.Wait {
		return err // with Wait, start listens
	}
	return b.Notify.Listen()
}

func (b *builder) attempt() (*plan.Process, error) {
	p, err := b.plan()
	if err != nil {
		return nil, err
	}
	return b.run(p)
}

// mknodDenied says whether the child could not make a device although it is root:
// it has no CAP_MKNOD, or a cgroup above denies it, as in a pod of Podman's. No fact
// tells that before; so the next attempt shows the host's devices instead.
func (b *builder) mknodDenied(err error) bool {
	var failed *plan.StepError
	return errors.Is(err, unix.EPERM) && errors.As(err, &failed) && failed.Step.Call == "mknodat" && !b.facts.NoMknod
}

// plan writes the whole plan of a new container. It is the table of contents of
// this program: to know how a line of a printed plan comes about, find its heading
// here, and go to the function below it.
func (b *builder) plan() (*plan.Plan, error) {
	p := &plan.Plan{Sources: b.sources}
	p.On(plan.Runtime)
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
