package container

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"minirun/cgroups/resctrl"
	"minirun/container/config"
	"minirun/container/descriptors"
	"minirun/container/failure"
	"minirun/container/hooks"
	"minirun/container/pidfd"
	"minirun/container/stdio"
	"minirun/container/users"
	"minirun/namespaces"
	"minirun/namespaces/join"
	"minirun/plan"
	"minirun/plan/print"
	"minirun/rootfs"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Exec starts one more process in a running container: born into its cgroup, in its
// namespaces, with an identity of its own. linux is the container's own section; only
// what belongs to a process is used: the seccomp filter, personality and memory policy.
// It may be nil.
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
		unix.Kill(p.Pid, unix.SIGKILL) // ours to reap, so the number is still its own
		p.Wait()
		return nil, err
	}
	return p, nil
}

// newExec is the builder of one more process of the container.
func (c *Container) newExec(spec *specs.Process, linux *specs.Linux, o Options) (b *builder, err error) {
	if linux == nil {
		linux = &specs.Linux{}
	}
	b = &builder{Container: c, spec: &specs.Spec{Process: spec, Linux: linux}, options: o,
		facts: facts(), host: thisHost(), given: map[plan.Inherited]int{}}
	if b.namespaces, err = namespaces.List(c.Namespaces); err != nil {
		return nil, err
	}
	if err := b.checkIdentity(); err != nil {
		return nil, err
	}
	b.identity.limitedByRuntime = true
	return b, nil
}

// open returns a pidfd that certainly refers to the container process.
func (c *Container) open() (int, error) {
	fd, err := pidfd.Open(c.Pid, c.StartTime)
	if errors.Is(err, pidfd.ErrEnded) {
		err = ErrNotRunning
	}
	return fd, err
}

// runExec runs the plan of one more process.
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
	p, err := b.execPlan()
	if err != nil {
		return nil, err
	}
	b.options.Engine.Joined, b.given["container"] = process, process
	return b.run(p)
}

// execPlan writes the plan of one more process: what [builder.plan] is for the first.
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
// in a group below that. The plan is given a pidfd of the container process, as
// "container".
func (c *Container) joinPlan(below string) (*plan.Plan, error) {
	set, err := namespaces.List(c.Namespaces)
	if err != nil {
		return nil, err
	}
	group, err := c.groupToJoin(below)
	if err != nil {
		return nil, err
	}
	p, clone := &plan.Plan{}, plan.Clone{}
	p.On(plan.Runtime)
	p.Heading("joining")
	if group != "" {
		clone.Cgroup = p.Openat(plan.CWD, group, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0).As("cgroup")
	}
	var root plan.FD
	if !set.Has(specs.MountNamespace) {
		root = p.Openat(plan.CWD, fmt.Sprintf("/proc/%d/root", c.Pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0).As("root")
	}
	tasks := c.Class.Join(p)
	join.Exec(p, set, plan.Inherited("container"), root, clone, plan.Facts{Euid: os.Geteuid()})
	p.On(plan.Child)
	resctrl.Enter(p, tasks)
	return p, nil
}

// groupToJoin is the directory of the cgroup in which one more process is born: the
// one below the container's own that was asked for, or else the one that the
// container process is in, since the container may have divided its group. It is ""
// if the container has no group of its own.
func (c *Container) groupToJoin(below string) (string, error) {
	switch {
	case below != "" && c.Cgroup == "":
		return "", fmt.Errorf("exec in %s: it has no cgroup of its own, and so none below that", c.ID)
	case c.Cgroup == "":
		return "", nil
	case below == "":
		return c.group().DirFor(c.Pid)
	}
	return filepath.Join(c.Cgroup, filepath.Clean("/"+below)), nil // "/../x" becomes "/x": it stays below
}

// procfs is a procfs that the container cannot change, for the labels of a process
// that joins. Without a user namespace a new one is mounted. With one the kernel may
// refuse that; but there the host's own will do, because no process of the container
// can take it from the child (see [join.Exec]).
func (b *builder) procfs(p *plan.Plan) plan.FD {
	if !b.namespaces.Has(specs.UserNamespace) {
		return rootfs.NewProc(p)
	}
	b.hostProc = true
	return plan.Inherited("procfs")
}

// Spec is the container's config.json as it was when the container was made: what
// exec starts from.
func (c *Container) Spec() (*specs.Spec, error) {
	spec, _, err := config.Read(c.dir)
	if errors.Is(err, fs.ErrNotExist) { // Options.Config was nil
		spec, _, err = config.Read(filepath.Clean(c.Bundle))
	}
	return spec, err
}

// forHooks is what package hooks needs of the container.
func (c *Container) forHooks() hooks.Container {
	return hooks.Container{State: c.oci, Join: c.joinForHook, Exec: c.execHook}
}

// runHooks runs the hooks of one point. The first failure ends it.
func (c *Container) runHooks(at hooks.Point) error { return hooks.Of(c.Hooks, c.forHooks()).Run(at) }

// runPoststop runs all of the last hooks, even if one fails.
func (c *Container) runPoststop() { hooks.Of(c.Hooks, c.forHooks()).RunAll(hooks.Poststop, c.Warn) }

// joinForHook starts a hook that is a program of the host's, in the container's
// namespaces and cgroup.
func (c *Container) joinForHook(record func(*plan.Plan), o plan.Options) (*plan.Process, error) {
	pidfd, err := c.open()
	if err != nil {
		return nil, err
	}
	defer unix.Close(pidfd)
	p, err := c.joinPlan("")
	if err != nil {
		return nil, err
	}
	record(p)
	o.Inherited["container"], o.Notation = pidfd, print.Step
	return p.Start(o)
}

// execHook starts a hook that is a program of the container's. The container is not
// trusted, so the hook gets no more rights than the container's process has.
func (c *Container) execHook(h specs.Hook, in, out *os.File, o plan.Options) (*plan.Process, error) {
	spec, err := c.Spec()
	if err != nil {
		return nil, err
	}
	process := *spec.Process
	process.Args, process.Env, process.Terminal, process.ExecCPUAffinity = h.Args, h.Env, false, nil
	b, err := c.newExec(&process, spec.Linux, Options{Stdin: in, Stdout: out, Stderr: out, Engine: o})
	if err != nil {
		return nil, err
	}
	b.identity.Program = h.Path
	return b.runExec()
}
