package container

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"minirun/cgroups/oom"
	"minirun/cgroups/signals"
	"minirun/cgroups/systemd"
	"minirun/container/pidfd"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Kill sends a signal to the container process. With all, the signal goes to every
// process; a container without processes is then no error. Signal 0 asks whether a
// signal could be sent.
//
// SIGKILL is always for all. The end of its first process ends a pid namespace; but
// if the container has no pid namespace of its own, the other processes would go on,
// and nobody would know whose they are.
func (c *Container) Kill(signal unix.Signal, all bool) error {
	ownPids := slices.Contains(c.Namespaces, specs.LinuxNamespace{Type: specs.PIDNamespace}) // made for it: no path
	_, err := pidfd.Stat(c.Pid, c.StartTime)
	switch ended := errors.Is(err, pidfd.ErrEnded); {
	case err != nil && !ended:
		return fmt.Errorf("kill %s: %w", c.ID, err)
	case ended && !all:
		return fmt.Errorf("kill %s: %w", c.ID, ErrNotRunning)
	case c.Cgroup != "" && (all || signal == unix.SIGKILL && !ownPids):
		return signals.Send(c.group(), signal)
	case ended:
		return nil
	}
	return c.kill(signal)
}

// kill signals the container process by a pidfd. Should the process end, and its
// number be used again, the signal goes nowhere.
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

// Wait waits until the container process has ended, which need not be our child.
// A limit of zero is no limit; false says that time ran out.
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
// running one; without, that is an error.
func (c *Container) Delete(force bool) error {
	status, err := c.Status()
	if err != nil {
		return fmt.Errorf("delete %s: %w", c.ID, err)
	}
	if !force && status != specs.StateStopped && status != specs.StateCreated {
		return fmt.Errorf("delete %s: container is %s; stop it first", c.ID, status)
	}
	if c.Cgroup != "" && c.Unit == "" {
		oom.WaitForReaders(c.group())
	}
	// Most often the group is empty, and rmdir is the quickest way to find out.
	if status != specs.StateStopped || c.Cgroup == "" || c.Unit != "" || unix.Rmdir(c.Cgroup) != nil {
		if err := c.clear(); err != nil {
			return fmt.Errorf("delete %s: %w", c.ID, err)
		}
	}
	if err := c.Class.Remove(); err != nil {
		return fmt.Errorf("delete %s: %w", c.ID, err)
	}
	if err := os.RemoveAll(c.dir); err != nil {
		return err
	}
	c.runPoststop()
	return nil
}

// clear ends what still runs and removes the cgroup.
func (c *Container) clear() error {
	if err := c.end(); err != nil || c.Cgroup == "" {
		return err
	}
	return errors.Join(systemd.Forget(c.Unit, c.UserUnit), c.group().Destroy())
}

// end kills every process of the container. The cgroup knows them all, even if
// create was killed before it could write down the pid.
func (c *Container) end() error {
	var err error
	if c.Cgroup != "" {
		err = c.group().Kill()
	}
	if err = errors.Join(err, ignore(c.kill(unix.SIGKILL), ErrNotRunning)); err != nil {
		return err
	}
	if ended, err := c.Wait(10 * time.Second); err != nil || ended {
		return err
	}
	return fmt.Errorf("pid %d does not end", c.Pid)
}
