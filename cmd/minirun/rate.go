package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"minirun/container/bundle"
	"minirun/container/files"
	"minirun/namespaces/network"
	"minirun/namespaces/network/link"
)

// update changes the bandwidth of a container's link itself; what is a value of its cgroup
// minirunc changes.
func update(c *cli.Context) error {
	if !c.IsSet("network-rate") {
		return hand(c)
	}
	if err := updateRate(c); err != nil {
		return err
	}
	for _, f := range c.Command.Flags {
		if name := f.Names()[0]; name != "network-rate" && c.IsSet(name) {
			return hand(c)
		}
	}
	return nil
}

// updateRate changes the bandwidth of the link, and what is written down of it for the next
// start. 0 is no limit.
func updateRate(c *cli.Context) error {
	rate, err := network.ParseRate(c.String("network-rate"))
	if err != nil {
		return err
	}
	k, err := only(c)
	if err != nil {
		return err
	}
	if s, err := k.Status(); err != nil {
		return err
	} else if s != "running" && s != "paused" {
		return fmt.Errorf("update %s: container is %s: only a link that exists has a rate", c.Args().First(), s)
	}
	b, err := bundleOf(c, k.ID)
	if err != nil {
		return err
	}
	l := linkOf(b)
	if l == nil {
		return fmt.Errorf("update %s: it is not on the bridge: only the link of a container on it has a rate", c.Args().First())
	}
	l.Down, l.Up = rate.Down, rate.Up
	if err := l.Limit(k.Pid); err != nil {
		return err
	}
	return errors.Join(saveLink(b, l), b.SetRate(rate))
}

// saveLink writes network.json.
func saveLink(b *bundle.Bundle, l *link.Config) error {
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	return files.Replace(filepath.Join(b.Dir, link.File), text, 0o600)
}
