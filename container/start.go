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
//
// Why a FIFO? The runtime that made the child has exited by then, and start is another
// process. A name in the file system is something that both can find (fifo(7)), and
// unlike a signal, a read that waits cannot be missed. The FIFO also carries the answer:
// the child holds it close-on-exec, so start sees its last writer go away when execve has
// happened, and can read what failed if it has not.

// newFifo is the name that exec.fifo has until the container is created. rename(2) to its
// last name is the moment at which the status becomes "created".
const newFifo = "exec.fifo.new"

// makeFifo makes the later exec.fifo and opens it for reading and writing, which Linux
// allows (fifo(7)). Why both? As long as the child is a reader, start can open it for
// writing without waiting. As long as the child is a writer, its read waits for a byte;
// without any writer it would return 0 at once.
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

// waitForStart records the end of create: the runtime leaves, and the child waits until
// somebody writes a byte into exec.fifo. Without Wait it records only the startContainer
// hooks.
//
// The order: create must fail if the program cannot be executed, so that is asked
// first. Ready tells the runtime that the child has nothing left to fail at. exec.fifo gets
// its name at the gate, where the runtime is still there: were the child killed before,
// the container would never be "created". While the child waits, startContainer hooks of
// an ordinary user must be able to join its namespaces (hooks.SetDumpable); once start has
// written, nobody must, so notDumpable comes right after the read.
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
// The hooks run in the order of the runtime-spec: startContainer before the program,
// poststart after it has begun. If one of them fails, the container is ended.
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

// writeFifo writes the byte that the child waits for, and returns why the program did not
// start, if it did not. The open does not wait (O_NONBLOCK): ENXIO says that nobody has the
// FIFO open for reading, because the child is gone.
//
// The reading end is opened before the writing end is closed. Otherwise the child might
// fail, write its message and exit in between, and a FIFO that nobody has open forgets what
// was written. Removing the file ends the status "created".
func (c *Container) writeFifo() error {
	path := c.path("exec.fifo")
	w, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	_, err = unix.Write(w, []byte{1}) // any byte: the child only counts that there is one
	r, openErr := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	unix.Close(w)
	if err = errors.Join(err, openErr); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer unix.Close(r)
	if err := plan.Failure(r); err != nil {
		if spec, specErr := c.Spec(); specErr == nil { // else the error has only the number of the step
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
