package container

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"minirun/container/exit"
	"minirun/container/files"
	"minirun/container/procfs"
	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// This file records how the container process comes into being: its cgroup, and
// the clone3 that puts the process into it, by the runtime or by a monitor.
//
// A detached container has a parent that waits for it, since the kernel tells how a
// process ended only to its parent, and only once. That is all that this parent does.
// So the monitor is no program of its own but part of the plan: a copy of the runtime
// that never returns to Go, and has no Go heap. It keeps the runtime's command line,
// with the container's id in it, so that ps shows whose monitor it is.

// clone records the cgroup and the birth of the process in it, below a monitor
// if there is to be one.
func (b *builder) clone(p *plan.Plan) (err error) {
	c := plan.Clone{}
	p.Heading("cgroup")
	if b.unit != nil {
		b.namespaces.DeferCgroup()
	} else if b.cgroup != nil {
		if c.Cgroup, err = b.makeGroup(p); err != nil {
			return err
		}
	}
	b.tasks = b.Class.Add(p)
	if b.options.Monitor {
		return b.monitor(p, c)
	}
	p.Heading("a process of its own")
	c.PidFD = true
	b.born(p, c)
	unknown := b.cgroup == nil && !b.namespaces.Makes(specs.UserNamespace) // else it waits for its id maps, which come later
	if unknown || b.unit != nil || b.joins.Indirectly() {
		return b.pidGate(p)
	}
	p.Do("state.json: the container process", b.cloned)
	return nil
}

// makeGroup records the container's group and what is done to it: before the process
// is cloned into it; or, if systemd makes it, while the child waits at a gate for
// systemd to move it there.
func (b *builder) makeGroup(p *plan.Plan) (group plan.FD, err error) {
	if b.unit != nil {
		group, err = b.unit.Add(p, b.cgroup, b.limits)
	} else {
		group, err = b.cgroup.Add(p, b.limits)
	}
	if err != nil {
		return nil, err
	}
	b.filter.Record(p, group)
	b.delegation.Record(p, group)
	return group, nil
}

// born records the clone3 of the container process.
func (b *builder) born(p *plan.Plan, c plan.Clone) *plan.Step {
	if b.joins != nil {
		return b.joins.Clone(p, c)
	}
	return b.namespaces.Clone(p, c)
}

// monitor records the monitor's steps, with the birth of the container process
// among them.
func (b *builder) monitor(p *plan.Plan, c plan.Clone) error {
	p.Heading("a monitor")
	p.Note("a process that only waits for the container, and writes down how it ended")
	p.Clone3(plan.Clone{})
	p.On(plan.Monitor)
	p.Setsid()
	p.Note("executed by a descriptor, or /proc/self/exe, the runtime's threads have the name of that")
	p.Call("prctl", unix.SYS_PRCTL, plan.Num(unix.PR_SET_NAME), plan.String("minirunc"))
	p.Heading("a process of its own")
	child := b.born(p, c).As("container").Reported()
	p.Heading("a monitor")
	p.Note("the monitor keeps nothing open: not the caller's terminal, not its pipes")
	p.Dup3(plan.Inherited("exit"), 3, 0)
	for fd := range 3 {
		p.Dup3(plan.Inherited("null"), fd, 0)
	}
	p.CloseRange(plan.Num(4), 0, nil)
	info := &plan.Memory{Bytes: make([]byte, exit.Size), Show: func() string { return "{...}" }}
	p.Call("waitid", unix.SYS_WAITID, plan.Name{Value: unix.P_PID, Text: "P_PID"}, child, info, plan.Name{Value: unix.WEXITED, Text: "WEXITED"}, plan.Null)
	p.Call("write", unix.SYS_WRITE, plan.Num(3), info, plan.Num(exit.Size)).MustReturn(exit.Size)
	if b.options.AtExit != nil {
		p.Note("--rm: the monitor becomes the command that cleans up")
		p.RtSigprocmask()
		p.Execve(b.options.AtExit[0], b.options.AtExit, os.Environ())
	} else {
		p.ExitGroup(0)
	}
	return b.pidGate(p)
}

// pidGate records the gate at which the child waits until its process id is written
// down, and until systemd has taken it into its group. A child that is born in a group
// need not wait: should the runtime be killed, the group tells whose process it is.
// Without a group, or with one that comes later, nothing would.
func (b *builder) pidGate(p *plan.Plan) (err error) {
	p.On(plan.Child)
	p.Gate("container process known", func() {
		p.Do("state.json: the container process", b.cloned)
		if b.unit != nil {
			_, err = b.makeGroup(p)
		}
	})
	b.namespaces.UnshareCgroup(p)
	return err
}

// cloned writes down which process the container is, as early as possible:
// whatever happens to us, delete will know what to end.
func (b *builder) cloned(p *plan.Process) error {
	b.Pid = p.Pid
	if !b.options.Wait {
		b.Started = time.Now().UTC()
	}
	s, err := procfs.ReadStat("/proc", p.Pid)
	if err != nil {
		return err
	}
	b.StartTime = s.Start
	if err := b.Save(); err != nil || b.options.Config == nil {
		return err
	}
	// As it was read: what becomes of the bundle's after create must not change the
	// container (runtime-spec, runtime.md, Lifecycle).
	return files.Replace(b.path("config.json"), b.options.Config, 0o600)
}
