package container

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"minirun/cgroups"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Stats measures the container.
func (c *Container) Stats() (*cgroups.Stats, error) {
	if err := c.measurable(); err != nil {
		return nil, err
	}
	return c.group().Stats()
}

func (c *Container) measurable() error {
	switch s, err := c.Status(); {
	case err != nil:
		return fmt.Errorf("events of %s: %w", c.ID, err)
	case s == specs.StateStopped || s == specs.StateCreating:
		return fmt.Errorf("events of %s: container is %s: %w", c.ID, s, ErrNotRunning)
	case c.Cgroup == "":
		return fmt.Errorf("events of %s: it has no cgroup of its own to measure", c.ID)
	}
	return nil
}

// Watch measures the container once each interval, and calls oom as soon as the
// kernel has ended one of its processes, or several at once, for want of memory.
// It returns when the container has ended, or with the first error of either.
func (c *Container) Watch(interval time.Duration, stats func(*cgroups.Stats) error, oom func() error) error {
	if err := c.measurable(); err != nil {
		return err
	}
	pidfd, err := c.open()
	if err != nil {
		return fmt.Errorf("events of %s: %w", c.ID, err)
	}
	defer unix.Close(pidfd)
	kills, err := c.group().WatchOOM()
	if err != nil {
		return err
	}
	defer kills.Close()
	for next := time.Now().Add(interval); ; {
		fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}, {Fd: int32(kills.FD()), Events: unix.POLLPRI}}
		if _, err := unix.Poll(fds, int(max(0, time.Until(next).Milliseconds()+1))); err != nil && err != unix.EINTR {
			return fmt.Errorf("events of %s: poll: %w", c.ID, err)
		}
		// Before the end is looked at: it may be how the container has ended.
		if killed, err := kills.Killed(); err != nil {
			return err
		} else if killed {
			if err := oom(); err != nil {
				return err
			}
		}
		if fds[0].Revents != 0 {
			return nil
		}
		if time.Now().Before(next) {
			continue
		}
		next = next.Add(interval)
		s, err := c.group().Stats()
		if alive, known := c.alive(); err != nil && !alive && known == nil {
			return nil // it was just deleted, with the group
		}
		if err != nil {
			return err
		}
		if err := stats(s); err != nil {
			return err
		}
	}
}
