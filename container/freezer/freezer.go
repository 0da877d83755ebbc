// Package freezer stops all processes of a container and lets them go on:
// minirunc pause and resume.
//
// The kernel's freezer stops a whole cgroup (cgroup.freeze). Unlike with SIGSTOP,
// the processes cannot notice, and their parents are not told.
package freezer

import (
	"cmp"
	"errors"
	"fmt"

	"minirun/container"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// ErrNotPaused is the error of [Resume] for a container that is not paused.
var ErrNotPaused = errors.New("container not paused")

var errNoGroup = errors.New("it has no cgroup of its own to freeze")

// Pause stops a running or created container.
func Pause(c *container.Container) error {
	switch s, err := c.Status(); {
	case err != nil:
		return fmt.Errorf("pause %s: %w", c.ID, err)
	case s == specs.StateStopped || s == specs.StateCreating:
		return fmt.Errorf("pause %s: container is %s: %w", c.ID, s, container.ErrNotRunning)
	case s == container.Paused:
		return fmt.Errorf("pause %s: container is paused already", c.ID)
	}
	group, err := c.Group()
	if err != nil || group == nil {
		return fmt.Errorf("pause %s: %w", c.ID, cmp.Or(err, errNoGroup))
	}
	return group.Freeze()
}

// Resume lets a paused container go on.
func Resume(c *container.Container) error {
	if s, err := c.Status(); err != nil {
		return fmt.Errorf("resume %s: %w", c.ID, err)
	} else if s != container.Paused {
		return fmt.Errorf("resume %s: container is %s: %w", c.ID, s, ErrNotPaused)
	}
	group, err := c.Group()
	if err != nil || group == nil { // nil: it has been deleted just now
		return fmt.Errorf("resume %s: %w", c.ID, cmp.Or(err, errNoGroup))
	}
	return group.Thaw()
}
