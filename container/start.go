package container

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Start lets a created container run its program.
//
//	start                                  child
//	open exec.fifo for writing             holds it open for reading and writing
//	one byte                    ------->   goes on, to execve
//	                            <-------   only on failure: what failed
//	all writers are gone: look for a message
//
// ENXIO at the open says that the child is gone.
func (c *Container) Start() error {
	if status, err := c.Status(); err != nil {
		return fmt.Errorf("start %s: %w", c.ID, err)
	} else if status != specs.StateCreated {
		return fmt.Errorf("start %s: container is %s, not created", c.ID, status)
	}
	if err := c.runHooks(startContainer); err != nil {
		return errors.Join(err, c.end())
	}
	if c.Notify {
		if err := c.listen(); err != nil {
			return fmt.Errorf("start %s: %w", c.ID, err)
		}
	}
	if err := c.letGo(); err != nil {
		return fmt.Errorf("start %s: %w", c.ID, err)
	}
	if err := c.runHooks(poststart); err != nil {
		return errors.Join(err, c.end())
	}
	return nil
}

// EntersAtStart says whether Start runs something inside the container, its
// startContainer hooks: then it is to be called from a program that is protected
// ([Protect]).
func (c *Container) EntersAtStart() bool {
	return c.Hooks != nil && len(c.Hooks.StartContainer) > 0
}

// letGo writes the byte that the child waits for.
func (c *Container) letGo() error {
	path := c.path("exec.fifo")
	w, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	_, err = unix.Write(w, []byte{1})
	r, openErr := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	unix.Close(w)
	if err = errors.Join(err, openErr); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer unix.Close(r)
	if err := plan.Failure(r); err != nil {
		if spec, specErr := c.Spec(); specErr == nil { // else it stays the number of a step
			err = c.explain(err, spec.Process)
		}
		return errors.Join(err, os.Remove(path))
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	c.Started = time.Now().UTC()
	return c.save()
}
