package container

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"minirun/cgroups/oom"
	"minirun/cgroups/stats"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Stats measures the container.
func (c *Container) Stats() (*stats.Stats, error) {
	if err := c.measurable(); err != nil {
		return nil, err
	}
	return stats.Read(c.group())
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

// Watch measures the container once each interval and reports it. It calls killed as
// soon as the kernel has killed one of its processes, or several at once, because of
// the memory limit. It returns when the container has ended, or with the first error
// of either function.
func (c *Container) Watch(interval time.Duration, report func(*stats.Stats) error, killed func() error) error {
	if err := c.measurable(); err != nil {
		return err
	}
	pidfd, err := c.open()
	if err != nil {
		return fmt.Errorf("events of %s: %w", c.ID, err)
	}
	defer unix.Close(pidfd)
	kills, err := oom.NewWatch(c.group())
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
		if some, err := kills.Killed(); err != nil {
			return err
		} else if some {
			if err := killed(); err != nil {
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
		s, err := stats.Read(c.group())
		if alive, known := c.alive(); err != nil && !alive && known == nil {
			return nil // it was just deleted, with the group
		}
		if err != nil {
			return err
		}
		if err := report(s); err != nil {
			return err
		}
	}
}
