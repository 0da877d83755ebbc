package main

import (
	"cmp"
	"os"
	"path/filepath"

	"minirun/container"
	"minirun/container/config"
	"minirun/plan/print"
)

func printPlan(c *call) error {
	dir := c.flags.text("bundle b", "the bundle is in `DIR`; the current directory if not given")
	output := c.flags.text("output o", "print as `FORMAT`: text, sh or json")
	all := c.flags.yes("all", "print every step in full, on a terminal too")
	source := c.flags.yes("source", "print the function that records each step")
	if err := c.parse(0, 1); err != nil {
		return err
	}
	if err := c.checkManager(); err != nil {
		return err
	}
	id := "ID"
	if len(c.args) > 0 {
		id = c.args[0]
	}
	bundle, err := filepath.Abs(*dir)
	if err != nil {
		return err
	}
	spec, _, err := config.Read(bundle)
	if err != nil {
		return err
	}
	p, err := container.Root(c.root).Plan(id, bundle, spec, container.Options{Systemd: c.systemd, NoCgroup: c.manager == "disabled"})
	if p == nil {
		return err
	}
	if err != nil {
		c.log.warn("this machine cannot carry it out: " + err.Error())
	}
	o := print.Terminal(os.Stdout, *all)
	o.Source = *source
	return print.Write(c.out, p, cmp.Or(*output, "text"), o)
}
