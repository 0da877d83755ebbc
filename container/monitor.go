package container

import (
	"os"

	"golang.org/x/sys/unix"

	"minirun/plan"
)

// A detached container has a parent that waits for it, since somebody must:
// the kernel tells how a process ended only to its parent, and only once. That
// is all this parent does, so it is no program of its own but part of the plan:
// a copy of the runtime that never returns to Go, without Go's heap. Its file
// names are in the runtime's command line, which it keeps, so that ps shows
// whose it is.

// monitor records its steps, with the birth of the container process among them.
func (b *builder) monitor(p *plan.Plan, c plan.Clone) error {
	p.Note("a process that only waits for the container, and writes down how it ended")
	p.Clone3(plan.Clone{}).Shell("setsid --fork")
	p.On(plan.Monitor)
	p.Setsid()
	p.Note("executed by a descriptor, or /proc/self/exe, the runtime's threads have the name of that")
	p.PrctlName("minirun")
	child := b.born(p, c).As("container").Reported()
	p.Note("the monitor keeps nothing open: not the caller's terminal, not its pipes")
	p.Dup3(plan.Given("exit"), 3, 0)
	for fd := range 3 {
		p.Dup3(plan.Given("null"), fd, 0)
	}
	p.CloseRange(plan.Num(4), 0, nil)
	info := plan.NewMemory(exitSize)
	p.Waitid(child, info)
	p.WriteMemory(plan.Num(3), info)
	if b.options.AtExit != nil {
		p.Note("--rm: the monitor becomes the command that cleans up")
		p.RtSigprocmask()
		p.Execve("/proc/self/exe", b.options.AtExit, os.Environ())
	} else {
		p.ExitGroup(0)
	}
	return b.known(p)
}

// known records the gate at which the runtime knows who the child is that
// another process cloned, and at which systemd takes it into its group.
func (b *builder) known(p *plan.Plan) (err error) {
	p.On(plan.Child)
	p.Gate("container process known", func() {
		p.Do("state.json: the container process", b.cloned)
		err = b.scope(p)
	})
	b.namespaces.UnshareCgroup(p)
	return err
}

// monitorFiles opens what the monitor needs.
func (b *builder) monitorFiles() (null, exit *os.File, err error) {
	if null, err = os.OpenFile("/dev/null", os.O_RDWR, 0); err != nil {
		return nil, nil, err
	}
	exit, err = os.OpenFile(b.path("exit"), os.O_WRONLY|os.O_CREATE|unix.O_CLOEXEC, 0o600)
	return null, exit, err
}
