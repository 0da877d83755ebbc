package container

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"minirun/container/failure"
	"minirun/container/hooks"
	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Between create and start the child waits in the middle of its plan, for a byte
// from a FIFO in the container's directory: exec.fifo.

// newFifo is the name that exec.fifo has until the container is created: the state is
// "created" as soon as there is a file exec.fifo.
const newFifo = "exec.fifo.new"

// makeFifo makes the later exec.fifo and opens it for reading and writing: so it
// has a reader as long as the container waits, and a read does not end before start.
func (b *builder) makeFifo() (*os.File, error) {
	path := b.path(newFifo)
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return nil, fmt.Errorf("mkfifo %s: %w", path, err)
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// waitForStart records the end of create: the state is saved, the runtime leaves,
// and the child waits until somebody writes a byte into exec.fifo.
func (b *builder) waitForStart(p *plan.Plan) {
	if !b.options.Wait {
		b.hooks.Gate(p, hooks.StartContainer)
		p.Ready()
		return
	}
	p.Note("can the program be executed at all? after create has returned it is too late to ask")
	b.identity.CheckExecutable(p)
	p.Ready()
	notDumpable := b.hooks.SetDumpable(p, hooks.StartContainer)
	p.Gate(plan.Created, func() {
		p.Do("exec.fifo: from now on start may come", func(*plan.Process) error { return os.Rename(b.path(newFifo), b.path("exec.fifo")) })
	})
	p.Note("created; start writes one byte here")
	p.Read(plan.Copy, 1).MustReturn(1)
	notDumpable()
}

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
	if err := c.runHooks(hooks.StartContainer); err != nil {
		return errors.Join(err, c.end())
	}
	if err := c.Notify.Listen(); err != nil {
		return fmt.Errorf("start %s: %w", c.ID, err)
	}
	if err := c.writeFifo(); err != nil {
		return fmt.Errorf("start %s: %w", c.ID, err)
	}
	if err := c.runHooks(hooks.Poststart); err != nil {
		return errors.Join(err, c.end())
	}
	return nil
}

// writeFifo writes the byte that the child waits for.
func (c *Container) writeFifo() error {
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
			err = failure.Of(err, c.ID, spec.Process.Args)
		}
		return errors.Join(err, os.Remove(path))
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	c.Started = time.Now().UTC()
	return c.Save()
}
