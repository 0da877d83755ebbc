package container

import (
	"fmt"
	"os"
	"strconv"

	"minirun/container/exit"
	"minirun/container/files"
	"minirun/container/hooks"
	"minirun/container/listener"
	"minirun/container/sockets"
	"minirun/container/stdio"
	"minirun/plan"
	"minirun/plan/print"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// This file goes from a plan to a process, for create and exec alike: it opens
// the files that the plan is given, lets the engine run it, and says what happened.

// keptFDs is how many descriptors from 3 on the program keeps.
func (o Options) keptFDs() int { return o.ListenFDs + o.PreserveFDs }

// terminal records the container's terminal, or its plain standard files.
func (b *builder) terminal(p *plan.Plan) {
	if !b.spec.Process.Terminal {
		b.stdio(p)
		return
	}
	slave := b.identity.Terminal(p, b.root.Ptmx(p))
	b.root.Console(p, slave)
}

// stdio records what descriptors 0, 1 and 2 become, where they do not stay. A pipe
// or a log becomes the user's, who may want to open it again as /dev/stdout. The host's
// null device becomes the container's (exec has seen to it already: package stdio).
func (b *builder) stdio(p *plan.Plan) {
	names := []plan.Inherited{"stdin", "stdout", "stderr"}
	for fd, f := range []*os.File{b.options.Stdin, b.options.Stdout, b.options.Stderr} {
		file := fd
		if f != nil {
			file = int(f.Fd())
		}
		switch {
		case b.root != nil && b.host.stdio(file) == stdio.Null:
			p.Note("the container's own null device, not the host's, of which root could change the mode")
			p.Dup3(b.root.Null(p, os.O_RDWR), fd, 0)
		case f != nil:
			p.Dup3(names[fd], fd, 0)
		}
		if log := b.options.Monitor && f != nil && fd > 0; log || b.host.stdio(file) == stdio.Pipe {
			b.identity.ChownStdio(p, fd)
		}
	}
}

// run runs the plan.
func (b *builder) run(p *plan.Plan) (process *plan.Process, _ error) {
	opened, err := b.openFiles()
	defer func() {
		for _, f := range opened {
			f.Close()
		}
	}()
	if err != nil {
		return nil, err
	}
	o := b.options.Engine
	o.FirstFD, o.Inherited, o.Notation = 3+b.options.keptFDs(), b.given, print.Step
	if b.identity.HasListener() {
		agent, err := b.agent()
		if err != nil {
			return nil, err
		}
		o.Inherited[plan.Listener] = agent.FD()
		defer func() { b.listener = agent.Finish() }()
	}
	return b.joins.OnThread(func() (*plan.Process, error) { return p.Start(o) })
}

// openFiles fills in what the plan is given, and returns the files that were opened
// for it.
func (b *builder) openFiles() (opened []*os.File, _ error) {
	o := b.options
	for name, f := range map[plan.Inherited]*os.File{"stdin": o.Stdin, "stdout": o.Stdout, "stderr": o.Stderr, "console": o.Console} {
		if f != nil {
			b.given[name] = int(f.Fd())
		}
	}
	for _, file := range []struct {
		wanted bool
		name   plan.Inherited
		open   func() (*os.File, error)
	}{
		{o.Wait, plan.Copy, b.makeFifo},
		{b.hostProc, "procfs", func() (*os.File, error) { return os.Open("/proc") }},
		{o.Monitor, "null", func() (*os.File, error) { return os.OpenFile("/dev/null", os.O_RDWR, 0) }},
		{o.Monitor, "exit", func() (*os.File, error) { return os.OpenFile(b.path(exit.File), os.O_WRONLY|os.O_CREATE, 0o600) }},
	} {
		if file.wanted {
			f, err := file.open()
			if err != nil {
				return opened, err
			}
			opened, b.given[file.name] = append(opened, f), int(f.Fd())
		}
	}
	return opened, nil
}

// agent connects to the agent of the seccomp filter.
func (b *builder) agent() (*listener.Agent, error) {
	status := specs.StateCreating
	if b.Pid != 0 {
		var err error
		if status, err = b.Status(); err != nil {
			return nil, err
		}
	}
	return listener.New(b.spec.Linux.Seccomp, b.oci(status))
}

// report tells the caller of the new process, once its program runs or waits for
// start. kind is what runc calls the process for --pidfd-socket: "standard" for a
// container's, "setns" for one that exec adds.
func (b *builder) report(p *plan.Process, kind string) error {
	if b.listener != nil {
		return b.listener
	}
	if b.options.PidFD != nil {
		if err := sockets.SendPidFD(b.options.PidFD, kind, p.Pid); err != nil {
			return fmt.Errorf("pidfd socket: %w", err)
		}
	}
	if b.options.PidFile != "" {
		return files.Replace(b.options.PidFile, []byte(strconv.Itoa(p.Pid)), 0o644)
	}
	return nil
}

// started ends New.
func (b *builder) started(p *plan.Process) error {
	if err := b.report(p, "standard"); err != nil || b.options.Wait {
		return err
	}
	return b.runHooks(hooks.Poststart)
}
