package main

import "minirun/container/freezer"

func pause(c *call) error {
	if err := c.parse(1, 1); err != nil {
		return err
	}
	return c.one(freezer.Pause)
}

func resume(c *call) error {
	if err := c.parse(1, 1); err != nil {
		return err
	}
	return c.one(freezer.Resume)
}
