package main

import (
	"errors"

	"golang.org/x/sys/unix"

	"minirun/cmd/fresh"
	"minirun/cmd/report"
	"minirun/container"
	"minirun/container/descriptors"
)

func remove(c *call) error {
	force := c.flags.yes("force f", "end the container first if it runs; one that does not exist is no error")
	if err := c.parse(1, 1); err != nil {
		return err
	}
	fresh.Start()
	if err := descriptors.HideOthers(3); err != nil { // hooks would keep them
		return err
	}
	if k, err := c.load(); err == nil && *force {
		// Another command may hold the lock while it waits for the container to do
		// something: its end ends the waiting. If it cannot be ended, Delete says so.
		if k.Kill(unix.SIGKILL, true) != nil {
			k.Kill(unix.SIGKILL, false) // its cgroup cannot be read, but its process is known
		}
	}
	err := c.one(func(k *container.Container) error { return k.Delete(*force) })
	switch {
	case *force && errors.Is(err, container.ErrNotExist):
		return nil
	case *force && errors.Is(err, container.ErrDamaged):
		c.log.warn(report.OneLine(err) + ": if its process runs, it goes on")
		return container.Root(c.root).Discard(c.args[0])
	}
	return err
}
