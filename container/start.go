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
	path := c.path("exec.fifo")
	if c.Status() != specs.StateCreated {
		return fmt.Errorf("start %s: container is %s, not created", c.ID, c.Status())
	}
	if c.Hooks != nil {
		if err := c.runInside("startContainer", c.Hooks.StartContainer, specs.StateCreated); err != nil {
			return errors.Join(err, c.kill(unix.SIGKILL))
		}
	}
	w, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("start %s: open %s: %w", c.ID, path, err)
	}
	_, err = unix.Write(w, []byte{1})
	r, openErr := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	unix.Close(w)
	if err = errors.Join(err, openErr); err != nil {
		return fmt.Errorf("start %s: %s: %w", c.ID, path, err)
	}
	defer unix.Close(r)
	err = plan.Failure(r)
	c.Started = time.Now().UTC()
	if err := errors.Join(err, os.Remove(path), c.save()); err != nil {
		return err
	}
	if c.Hooks == nil {
		return nil
	}
	return c.runHooks("poststart", c.Hooks.Poststart, specs.StateRunning)
}
