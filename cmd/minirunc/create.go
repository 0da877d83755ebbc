package main

import (
	"errors"

	"minirun/cmd/early"
	"minirun/cmd/fresh"
	"minirun/container"
	"minirun/container/listener"
	"minirun/container/protect"
	"minirun/container/sockets"
)

func create(c *call) error {
	flags := c.bundleFlags()
	if err := c.parse(1, 1); err != nil {
		return err
	}
	if err := protect.Protect(); err != nil {
		return err
	}
	fresh.Start()
	early.Listen()
	dir, spec, text, err := flags.read(c)
	if err != nil {
		return err
	}
	o, err := flags.options(c)
	if err != nil {
		return err
	}
	o.Wait, o.Config, o.Notify = true, text, notifySocket() != ""
	if *flags.consoleSocket != "" {
		if !spec.Process.Terminal {
			return errConsole
		}
		if o.Console, err = sockets.Dial("console socket", *flags.consoleSocket); err != nil {
			return err
		}
	}
	if spec.Process.Terminal && o.Console == nil {
		return errors.New("create: process.terminal wants --console-socket")
	}
	if o.Agent, err = listener.Connect(spec.Linux.Seccomp); err != nil {
		return err
	}
	if err := stopped(); err != nil {
		return err
	}
	o.Engine.Stopped = stopped
	k, _, err := container.Root(c.root).New(c.args[0], dir, spec, o)
	if err != nil {
		return err
	}
	if err := stopped(); err != nil {
		return errors.Join(err, k.Delete(true))
	}
	return nil
}
