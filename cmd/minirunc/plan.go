package main

import (
	"fmt"
	"path/filepath"

	"minirun/container"
	"minirun/container/config"
)

func printPlan(c *call) error {
	dir := c.flags.text("bundle b", "the bundle is in `DIR`; the current directory if not given")
	output := c.flags.text("output o", "print as `FORMAT`: text, sh or json")
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
	p, err := container.Root(c.root).Plan(id, bundle, spec, container.Options{Systemd: c.systemd})
	if err != nil {
		return err
	}
	switch *output {
	case "", "text":
		return p.Text(c.out)
	case "sh":
		return p.Sh(c.out)
	case "json":
		return p.JSON(c.out)
	}
	return fmt.Errorf("output %q: want text, sh or json", *output)
}
