package container

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"minirun/cgroups"
	"minirun/cgroups/oom"
	"minirun/cgroups/systemd"
	"minirun/container/owned"
	"minirun/container/pidfd"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// This file ends containers: a signal, waiting for the end, and the removal of the rest.

// Kill sends a signal to the container process. With all, the signal goes to every
// process; a container without processes is then no error. Signal 0 asks whether a
// signal could be sent (kill(2)).
//
// SIGKILL always goes to every process. When the first process of a pid namespace ends, the
// kernel kills the others in it (pid_namespaces(7)). Without a pid namespace of its own the
// container's other processes would go on, and nothing would say that they belong to it;
// so the signal goes to the cgroup, which knows them all.
//
// The group must still be the container's (Group): after the end of the container another
// one may have it.
func (c *Container) Kill(signal unix.Signal, all bool) error {
	_, err := c.Identity.Stat()
	ended := errors.Is(err, pidfd.ErrEnded)
	switch {
	case err != nil && !ended:
		return fmt.Errorf("kill %s: %w", c.ID, err)
	case ended && !all:
		return fmt.Errorf("kill %s: %w", c.ID, ErrNotRunning)
	case ended && c.alone():
		return nil
	case all || signal == unix.SIGKILL && !c.alone():
		if sent, err := owned.Signal(c.Cgroup, c.Mark, c.Identity, c.alone(), signal); sent || err != nil {
			return err
		}
	}
	if ended {
		return nil
	}
	return c.kill(signal)
}

// alone says that when the container process has ended no other process of the container can
// be left: it had a pid namespace of its own, and the kernel ends all processes in that.
func (c *Container) alone() bool {
	return c.Pid != 0 && slices.Contains(c.Namespaces, specs.LinuxNamespace{Type: specs.PIDNamespace}) // made for it: no path
}

// kill signals the container process by a pidfd (pidfd_send_signal(2)). If the process has
// ended and its id is another process's by now, the signal is not sent, and the error is
// [ErrNotRunning]. kill(2) would hit the other process.
func (c *Container) kill(signal unix.Signal) error {
	fd, err := c.open()
	if err != nil {
		return fmt.Errorf("kill %s: %w", c.ID, err)
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, signal, nil, 0); err == unix.ESRCH { // it has just ended
		return fmt.Errorf("kill %s: %w", c.ID, ErrNotRunning)
	} else if err != nil {
		return fmt.Errorf("kill %s: pid %d: %w", c.ID, c.Pid, err)
	}
	return nil
}

// Wait waits until the container process has ended. It need not be a child of ours:
// poll(2) on a pidfd works for every process, but does not tell the exit status. A limit of
// zero is no limit; false says that time ran out.
func (c *Container) Wait(limit time.Duration) (bool, error) {
	fd, err := c.open()
	if errors.Is(err, ErrNotRunning) {
		return true, nil
	} else if err != nil {
		return false, fmt.Errorf("wait for %s: %w", c.ID, err)
	}
	defer unix.Close(fd)
	return pidfd.Wait(fd, limit), nil
}

// Delete removes what is left of a stopped container: its cgroup, with all groups in
// it, and its directory. A created container is first ended. With force, so is a
// running one; without, that is an error. c must be locked.
//
// A group that another container has by now is left alone (Group). If processes are in the
// group that cannot be the container's, Delete fails with EBUSY.
//
// The directory goes last. If Delete fails or is killed before, state.json still says what
// there is, and the next delete can go on. The poststop hooks run after that, as the
// runtime-spec wants; if one fails, that is only a warning.
func (c *Container) Delete(force bool) error {
	status, err := c.Status()
	if err != nil {
		return fmt.Errorf("delete %s: %w", c.ID, err)
	}
	if !force && status != specs.StateStopped && status != specs.StateCreated {
		return fmt.Errorf("delete %s: container is %s; stop it first", c.ID, status)
	}
	if err := c.clear(status == specs.StateStopped); err != nil {
		return fmt.Errorf("delete %s: %w", c.ID, err)
	}
	if err := c.Class.Remove(c.Mark, c.Pid == 0); err != nil {
		return fmt.Errorf("delete %s: %w", c.ID, err)
	}
	if err := c.root.Discard(c.ID); err != nil {
		return err
	}
	c.runPoststop()
	return nil
}

// clear ends what still runs and removes the cgroup. The kernel removes a group only when no
// process is in it (EBUSY), so the order is: end, then remove. A unit of systemd is stopped
// before; what systemd leaves of its group is then removed, too. Nor is it
// stopped if its group is another one by now.
//
// If create was killed early, there may be a group that has no mark yet, and no process.
func (c *Container) clear(stopped bool) error {
	group, err := c.Group()
	switch {
	case err != nil:
		return err
	case group == nil && c.Pid == 0 && c.Cgroup != "":
		return c.Mark.Sweep(c.Cgroup)
	case group != nil && c.Unit == "":
		oom.WaitForReaders(group)                    // an engine may still want to read why the container ended
		if stopped && unix.Rmdir(group.Dir) == nil { // as most often: it is empty, and all is done
			return nil
		}
	}
	remove := (*cgroups.Group).Remove
	if !stopped || !c.alone() {
		remove, err = (*cgroups.Group).Destroy, c.end()
	}
	if err != nil || group == nil {
		return err
	}
	return errors.Join(systemd.Forget(c.Unit, c.UserUnit, group.Dir), remove(group))
}

// end kills every process of the container, and waits at most 10 seconds for the first to
// end. A process that hangs in the kernel, such as in a read from a network file system,
// ends only when that returns.
//
// The cgroup comes first: it knows the processes even if create was killed before it could
// write down the process id. A container without a cgroup has only the pidfd.
func (c *Container) end() error {
	group, err := c.Group()
	if group != nil {
		err = group.Kill()
	}
	if err = errors.Join(err, ignore(c.kill(unix.SIGKILL), ErrNotRunning)); err != nil {
		return err
	}
	if ended, err := c.Wait(10 * time.Second); err != nil || ended {
		return err
	}
	return fmt.Errorf("pid %d does not end", c.Pid)
}
