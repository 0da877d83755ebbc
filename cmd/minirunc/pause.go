package main

import "minirun/container"

func pause(c *call) error {
	if err := c.parse(1, 1); err != nil {
		return err
	}
	return c.one((*container.Container).Pause)
}

func resume(c *call) error {
	if err := c.parse(1, 1); err != nil {
		return err
	}
	return c.one((*container.Container).Resume)
}
