// Package events measures a container, and tells when the kernel has killed in it
// for lack of memory: minirunc events, minirun stats.
//
// The numbers are those of the container's cgroup (package stats). A kill is seen
// by poll(2) on the group's memory.events, and the container's end by poll(2) on a
// pidfd; so one thread waits for both, and for the next interval.
package events

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"minirun/cgroups"
	"minirun/cgroups/oom"
	"minirun/cgroups/stats"
	"minirun/container"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Stats measures the container.
func Stats(c *container.Container) (*stats.Stats, error) {
	group, err := check(c)
	if err != nil {
		return nil, err
	}
	return stats.Read(group)
}

// OOMKilled says whether the kernel has ended a process of the container for
// lack of memory.
func OOMKilled(c *container.Container) bool {
	group, err := c.Group()
	if group == nil || err != nil {
		return false
	}
	killed, err := oom.Killed(group)
	return err == nil && killed
}

// check returns the container's group, and refuses a container that has nothing to measure.
func check(c *container.Container) (*cgroups.Group, error) {
	switch s, err := c.Status(); {
	case err != nil:
		return nil, fmt.Errorf("events of %s: %w", c.ID, err)
	case s == specs.StateStopped || s == specs.StateCreating:
		return nil, fmt.Errorf("events of %s: container is %s: %w", c.ID, s, container.ErrNotRunning)
	}
	group, err := c.Group()
	if err != nil {
		return nil, fmt.Errorf("events of %s: %w", c.ID, err)
	} else if group == nil {
		return nil, fmt.Errorf("events of %s: it has no cgroup of its own to measure", c.ID)
	}
	return group, nil
}

// Watch measures the container once each interval and reports it. It calls killed as
// soon as the kernel has ended one of its processes, or several at once, for lack of
// memory. It returns when the container has ended, or with the first error of either
// function.
func Watch(c *container.Container, interval time.Duration, report func(*stats.Stats) error, killed func() error) error {
	group, err := check(c)
	if err != nil {
		return err
	}
	process, err := c.Identity.Open()
	if err != nil {
		return fmt.Errorf("events of %s: %w", c.ID, err)
	}
	defer unix.Close(process)
	kills, err := oom.NewWatch(group)
	if err != nil {
		return err
	}
	defer kills.Close()
	for next := time.Now().Add(interval); ; {
		fds := []unix.PollFd{{Fd: int32(process), Events: unix.POLLIN}, {Fd: int32(kills.FD()), Events: unix.POLLPRI}}
		if _, err := unix.Poll(fds, int(max(0, time.Until(next).Milliseconds()+1))); err != nil && err != unix.EINTR {
			return fmt.Errorf("events of %s: poll: %w", c.ID, err)
		}
		// Kills first, then the end: a kill may be how the container has ended.
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
		if ended, err := measure(c, group, report); ended || err != nil {
			return err
		}
	}
}

// measure measures once. ended says that there is nothing to measure any more: the
// container has just been deleted, with its group.
func measure(c *container.Container, group *cgroups.Group, report func(*stats.Stats) error) (ended bool, _ error) {
	s, err := stats.Read(group)
	if err == nil {
		return false, report(s)
	}
	if now, known := c.Status(); known == nil && now == specs.StateStopped {
		return true, nil
	}
	return false, err
}
