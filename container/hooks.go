package container

import (
	"os"

	"golang.org/x/sys/unix"

	"minirun/container/hooks"
	"minirun/container/procfs"
	"minirun/plan"
	"minirun/plan/print"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// forHooks is what package hooks needs of the container.
func (c *Container) forHooks() hooks.Container {
	return hooks.Container{State: c.hookState, Join: c.joinForHook, Exec: c.execHook}
}

// runHooks runs the hooks of one point. The first failure ends it.
func (c *Container) runHooks(at hooks.Point) error { return hooks.Of(c.Hooks, c.forHooks()).Run(at) }

// runPoststop runs all of the last hooks, even if one fails.
func (c *Container) runPoststop() { hooks.Of(c.Hooks, c.forHooks()).RunAll(hooks.Poststop, c.Warn) }

// hookState is the state as a hook is told it. In the container's namespaces, the
// process id is the one that counts there (runtime-spec, runtime.md, "State").
func (c *Container) hookState(status specs.ContainerState, inside bool) (specs.State, error) {
	state := c.oci(status)
	if !inside {
		return state, nil
	}
	p, err := procfs.One("/proc", state.Pid)
	if err != nil {
		return state, err
	}
	state.Pid = p.Inner()
	return state, nil
}

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
