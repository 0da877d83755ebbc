package container

import (
	"os"

	"golang.org/x/sys/unix"

	"minirun/container/exit"
	"minirun/container/hooks"
	"minirun/container/listener"
	"minirun/container/report"
	"minirun/container/stdio"
	"minirun/plan"
	"minirun/plan/print"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// This file goes from a plan to a process, for create and exec alike: it opens
// the files that the plan uses by name ([plan.Inherited]), lets package plan run it, and
// reports the process to the caller.
//
// Why are these files not opened by steps? Those of the caller are open already. The
// others must exist only when the plan is run, not when it is printed.

// keptFDs is how many descriptors from 3 on the program keeps. Everything above is closed
// before execve, so that no file of the runtime's leaks into the container.
func (o Options) keptFDs() int { return o.ListenFDs + o.PreserveFDs }

// terminal records the container's terminal, or its plain standard files. The terminal
// comes from the container's own devpts: with one of the host's, a program in the
// container could type into it (TIOCSTI). /dev/console is then the same terminal.
func (b *builder) terminal(p *plan.Plan) {
	if !b.spec.Process.Terminal {
		b.stdio(p)
		return
	}
	slave := b.identity.Terminal(p, b.root.Ptmx(p))
	stdio.TerminalGate(p, b.options.Terminal)
	b.root.Console(p, slave)
}

// stdio records what descriptors 0, 1 and 2 become, where they do not stay. A pipe or a
// log gets the program's user as its owner. Why? Opening /dev/stdout opens the file behind
// the descriptor once more (/proc/self/fd/1), and then the kernel checks its owner and mode.
// Other files keep their owner, because they are not the container's.
//
// Where a descriptor is the host's /dev/null, the container gets its own null device
// instead. Root in the container could otherwise change the mode of the host's through the
// open descriptor (fchmod(2)). For exec, package stdio does this. EPERM says that a cgroup
// above denies every null device, as that of a pod of Podman 4.3 does: then there is
// no result, its dup3 is skipped, and the host's stays.
func (b *builder) stdio(p *plan.Plan) {
	names := []plan.Inherited{"stdin", "stdout", "stderr"}
	for fd, f := range []*os.File{b.options.Stdin, b.options.Stdout, b.options.Stderr} {
		file := fd
		if f != nil {
			file = int(f.Fd())
		}
		if f != nil {
			p.Dup3(names[fd], fd, 0)
		}
		if b.root != nil && b.host.Stdio(file) == stdio.Null {
			p.Note("the container's own null device: through the host's, root in the container could change the mode of the host's file")
			p.Dup3(b.root.Null(p, os.O_RDWR).Tolerate(unix.EPERM), fd, 0)
		}
		if log := b.options.Monitor && f != nil && fd > 0; log || b.host.Stdio(file) == stdio.Pipe {
			b.identity.ChownStdio(p, fd)
		}
	}
}

// run runs the plan. The files that were opened for it are closed in any case: the
// processes of the plan have their own copies.
//
// Some plans change the namespaces of the runtime's own thread. OnThread runs such a plan on
// a thread that ends with it, so that no other part of the runtime is ever on that thread.
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

// openFiles fills in b.given, the descriptor numbers behind the plan's names, and returns the
// files that it has opened, also after an error.
//
//	stdin, stdout, stderr, console   the caller's, if it has set them
//	fifo       exec.fifo, at which the child waits for the start command
//	procfs     the host's /proc, for the labels of a process that joins (builder.procfs)
//	null       what the standard files of a monitor become
//	exit       the file into which a monitor writes how the container ended
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
		{o.Monitor, "exit", func() (*os.File, error) { return exit.Open(b.dir) }},
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

// agent connects to the agent of the seccomp filter: the process that decides about the
// system calls which the filter leaves open. It is connected before the plan runs, because
// the child waits in its first such call until somebody decides (package listener).
func (b *builder) agent() (*listener.Agent, error) {
	status := specs.StateCreating
	if b.Pid != 0 {
		var err error
		if status, err = b.Status(); err != nil {
			return nil, err
		}
	}
	return listener.New(b.options.Agent, b.spec.Linux.Seccomp, b.oci(status))
}

// report tells the caller which process the new one is, once its program runs or
// waits for start.
func (b *builder) report(p *plan.Process, kind string) error {
	if b.listener != nil {
		return b.listener
	}
	return report.Process(p, kind, b.options.PidFD, b.options.PidFile)
}

// started ends New: it reports the process, and if the program runs already, runs the
// poststart hooks. After create they wait for the start command.
func (b *builder) started(p *plan.Process) error {
	if err := b.report(p, "standard"); err != nil || b.options.Wait {
		return err
	}
	return b.runHooks(hooks.Poststart)
}
