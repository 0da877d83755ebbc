package container

import (
	"errors"
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Paused is the status of a container whose processes are all stopped; the
// runtime-spec has no word for it, runc and its callers have this.
const Paused specs.ContainerState = "paused"

// ErrNotPaused is what Resume says of a container that is not.
var ErrNotPaused = errors.New("container not paused")

// Pause freezes every process of the container, with the freezer of its cgroup:
// they cannot notice, unlike with SIGSTOP. A created one can be paused too.
func (c *Container) Pause() error {
	switch s, err := c.Status(); {
	case err != nil:
		return fmt.Errorf("pause %s: %w", c.ID, err)
	case s == specs.StateStopped || s == specs.StateCreating:
		return fmt.Errorf("pause %s: container is %s: %w", c.ID, s, ErrNotRunning)
	case s == Paused:
		return fmt.Errorf("pause %s: container is paused already", c.ID)
	case c.Cgroup == "":
		return fmt.Errorf("pause %s: it has no cgroup of its own to freeze", c.ID)
	}
	return c.group().Freeze()
}

// Resume lets a paused container go on.
func (c *Container) Resume() error {
	if s, err := c.Status(); err != nil {
		return fmt.Errorf("resume %s: %w", c.ID, err)
	} else if s != Paused {
		return fmt.Errorf("resume %s: container is %s: %w", c.ID, s, ErrNotPaused)
	}
	return c.group().Thaw()
}
