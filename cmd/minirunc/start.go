package main

import (
	"minirun/cmd/fresh"
	"minirun/container"
	"minirun/container/descriptors"
	"minirun/container/hooks"
	"minirun/container/protect"
)

func start(c *call) error {
	if err := c.parse(1, 1); err != nil {
		return err
	}
	fresh.Start()
	if err := descriptors.HideOthers(3); err != nil { // hooks would keep them
		return err
	}
	return c.one(func(k *container.Container) error {
		if hooks.EntersAtStart(k.Hooks) {
			if err := protect.Protect(); err != nil {
				return err
			}
		}
		if notifySocket() == "" {
			return k.Start()
		}
		k.Notify.Wanted = true
		if err := k.Start(); err != nil {
			return err
		}
		k.Unlock() // other commands must be possible until the program is ready
		return k.Notify.Tell(notifySocket(), k.Pid, k.Identity)
	})
}
