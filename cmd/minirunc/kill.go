package main

import (
	"cmp"

	"minirun/container/signals"
)

func kill(c *call) error {
	all := c.flags.yes("all a", "to all processes of the container; that there is none is then no error")
	if err := c.parse(1, 2); err != nil {
		return err
	}
	name := ""
	if len(c.args) == 2 {
		name = c.args[1]
	}
	signal, err := signals.Parse(cmp.Or(name, "TERM"))
	if err != nil {
		return err
	}
	k, err := c.load()
	if err != nil {
		return err
	}
	return k.Kill(signal, *all)
}
