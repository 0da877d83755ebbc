package hooks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"minirun/container/procfs"
	"minirun/plan"
	"minirun/plan/print"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// run runs hook number i of a point.
func (h *Hooks) run(at Point, i int) error {
	hook := h.list(at)[i]
	state := h.container.State(at.status)
	if at.inside { // there the process has another id (runtime-spec, runtime.md, "State")
		p, err := procfs.One("/proc", state.Pid)
		if err != nil {
			return err
		}
		state.Pid = p.Inner()
	}
	input, err := json.Marshal(state)
	if err != nil {
		return err
	}
	if len(hook.Args) == 0 {
		hook.Args = []string{hook.Path}
	}
	var output firstBytes
	if at.inside {
		err = h.runInside(at, hook, input, &output)
	} else {
		err = runOutside(hook, state.Bundle, input, &output)
	}
	if err == nil {
		return nil
	}
	if text := strings.TrimSpace(string(output)); text != "" {
		err = fmt.Errorf("%w: %s", err, strings.ReplaceAll(text, "\n", "; "))
	}
	return fmt.Errorf("hooks.%s[%d] %s: %w", at.name, i, hook.Path, err)
}

// firstBytes keeps as much as fits into an error message, and drops the rest.
type firstBytes []byte

func (b *firstBytes) Write(p []byte) (int, error) {
	*b = append(*b, p[:min(len(p), 4096-len(*b))]...)
	return len(p), nil
}

// outputDelay is how long a hook's output is read after its end. A process that the
// hook has left behind, perhaps a daemon, may keep the pipe open for ever.
const outputDelay = 100 * time.Millisecond

// runOutside runs a hook in the runtime's namespaces, with the bundle as its
// directory.
func runOutside(hook specs.Hook, bundle string, input []byte, output io.Writer) error {
	ctx := context.Background()
	if hook.Timeout != nil {
		limited, cancel := context.WithTimeout(ctx, seconds(*hook.Timeout))
		defer cancel()
		ctx = limited
	}
	cmd := exec.CommandContext(ctx, hook.Path)
	cmd.Args, cmd.Dir, cmd.WaitDelay = hook.Args, bundle, outputDelay
	cmd.Env = Env(hook, os.Environ())
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), output, output
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return timeout(*hook.Timeout)
	case errors.Is(err, exec.ErrWaitDelay):
		return nil
	}
	return err
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }
func timeout(n int) error         { return fmt.Errorf("timeout of %d s", n) }

// runInside runs a hook in the container's namespaces and cgroup, which it joins.
func (h *Hooks) runInside(at Point, hook specs.Hook, input []byte, output io.Writer) error {
	start := h.startHostProgram
	if at.name == StartContainer.name {
		start = h.container.Exec
	}
	o := plan.Options{}
	if hook.Timeout != nil { // a process that an earlier hook left in the container may stop this one before its execve
		end := time.Now().Add(seconds(*hook.Timeout))
		o.Stopped = func() error {
			if time.Now().After(end) {
				return timeout(*hook.Timeout)
			}
			return nil
		}
	}
	return talk(input, output, func(in, out *os.File) (*plan.Process, error) { return start(hook, in, out, o) }, hook.Timeout)
}

// Env is the environment of a hook: its own or, if the spec has none for it, that of
// whoever starts it. A program of the host's gets the runtime's, never that of the
// container's process: who chooses a container's environment could have the host's
// loader load a library with LD_PRELOAD, and the hook is root there.
func Env(hook specs.Hook, otherwise []string) []string {
	if len(hook.Env) > 0 {
		return hook.Env
	}
	return otherwise
}

// startHostProgram starts a hook that is a program of the host's, in the container's
// root directory. Joining a mount namespace has led it to the root of that (setns(2)),
// and files that it makes there would be in the host's root.
func (h *Hooks) startHostProgram(hook specs.Hook, in, out *os.File, o plan.Options) (*plan.Process, error) {
	p, process, err := h.container.Join()
	if err != nil {
		return nil, err
	}
	defer unix.Close(process)
	stdin, stdout := plan.Inherited("stdin"), plan.Inherited("stdout")
	for fd, from := range []plan.Inherited{stdin, stdout, stdout} {
		p.Dup3(from, fd, 0)
	}
	p.CloseRange(plan.Num(3), 0, plan.Channel)
	p.CloseRange(plan.Channel, 1, nil)
	p.Ready()
	p.RtSigprocmask()
	p.Chdir(h.container.Root())
	p.Execve(hook.Path, hook.Args, Env(hook, os.Environ()))
	o.Inherited = map[plan.Inherited]int{stdin: int(in.Fd()), stdout: int(out.Fd()), "container": process}
	o.Notation = print.Step
	return p.Start(o)
}

// talk starts a process, writes its input, reads its output, and waits for its end. It
// kills the process after limit seconds; nil is no limit.
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
		func() { io.Copy(output, text) },           // ends at the deadline that is set below
	} {
		done[i] = make(chan struct{})
		go func() { work(); close(done[i]) }()
	}
	err = wait(process, limit)
	feed.SetDeadline(time.Now())
	text.SetDeadline(time.Now().Add(outputDelay))
	<-done[0]
	<-done[1]
	return err
}

// wait waits for the end of a hook, and kills it after limit seconds.
func wait(hook *plan.Process, limit *int) error {
	late := false
	if limit != nil {
		// The hook's id is not used again before we reap it. The plan may have no pidfd.
		fd, err := unix.PidfdOpen(hook.Pid, 0)
		if err != nil {
			return fmt.Errorf("pidfd_open %d: %w", hook.Pid, err)
		}
		defer unix.Close(fd)
		if late = !ended(fd, seconds(*limit)); late {
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

// ended waits until the process of a pidfd has ended; false says that time ran out.
func ended(pidfd int, limit time.Duration) bool {
	end := time.Now().Add(limit)
	for {
		fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
		if n, err := unix.Poll(fds, max(0, int(time.Until(end).Milliseconds()))); err != unix.EINTR {
			return n == 1
		}
	}
}
