package container

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Hooks are programs that the spec's author wants run at certain points
// (runtime-spec, config.md, POSIX-platform Hooks). They get the container's
// state on standard input, and no environment but their own.

// runHooks runs hooks of one kind, in order, in the runtime's namespaces. The
// first failure ends it.
func (c *Container) runHooks(kind string, hooks []specs.Hook, status specs.ContainerState) error {
	if len(hooks) == 0 {
		return nil
	}
	state := c.OCI()
	state.Status, state.Pid = status, c.Pid
	if status == specs.StateStopped {
		state.Pid = 0
	}
	input, err := json.Marshal(state)
	if err != nil {
		return err
	}
	for i, h := range hooks {
		if err := runHook(h, c.Bundle, input); err != nil {
			return fmt.Errorf("hooks.%s[%d] %s: %w", kind, i, h.Path, err)
		}
	}
	return nil
}

func runHook(h specs.Hook, dir string, input []byte) error {
	ctx := context.Background()
	if h.Timeout != nil {
		limited, cancel := context.WithTimeout(ctx, time.Duration(*h.Timeout)*time.Second)
		defer cancel()
		ctx = limited
	}
	cmd := exec.CommandContext(ctx, h.Path)
	cmd.Args, cmd.Dir, cmd.Stdin = h.Args, dir, bytes.NewReader(input)
	if len(h.Args) == 0 {
		cmd.Args = []string{h.Path}
	}
	cmd.Env = append([]string{}, h.Env...) // not nil: nil would mean our own
	cmd.WaitDelay = time.Second            // a grandchild may hold the output open
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("timeout of %d s", *h.Timeout)
	case err != nil && output.Len() > 0:
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(output.String()))
	}
	return err
}

// hooks returns the spec's hooks; an empty set if there are none.
func hooks(spec *specs.Spec) specs.Hooks {
	if spec.Hooks == nil {
		return specs.Hooks{}
	}
	return *spec.Hooks
}

// runInside runs hooks in the container's namespaces: each is a plan of its
// own that joins them, like an exec, but with the runtime's identity.
func (c *Container) runInside(kind string, hooks []specs.Hook, status specs.ContainerState) error {
	if len(hooks) == 0 {
		return nil
	}
	state := c.OCI()
	state.Status, state.Pid = status, c.Pid
	input, err := json.Marshal(state)
	if err != nil {
		return err
	}
	for i, h := range hooks {
		if err := c.runHookInside(h, input); err != nil {
			return fmt.Errorf("hooks.%s[%d] %s: %w", kind, i, h.Path, err)
		}
	}
	return nil
}

func (c *Container) runHookInside(h specs.Hook, input []byte) error {
	pidfd, err := c.open()
	if err != nil {
		return err
	}
	defer unix.Close(pidfd)
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer w.Close()
	p, set, err := c.joining(pidfd)
	if err != nil {
		return errors.Join(err, r.Close())
	}
	args := h.Args
	if len(args) == 0 {
		args = []string{h.Path}
	}
	p.Dup3(plan.Given("stdin"), 0, 0)
	p.CloseRange(plan.Num(3), 0, plan.Channel)
	p.CloseRange(plan.Channel, 1, nil)
	p.Ready()
	p.RtSigprocmask()
	p.Execve(h.Path, args, h.Env)
	given := map[plan.Given]int{"container": pidfd, "stdin": int(r.Fd())}
	hook, err := set.OnThread(func() (*plan.Process, error) { return p.Start(plan.Options{Given: given}) })
	r.Close()
	if err != nil {
		return err
	}
	w.Write(input) // EPIPE: a hook need not read
	w.Close()
	return waitHook(hook, h.Timeout)
}

// waitHook waits for the end of a hook, or ends it at its timeout (seconds).
func waitHook(hook *plan.Process, timeout *int) error {
	if timeout != nil {
		timer := time.AfterFunc(time.Duration(*timeout)*time.Second, func() {
			unix.PidfdSendSignal(hook.PidFD, unix.SIGKILL, nil, 0) // ESRCH: it ended by itself
		})
		defer timer.Stop()
	}
	status, err := hook.Wait()
	if err == nil && ExitCode(status) != 0 {
		return fmt.Errorf("exit status %d", ExitCode(status))
	}
	return err
}
