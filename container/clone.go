package container

import (
	"cmp"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"minirun/cgroups/birth"
	"minirun/cgroups/owner"
	"minirun/container/exit"
	"minirun/container/files"
	"minirun/container/pidfd"
	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// This file records how the container process comes into being: its cgroup, and
// the clone3 that puts the process into it, by the runtime or by a monitor.
//
//	in the foreground     runtime ---clone3---> container process
//	detached              runtime ---clone3---> monitor ---clone3---> container process
//	some joined kinds     runtime ---clone3---> intermediate ---clone3---> container process
//
// CLONE_INTO_CGROUP (Linux 5.7) makes the process a member of its cgroup from its first
// instruction. Were it moved there later, the memory that it has used until then would stay
// charged to the runtime's group.
//
// Why a monitor? The kernel tells how a process ended only to its parent, and only once
// (wait(2)). The runtime of a detached container exits, so another process must be the
// parent. It does nothing else than wait. So it is no program of its own but part of the
// plan: a copy of the runtime that never returns to Go, and has no Go heap. It keeps the
// runtime's command line, with the container's id in it, so ps shows whose monitor it is.

// clone records the cgroup and the birth of the process in it, below a monitor
// if there is to be one.
//
// state.json must name the process as early as possible (cloned). A runtime that has
// cloned the process itself knows its id at once, and should it be killed just then, the
// process is found by its cgroup. Without a cgroup, or if another process tells the
// runtime the id over a channel, the child waits at a gate until the id is written down.
func (b *builder) clone(p *plan.Plan) (err error) {
	c := plan.Clone{}
	p.Heading("cgroup")
	if b.unit != nil || b.moved {
		b.namespaces.DeferCgroup()
	} else if b.cgroup != nil {
		if c.Cgroup, err = b.makeGroup(p); err != nil {
			return err
		}
	}
	b.tasks = b.Class.Add(p, b.Mark)
	if b.options.Monitor {
		return b.monitor(p, c)
	}
	p.Heading("a process of its own")
	c.PidFD = true
	b.joins.Clone(p, b.namespaces, c)
	unknown := b.cgroup == nil && !b.namespaces.Makes(specs.UserNamespace) // else it waits for its id maps, which come later
	if unknown || b.unit != nil || b.moved || b.joins.Indirectly() {
		return b.pidGate(p)
	}
	p.Do("state.json: the container process", b.cloned)
	return nil
}

// makeGroup records the container's group and what is done to it: before the process
// is cloned into it; or, if systemd makes it, while the child waits at a gate for
// systemd to move it there; or for the runtime to do so (endedAtBirth). group is an open descriptor of it, for clone3.
//
// The device filter is attached before any process is in the group, so that none can open
// a device before it is in force. Delegation comes last: it gives files of the group to
// another owner, and the limits must be the runtime's.
func (b *builder) makeGroup(p *plan.Plan) (group plan.FD, err error) {
	if b.unit != nil {
		group, err = b.unit.Add(p, b.cgroup, b.limits)
	} else {
		group, err = b.cgroup.Add(p, b.limits)
	}
	if group == nil {
		return nil, err
	}
	b.unmet = cmp.Or(b.unmet, err)
	p.Note(owner.Note)
	root := b.facts.Privileged()
	p.Call("setxattr", unix.SYS_SETXATTR, b.Mark.Set(b.Cgroup, root)...).Undo(b.Mark.Restore(b.Cgroup, root))
	b.filter.Record(p, group)
	b.delegation.Record(p, group)
	if b.moved {
		birth.Enter(p, b.Cgroup)
	}
	return group, nil
}

// monitor records the monitor's steps, with the birth of the container process
// among them:
//
//	setsid       a signal from the terminal of the caller, such as Ctrl-C, does not end it
//	clone3       the container process; its id is reported to the runtime
//	close_range  open pipes would make the caller wait for their end (conmon, cat, CI)
//	chdir        the caller's directory would stay in use
//	waitid       until the container process has ended, whatever time that takes
//	write        the siginfo_t that waitid has filled goes to the file "exit"
//	sendto       published ports lead to the container no more (package link)
//	exit_group   or, with Options.AtExit, execve of the command that cleans up
//
// The file "exit" becomes descriptor 3, so that one close_range can close all others. It may
// have that number already, and so may the null device, which is therefore copied first. The
// whole siginfo_t is written, because a plan cannot compute.
func (b *builder) monitor(p *plan.Plan, c plan.Clone) error {
	p.Heading("a monitor")
	p.Note("a process that only waits for the container, and writes down how it ended")
	p.Clone3(plan.Clone{})
	p.On(plan.Monitor)
	p.Setsid()
	p.Note("ps shows this name; otherwise it may show the number of the descriptor that the runtime was executed by")
	p.Call("prctl", unix.SYS_PRCTL, plan.Num(unix.PR_SET_NAME), plan.String("minirunc"))
	p.Heading("a process of its own")
	child := b.joins.Clone(p, b.namespaces, c).As("container").Reported()
	p.Heading("a monitor")
	p.Note("the monitor keeps nothing open: not the caller's terminal, not its pipes")
	for fd := range 3 {
		p.Dup3(plan.Inherited("null"), fd, 0)
	}
	p.Dup3(plan.Inherited("exit"), 3, 0).Tolerate(unix.EINVAL)
	p.CloseRange(plan.Num(4), 0, nil)
	p.Chdir("/") // else the caller's file system could not be unmounted
	info := &plan.Memory{Bytes: make([]byte, exit.Size), Show: func() string { return "{...}" }}
	p.Call("waitid", unix.SYS_WAITID, plan.Name{Value: unix.P_PID, Text: "P_PID"}, child, info, plan.Name{Value: unix.WEXITED, Text: "WEXITED"}, plan.Null)
	p.Call("write", unix.SYS_WRITE, plan.Num(3), info, plan.Num(exit.Size)).MustReturn(exit.Size)
	b.options.Network.End(p)
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
// down, and until systemd, or the runtime, has moved it into its group. A child that is born in a group
// need not wait: if the runtime is killed, the group tells whose process it is. Only
// after the gate may the child make its cgroup namespace: the group that a process is
// in at unshare(2) becomes the root of what it sees (cgroup_namespaces(7)).
func (b *builder) pidGate(p *plan.Plan) (err error) {
	p.On(plan.Child)
	p.Gate("container process known", func() {
		p.Do("state.json: the container process", b.cloned)
		if b.unit != nil || b.moved {
			_, err = b.makeGroup(p)
		}
	})
	b.namespaces.UnshareCgroup(p)
	return err
}

// cloned writes down which process the container is, as early as possible: if the runtime
// is killed from now on, delete knows which process to end. Package pidfd says what is written
// down besides the id, which the kernel gives to another process some time after this one ends.
func (b *builder) cloned(p *plan.Process) (err error) {
	b.Pid = p.Pid
	if !b.options.Wait {
		b.Started = time.Now().UTC()
	}
	if b.Identity, err = pidfd.Of(p.Pid, p.PidFD); err != nil {
		return err
	}
	if b.options.Monitor && (p.PidFD < 0 || unix.PidfdSendSignal(p.PidFD, 0, nil, 0) == unix.ESRCH) {
		// Its monitor has waited for it, or has ended itself: what was read may be another process's.
		return fmt.Errorf("%w, or its monitor was", plan.ErrKilled)
	}
	if err := b.Save(); err != nil || b.options.Config == nil {
		return err
	}
	// The text as it was read: a change of the bundle's config.json after create must
	// not change the container (runtime-spec, runtime.md, Lifecycle).
	return files.Replace(b.path("config.json"), b.options.Config, 0o600)
}
