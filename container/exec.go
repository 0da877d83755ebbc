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
	"minirun/container/pidfd"
	"minirun/container/users"
	"minirun/namespaces"
	"minirun/namespaces/join"
	"minirun/plan"
	"minirun/rootfs"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Exec starts one more process in a running container: born into its cgroup,
// in its namespaces, with an identity of its own. Of linux, the container's,
// the filter and what else is a process's counts; nil for none.
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
	container, err := c.open()
	if err != nil {
		return nil, fmt.Errorf("exec in %s: %w", c.ID, err)
	}
	defer unix.Close(container)
	p, err := b.enter(container)
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

// joining starts a plan whose child is in the container's namespaces and
// cgroup, or in a group below that. The container process is given as
// "container", a pidfd.
func (c *Container) joining(below string) (*plan.Plan, *namespaces.Set, error) {
	set, err := namespaces.List(c.Namespaces)
	if err != nil {
		return nil, nil, err
	}
	p := &plan.Plan{}
	p.On(plan.Runtime)
	clone := plan.Clone{}
	home := filepath.Join(c.Cgroup, filepath.Clean("/"+below)) // cleaned so, ".." ends at the container's own
	switch {
	case below != "" && c.Cgroup == "":
		return nil, nil, fmt.Errorf("exec in %s: it has no cgroup of its own, and so none below that", c.ID)
	case c.Cgroup != "":
		if below == "" {
			if home, err = c.group().DirFor(c.Pid); err != nil {
				return nil, nil, err
			}
		}
		clone.Cgroup = p.Openat(plan.CWD, home, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0).As("cgroup")
	}
	var root plan.FD
	if !set.Has(specs.MountNamespace) {
		root = p.Openat(plan.CWD, fmt.Sprintf("/proc/%d/root", c.Pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0).As("root")
	}
	tasks := c.Class.Join(p)
	join.Exec(p, set, plan.Inherited("container"), root, clone, plan.Facts{Euid: os.Geteuid()})
	p.On(plan.Child)
	resctrl.Enter(p, tasks)
	return p, set, nil
}

// enter writes and carries out the plan of a process that joins.
func (b *builder) enter(process int) (*plan.Process, error) {
	p, set, err := b.joining(b.options.Cgroup)
	if err != nil {
		return nil, err
	}
	b.namespaces = set
	if b.identity.SetgroupsDenied, err = namespaces.SetgroupsDenied(b.Pid); err != nil {
		return nil, fmt.Errorf("exec in %s: %w", b.ID, err)
	}
	b.identity.cpus.Record(p)
	if b.spec.Process.Terminal {
		p.Note("the terminal belongs to the container's devpts")
		b.identity.Terminal(p, p.OpenIn(plan.CWD, "dev/pts/ptmx", unix.O_RDWR|unix.O_NOCTTY, 0).As("ptmx"))
	} else {
		b.stdio(p)
	}
	b.options.Engine.Joined, b.given["container"] = process, process
	if err := b.label(p); err != nil {
		return nil, err
	}
	b.identity.become(p)
	p.Ready()
	b.identity.Execve(p)
	if proc, ok := b.given["procfs"]; ok {
		defer unix.Close(proc)
	}
	return b.run(p)
}

// label records the labels of a process that joins, through a procfs in which
// the container has no hand. From within a user namespace that sees /proc in
// parts only none can be mounted: there it is the host's, which nobody in the
// container can get at. Elsewhere somebody might (see [join.Exec]).
func (b *builder) label(p *plan.Plan) (err error) {
	b.identity.labels.Record(p, func(p *plan.Plan) plan.FD {
		if !b.namespaces.Has(specs.UserNamespace) {
			return rootfs.NewProc(p)
		}
		var fd int
		if fd, err = unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
			b.given["procfs"] = fd
		}
		return plan.Inherited("procfs")
	})
	if err != nil {
		return fmt.Errorf("open /proc: %w", err)
	}
	return nil
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
