package container

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"minirun/cgroups/birth"
	"minirun/cgroups/resctrl"
	"minirun/container/config"
	"minirun/container/descriptors"
	"minirun/container/failure"
	"minirun/container/hooks"
	"minirun/container/host"
	"minirun/container/owned"
	"minirun/container/pidfd"
	"minirun/container/stdio"
	"minirun/container/users"
	"minirun/namespaces"
	"minirun/namespaces/join"
	"minirun/plan"
	"minirun/rootfs"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// This file adds processes to a container that exists: those of the exec command, and
// hooks that run inside. Such a process does not get new namespaces but joins those of the
// container process (setns(2)).
//
// The container is not trusted any more: its programs have been running. They can have
// changed every file of its root, and they could attack a process that joins before it has
// dropped its rights. What protects it:
//
//   - All namespaces are joined through one pidfd, which refers to the container process
//     and to no other (open).
//   - The child is not dumpable until execve, so no process of the container can trace it or
//     take its descriptors (package join).
//   - The runtime itself never enters the container; a child does.

// Exec starts one more process in a running container: born into its cgroup, in its
// namespaces, with an identity of its own. linux is the container's own section; only
// what belongs to a process is used: the seccomp filter, personality and memory policy.
// It may be nil. The caller waits for the process, which is its child.
//
//	open       a pidfd of the container process; its start time must be the recorded one
//	joinPlan   the child is cloned into the cgroup, and joins the namespaces
//	become     its limits, groups, user and capabilities, as for the first process
//	Execve     its program. Only now does anything of the container run in it
//
// In a paused container the child could not run, and Exec would wait for it; so that is an
// error unless Options.IgnorePaused. The error is [ErrNotRunning] if there is no process to
// join, or if it ends meanwhile.
func (c *Container) Exec(spec *specs.Process, linux *specs.Linux, o Options) (*plan.Process, error) {
	switch status, err := c.Status(); {
	case err != nil:
		return nil, fmt.Errorf("exec in %s: %w", c.ID, err)
	case status == Paused && !o.IgnorePaused:
		return nil, fmt.Errorf("exec in %s: container is paused: the program would not run until it is resumed", c.ID)
	case status != Paused && status != specs.StateRunning && status != specs.StateCreated:
		return nil, fmt.Errorf("exec in %s: %w", c.ID, ErrNotRunning)
	}
	if err := descriptors.Check(o.keptFDs()); err != nil {
		return nil, err
	}
	b, err := c.newExec(spec, linux, o)
	if err != nil {
		return nil, err
	}
	if err := b.identity.home(func() (io.ReadCloser, error) { return users.Of(c.Pid, "etc/passwd") }); err != nil {
		return nil, err
	}
	p, err := b.runExec()
	if errors.Is(err, plan.ErrJoinedEnded) {
		return nil, fmt.Errorf("exec in %s: %w", c.ID, ErrNotRunning)
	} else if err != nil {
		return nil, failure.Of(err, c.ID, spec.Args)
	}
	if err := b.report(p, "setns"); err != nil {
		unix.Kill(p.Pid, unix.SIGKILL) // not reaped yet, so no other process has this id
		p.Wait()
		return nil, err
	}
	return p, nil
}

// newExec is the builder of one more process of the container. The runtime always sets its
// limits (limitedByRuntime): in the container's user namespace the child would lack the
// privilege to raise them, and without a user namespace it does not matter who sets them.
func (c *Container) newExec(spec *specs.Process, linux *specs.Linux, o Options) (b *builder, err error) {
	if linux == nil {
		linux = &specs.Linux{}
	}
	b = &builder{Container: c, spec: &specs.Spec{Process: spec, Linux: linux}, options: o,
		facts: host.Facts(), host: host.This(), given: map[plan.Inherited]int{}}
	if b.namespaces, err = namespaces.List(c.Namespaces); err != nil {
		return nil, err
	}
	if err := b.checkIdentity(); err != nil {
		return nil, err
	}
	b.identity.limitedByRuntime = true
	return b, nil
}

// open returns a pidfd that certainly refers to the container process, or
// [ErrNotRunning]. The start time in the state is compared after the pidfd is open, since
// before that the process could end and its id be given to another.
func (c *Container) open() (int, error) {
	fd, err := c.Identity.Open()
	if errors.Is(err, pidfd.ErrEnded) {
		err = ErrNotRunning
	}
	return fd, err
}

// runExec runs the plan of one more process. The pidfd is held until the plan has run: by
// it the child joins, and the runtime notices if the container ends meanwhile
// (plan.Options.Joined).
//
// SetgroupsDenied: in a user namespace that an ordinary user has made, setgroups(2) may be
// forbidden for all of its processes. Then the plan must not have the call.
func (b *builder) runExec() (*plan.Process, error) {
	process, err := b.open()
	if err != nil {
		return nil, fmt.Errorf("exec in %s: %w", b.ID, err)
	}
	defer unix.Close(process)
	own, err := stdio.ReopenNull(b.Pid, &b.options.Stdin, &b.options.Stdout, &b.options.Stderr)
	if err != nil {
		return nil, err
	}
	defer own.Close() // nil, if none of them was one
	if b.identity.SetgroupsDenied, err = namespaces.SetgroupsDenied(b.Pid); err != nil {
		return nil, fmt.Errorf("exec in %s: %w", b.ID, err)
	}
	// The same pidfd twice: the plan joins by it, and the engine watches it for the end.
	b.options.Engine.Joined, b.given["container"] = process, process
	for {
		p, err := b.execPlan()
		if err != nil {
			return nil, err
		}
		if child, err := b.run(p); !b.endedAtBirth(err) {
			return child, err
		}
	}
}

// execPlan writes the plan of one more process: what [builder.plan] is for the first.
// There are no mounts and no masks in it, because the process finds those of the container.
func (b *builder) execPlan() (*plan.Plan, error) {
	p, err := b.joinPlan(b.options.Cgroup)
	if err != nil {
		return nil, err
	}
	p.Heading("who it is")
	b.identity.cpus.Record(p)
	if b.spec.Process.Terminal {
		p.Note("the terminal belongs to the container's devpts")
		b.identity.Terminal(p, p.OpenIn(plan.CWD, "dev/pts/ptmx", unix.O_RDWR|unix.O_NOCTTY, 0).As("ptmx"))
		stdio.TerminalGate(p, b.options.Terminal)
	} else {
		b.stdio(p)
	}
	b.identity.labels.Record(p, b.procfs)
	b.identity.become(p)
	p.Heading("the program")
	p.Ready()
	b.identity.Execve(p)
	return p, p.Err()
}

// joinPlan starts a plan whose child is in the container's namespaces and cgroup, or
// in a group below that. The caller must give the plan a pidfd of the container process, as
// the descriptor "container".
//
// The cgroup and the root directory are opened as the runtime sees them, before the child
// is in other namespaces. A container without a mount namespace of its own has only a root
// directory (chroot(2)); setns(2) does not lead into that, so it is opened by
// /proc/PID/root.
func (c *Container) joinPlan(below string) (*plan.Plan, error) {
	set, err := namespaces.List(c.Namespaces)
	if err != nil {
		return nil, err
	}
	group, err := owned.ToJoin(c.Cgroup, c.Mark, c.Identity, below)
	if err != nil {
		return nil, fmt.Errorf("exec in %s: %w", c.ID, err)
	}
	p, clone := &plan.Plan{}, plan.Clone{}
	p.On(plan.Runtime)
	p.Heading("joining")
	if group != "" && !c.moved {
		clone.Cgroup = p.Openat(plan.CWD, group, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0).As("cgroup")
	}
	var root plan.FD
	if !set.Has(specs.MountNamespace) {
		root = p.Openat(plan.CWD, fmt.Sprintf("/proc/%d/root", c.Pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0).As("root")
		p.Note("signal 0 asks: does the process still run? else the number in that path was another's")
		p.Call("pidfd_send_signal", unix.SYS_PIDFD_SEND_SIGNAL, plan.Inherited("container"), plan.Num(0), plan.Null, plan.Num(0)).Explain(unix.ESRCH, "the container process has ended")
	}
	tasks, err := c.Class.Join(p, c.Mark)
	if err != nil {
		return nil, err
	}
	join.Exec(p, set, plan.Inherited("container"), root, clone, plan.Facts{Euid: os.Geteuid()})
	p.On(plan.Child)
	if group != "" && c.moved {
		birth.Move(p, group)
	}
	resctrl.Enter(p, tasks)
	return p, nil
}

// procfs is a procfs that the container cannot change, for the labels of a process
// that joins: they are set by writing to /proc/self/attr. The container's own /proc could
// have another mount on top of that file. Without a user namespace a new procfs is mounted,
// attached nowhere. With one the kernel may refuse that; but there the host's own will do,
// because no process of the container can take it from the child (see [join.Exec]).
func (b *builder) procfs(p *plan.Plan) plan.FD {
	if !b.namespaces.Has(specs.UserNamespace) {
		return rootfs.NewProc(p)
	}
	b.hostProc = true
	return plan.Inherited("procfs")
}

// Spec is the container's config.json as it was when the container was made. Exec takes
// from it what the command line leaves out.
func (c *Container) Spec() (*specs.Spec, error) { return config.Of(c.dir, c.Bundle) }

// forHooks is what package hooks needs of the container. They are functions, because package
// container imports hooks, and so hooks cannot import it.
func (c *Container) forHooks() hooks.Container {
	return hooks.Container{State: c.oci, Root: func() string { return c.Rootfs }, Join: c.joinForHook, Exec: c.execHook}
}

// runHooks runs the hooks of one point. The first failure ends it.
func (c *Container) runHooks(at hooks.Point) error { return hooks.Of(c.Hooks, c.forHooks()).Run(at) }

// runPoststop runs all of the last hooks, even if one fails.
func (c *Container) runPoststop() { hooks.Of(c.Hooks, c.forHooks()).RunAll(hooks.Poststop, c.Warn) }

// joinForHook begins the plan of a hook that is a program of the host's: it runs in the
// container's namespaces and cgroup. process is a pidfd of the container process, for
// the plan to be given as "container"; the caller closes it.
func (c *Container) joinForHook() (p *plan.Plan, process int, err error) {
	if process, err = c.open(); err != nil {
		return nil, -1, err
	}
	if p, err = c.joinPlan(""); err != nil {
		unix.Close(process)
	}
	return p, process, err
}

// execHook starts a hook that is a program of the container's. The container is not
// trusted, so the hook gets no more rights than the container's process has.
func (c *Container) execHook(h specs.Hook, in, out *os.File, o plan.Options) (*plan.Process, error) {
	spec, err := c.Spec()
	if err != nil {
		return nil, err
	}
	process := *spec.Process
	process.Args, process.Env, process.Terminal, process.ExecCPUAffinity = h.Args, hooks.Env(h, process.Env), false, nil
	b, err := c.newExec(&process, spec.Linux, Options{Stdin: in, Stdout: out, Stderr: out, Engine: o})
	if err != nil {
		return nil, err
	}
	b.identity.Program = h.Path
	return b.runExec()
}
