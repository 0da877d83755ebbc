package container

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"minirun/container/pidfd"
	"minirun/plan"
	"minirun/plan/print"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Hooks are programs that the spec's author wants run at certain points of a
// container's life (runtime-spec, config.md, POSIX-platform Hooks). They get
// the container's state on standard input and no environment but their own;
// what they print is only seen if they fail.
//
//	when                                        kind             in whose namespaces   a failure
//	create: before pivot_root                   prestart         the runtime's         ends the container
//	                                            createRuntime    the runtime's         "
//	                                            createContainer  the container's       "
//	start: before the program                   startContainer   the container's       "
//	       after its execve                     poststart        the runtime's         "
//	delete, or after a failure: all is gone     poststop         the runtime's         is a warning
//
// A createContainer hook is a program of the host's, since the container has
// still the host's root directory; a startContainer hook one of the container's,
// and so has the identity of its process.

// A point is one at which hooks run.
type point struct {
	kind   string
	inside bool                 // in the container's namespaces
	status specs.ContainerState // what the hooks are told
	list   func(*specs.Hooks) []specs.Hook
}

var (
	prestart        = point{"prestart", false, specs.StateCreating, func(h *specs.Hooks) []specs.Hook { return h.Prestart }}
	createRuntime   = point{"createRuntime", false, specs.StateCreating, func(h *specs.Hooks) []specs.Hook { return h.CreateRuntime }}
	createContainer = point{"createContainer", true, specs.StateCreating, func(h *specs.Hooks) []specs.Hook { return h.CreateContainer }}
	startContainer  = point{"startContainer", true, specs.StateCreated, func(h *specs.Hooks) []specs.Hook { return h.StartContainer }}
	poststart       = point{"poststart", false, specs.StateRunning, func(h *specs.Hooks) []specs.Hook { return h.Poststart }}
	poststop        = point{"poststop", false, specs.StateStopped, func(h *specs.Hooks) []specs.Hook { return h.Poststop }}
)

var points = []point{prestart, createRuntime, createContainer, startContainer, poststart, poststop}

// hooks are those of the container at one point.
func (c *Container) hooks(at point) []specs.Hook {
	if c.Hooks == nil {
		return nil
	}
	return at.list(c.Hooks)
}

// checkHooks refuses what the runtime-spec does: before anything is made, not
// when it is the hook's turn.
func (b *builder) checkHooks() error {
	for _, at := range points {
		for i, h := range b.hooks(at) {
			if !filepath.IsAbs(h.Path) {
				return fmt.Errorf("hooks.%s[%d].path %q: not absolute", at.kind, i, h.Path)
			}
			if h.Timeout != nil && *h.Timeout <= 0 {
				return fmt.Errorf("hooks.%s[%d].timeout %d: want more than 0 seconds, or none for no limit", at.kind, i, *h.Timeout)
			}
			if at.inside && b.facts.Euid != 0 && !b.alone() {
				return fmt.Errorf("hooks.%s: those of an ordinary user need a new pid namespace", at.kind)
			}
		}
	}
	return nil
}

// alone says whether no process but the child and what it starts is in its pid
// namespace.
func (b *builder) alone() bool {
	return slices.ContainsFunc(b.spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool {
		return n.Type == specs.PIDNamespace && n.Path == ""
	})
}

// reveal records that the hooks of an ordinary user may join the child's
// namespaces: as long as it is hidden, only who has privileges over the
// runtime's own user namespace may. Nobody else can use that, since the child is
// still alone in its pid namespace. After it, conceal hides it again.
func (b *builder) reveal(p *plan.Plan, at point) (conceal func()) {
	if !at.inside || b.facts.Euid == 0 || len(b.hooks(at)) == 0 {
		return func() {}
	}
	p.Note("the " + at.kind + " hooks shall join our namespaces: as for ptrace(2), we must let them")
	p.Prctl(unix.PR_SET_DUMPABLE, 1)
	return func() { p.Prctl(unix.PR_SET_DUMPABLE, 0) }
}

// hookGate records a stop at which the runtime runs hooks.
func (b *builder) hookGate(p *plan.Plan, at ...point) {
	name, count := "", 0
	for _, a := range at {
		if n := len(b.hooks(a)); n > 0 {
			name, count = a.kind, count+n
		}
	}
	if count == 0 {
		return
	}
	conceal := b.reveal(p, at[0])
	p.Gate(name+" hooks", func() {
		for _, a := range at {
			if n := len(b.hooks(a)); n > 0 {
				p.Do("run "+strconv.Itoa(n)+" "+a.kind+" hooks", func(*plan.Process) error { return b.runHooks(a) })
			}
		}
	})
	conceal()
}

// runHooks runs the hooks of one point in order. The first failure ends it.
func (c *Container) runHooks(at point) error {
	for i, h := range c.hooks(at) {
		if err := c.runHook(at, i, h); err != nil {
			return err
		}
	}
	return nil
}

// runPoststop runs all of the last hooks. By now nothing can be done about a
// failure but to say so.
func (c *Container) runPoststop() {
	for i, h := range c.hooks(poststop) {
		if err := c.runHook(poststop, i, h); err != nil && c.Warn != nil {
			c.Warn(err.Error())
		}
	}
}

func (c *Container) runHook(at point, i int, h specs.Hook) error {
	state := c.oci(at.status)
	if at.inside {
		pid, err := innerPid(state.Pid)
		if err != nil {
			return err
		}
		state.Pid = pid
	}
	input, err := json.Marshal(state)
	if err != nil {
		return err
	}
	if len(h.Args) == 0 {
		h.Args = []string{h.Path}
	}
	var output firstBytes
	if at.inside {
		err = c.runInside(at, h, input, &output)
	} else {
		err = runOutside(h, c.Bundle, input, &output)
	}
	if err == nil {
		return nil
	}
	if text := strings.TrimSpace(string(output)); text != "" {
		err = fmt.Errorf("%w: %s", err, strings.ReplaceAll(text, "\n", "; "))
	}
	return fmt.Errorf("hooks.%s[%d] %s: %w", at.kind, i, h.Path, err)
}

// innerPid is what a process takes for its own id (runtime-spec, runtime.md,
// State: a hook in the container's namespaces is told that one).
func innerPid(pid int) (int, error) {
	path := fmt.Sprintf("/proc/%d/status", pid)
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if list, ok := strings.CutPrefix(line, "NSpid:"); ok {
			fields := strings.Fields(list)
			return strconv.Atoi(fields[len(fields)-1])
		}
	}
	return 0, fmt.Errorf("%s: no NSpid", path)
}

// firstBytes keeps what fits into an error message, and swallows the rest.
type firstBytes []byte

func (b *firstBytes) Write(p []byte) (int, error) {
	*b = append(*b, p[:min(len(p), 4096-len(*b))]...)
	return len(p), nil
}

// lateness is how long the output of a hook that has ended is waited for. What
// is not there by then is that of a process which it left behind, a daemon
// perhaps, with the same descriptors.
const lateness = 100 * time.Millisecond

// runOutside runs a hook in the runtime's namespaces, with the bundle as its
// directory.
func runOutside(h specs.Hook, dir string, input []byte, output io.Writer) error {
	ctx := context.Background()
	if h.Timeout != nil {
		limited, cancel := context.WithTimeout(ctx, seconds(*h.Timeout))
		defer cancel()
		ctx = limited
	}
	cmd := exec.CommandContext(ctx, h.Path)
	cmd.Args, cmd.Dir, cmd.WaitDelay = h.Args, dir, lateness
	cmd.Env = append([]string{}, h.Env...) // not nil: nil would mean our own
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), output, output
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return timeout(*h.Timeout)
	case errors.Is(err, exec.ErrWaitDelay):
		return nil
	}
	return err
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }
func timeout(n int) error         { return fmt.Errorf("timeout of %d s", n) }

// runInside runs a hook in the container's namespaces and cgroup: it joins them,
// like an exec.
func (c *Container) runInside(at point, h specs.Hook, input []byte, output io.Writer) error {
	container, err := c.open()
	if err != nil {
		return err
	}
	defer unix.Close(container)
	join := c.joinAsRuntime
	if at.kind == startContainer.kind {
		join = c.joinAsContainer
	}
	look := plan.Options{Notation: print.Step}
	if h.Timeout != nil { // what an earlier hook has left behind may stop this one before it begins
		end := time.Now().Add(seconds(*h.Timeout))
		look.Stopped = func() error {
			if time.Now().After(end) {
				return timeout(*h.Timeout)
			}
			return nil
		}
	}
	return talk(input, output, func(in, out *os.File) (*plan.Process, error) { return join(h, container, in, out, look) }, h.Timeout)
}

// joinAsContainer starts a hook that is a program of the container's, which is
// not to be trusted: with the identity of the container's process.
func (c *Container) joinAsContainer(h specs.Hook, pidfd int, in, out *os.File, look plan.Options) (*plan.Process, error) {
	spec, err := c.Spec()
	if err != nil {
		return nil, err
	}
	process := *spec.Process
	process.Args, process.Env, process.Terminal, process.ExecCPUAffinity = h.Args, h.Env, false, nil
	b, err := c.newExec(&process, spec.Linux, Options{Stdin: in, Stdout: out, Stderr: out, Engine: look})
	if err != nil {
		return nil, err
	}
	b.identity.Program = h.Path
	return b.enter(pidfd)
}

// joinAsRuntime starts a hook that is a program of the host's.
func (c *Container) joinAsRuntime(h specs.Hook, pidfd int, in, out *os.File, look plan.Options) (*plan.Process, error) {
	p, _, err := c.joining("")
	if err != nil {
		return nil, err
	}
	stdin, stdout := plan.Inherited("stdin"), plan.Inherited("stdout")
	for fd, from := range []plan.Inherited{stdin, stdout, stdout} {
		p.Dup3(from, fd, 0)
	}
	p.CloseRange(plan.Num(3), 0, plan.Channel)
	p.CloseRange(plan.Channel, 1, nil)
	p.Ready()
	p.RtSigprocmask()
	p.Execve(h.Path, h.Args, h.Env)
	look.Inherited = map[plan.Inherited]int{"container": pidfd, stdin: int(in.Fd()), stdout: int(out.Fd())}
	return p.Start(look)
}

// talk starts a process, writes its input, reads its output, and waits for its
// end, or ends it after limit seconds.
func talk(input []byte, output io.Writer, start func(in, out *os.File) (*plan.Process, error), limit *int) error {
	in, feed, err := os.Pipe()
	if err != nil {
		return err
	}
	defer feed.Close()
	text, out, err := os.Pipe()
	if err != nil {
		return errors.Join(err, in.Close())
	}
	defer text.Close()
	process, err := start(in, out)
	if err := errors.Join(err, in.Close(), out.Close()); err != nil {
		return err
	}
	var done [2]chan struct{}
	for i, work := range []func(){
		func() { feed.Write(input); feed.Close() }, // EPIPE: a hook need not read
		func() { io.Copy(output, text) },           // what comes too late is not read
	} {
		done[i] = make(chan struct{})
		go func() { work(); close(done[i]) }()
	}
	err = waitHook(process, limit)
	feed.SetDeadline(time.Now())
	text.SetDeadline(time.Now().Add(lateness))
	<-done[0]
	<-done[1]
	return err
}

// waitHook waits for the end of a hook, or ends it after limit seconds.
func waitHook(hook *plan.Process, limit *int) error {
	late := false
	if limit != nil {
		// Ours to reap, it keeps its number until then; a pidfd of its own, since
		// the plan may have none, is for the time limit.
		fd, err := unix.PidfdOpen(hook.Pid, 0)
		if err != nil {
			return fmt.Errorf("pidfd_open %d: %w", hook.Pid, err)
		}
		defer unix.Close(fd)
		if late = !pidfd.Wait(fd, seconds(*limit)); late {
			unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) // ESRCH: it has just ended
		}
	}
	status, err := hook.Wait()
	switch {
	case err != nil:
		return err
	case late:
		return timeout(*limit)
	case status.Signaled():
		return fmt.Errorf("signal: %v", status.Signal())
	case status.ExitStatus() != 0:
		return fmt.Errorf("exit status %d", status.ExitStatus())
	}
	return nil
}
