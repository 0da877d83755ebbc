package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"minirun/container"
	"minirun/container/bundle"
	"minirun/namespaces/network"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// This file decides which network a container gets.
//
//	bridge          a link of its own to the bridge minirun0, an address, published ports: root's default
//	none            loopback alone: an ordinary user's default
//	host            the machine's network
//	container:NAME  the network of another container, which must run
//
// Docker's other networks, IPv6 and networks across machines stay Docker's and Kubernetes'.

// networkFlags are the flags of run that are about the network.
func networkFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "network", Aliases: []string{"net"}, Usage: "`NETWORK`: bridge; none: loopback only; host: the host's; container:NAME: that of another container (else: bridge for root, none for others)", EnvVars: []string{"MINIRUN_NETWORK"}},
		&cli.StringSliceFlag{Name: "publish", Aliases: []string{"p"}, Usage: "let a port of the host's lead to the container's: `[ADDRESS:]HOST:CONTAINER[/udp]`, or CONTAINER for a free one; ranges"},
		&cli.BoolFlag{Name: "publish-all", Aliases: []string{"P"}, Usage: "publish all ports that the image names, on free ones of the host's"},
		&cli.StringFlag{Name: "network-rate", Usage: "limit the bandwidth to `DOWN[:UP]`, in tc's units (10mbit:2mbit)"},
		&cli.StringSliceFlag{Name: "dns", Usage: "ask the name server `ADDRESS` instead of the host's"},
		&cli.StringSliceFlag{Name: "dns-search", Usage: "look for names in `DOMAIN`, too; . for none of the host's"},
		&cli.StringSliceFlag{Name: "add-host", Usage: "add `NAME:ADDRESS` to /etc/hosts"},
	}
}

// networkOf adds to a request what is asked of the network.
func networkOf(c *cli.Context, r *bundle.Request) (err error) {
	if r.Publish, err = network.ParsePorts(c.StringSlice("publish")); err != nil {
		return err
	}
	if c.IsSet("network-rate") {
		if r.Rate, err = network.ParseRate(c.String("network-rate")); err != nil {
			return err
		}
	}
	if r.Network, err = chosenNetwork(c); err != nil {
		return err
	}
	r.DNS, r.Search, r.Hosts = c.StringSlice("dns"), c.StringSlice("dns-search"), c.StringSlice("add-host")
	if len(r.Search) == 0 {
		r.Search = nil
	}
	if name, ok := strings.CutPrefix(r.Network, "container:"); ok && name != "" {
		r.Network, r.NetworkPath, err = joined(c, name)
	}
	return err
}

// chosenNetwork is the network that is asked for, or the default. Only an explicit bridge that
// is not possible is an error; whoever publishes a port, or limits a rate, asks for one.
func chosenNetwork(c *cli.Context) (string, error) {
	wanted := c.String("network")
	explicit := wanted == "bridge" || wanted == "" && (c.IsSet("publish") || c.IsSet("publish-all") || c.IsSet("network-rate"))
	switch {
	case slices.Contains(split(c.StringSlice("without")), "net"):
		return "host", nil
	case wanted != "" && wanted != "bridge":
		return wanted, nil
	case os.Geteuid() != 0 && explicit:
		return "", errors.New("network bridge: only root can make links: an ordinary user's container has loopback alone, or with --network host the machine's network")
	case os.Geteuid() != 0:
		return "none", nil
	}
	err := network.Possible()
	if err == nil {
		return "bridge", nil
	}
	if explicit {
		return "", fmt.Errorf("network bridge: %w", err)
	}
	warn("the container has no network but loopback: no link can be made here: " + err.Error())
	return "none", nil
}

// joined is the network of a container that runs: by its id, for good, and the path of the
// namespace, which is valid as long as it runs. Whoever is root only in a user namespace of a
// container's own has no right to join it (setns(2)).
func joined(c *cli.Context, name string) (mode, path string, err error) {
	fail := func(err error) (string, string, error) {
		return "", "", fmt.Errorf("network container:%s: %w", name, err)
	}
	if os.Geteuid() != 0 {
		return fail(errors.New("only root's containers join each other's networks: an ordinary user's are in user namespaces of their own"))
	}
	k, err := find(c, name)
	if err != nil {
		return "", "", fmt.Errorf("network container:%w", err) // it begins with the name
	}
	if s, err := k.Status(); err != nil {
		return fail(err)
	} else if s != specs.StateRunning && s != "paused" {
		return fail(container.ErrNotRunning)
	}
	path = fmt.Sprintf("/proc/%d/ns/net", k.Pid)
	if unix.Access(path, unix.F_OK) != nil {
		return fail(container.ErrNotRunning)
	}
	return "container:" + k.ID, path, nil
}

// joinAgain brings a container that is to be started again into the network of the other one,
// whose process may be another one now. It changes the bundle only if it must.
func joinAgain(c *cli.Context, b *bundle.Bundle) error {
	id, ok := strings.CutPrefix(b.Annotation(bundle.Network), "container:")
	if !ok {
		return nil
	}
	_, path, err := joined(c, id)
	if err != nil {
		return err
	}
	return b.JoinNetwork(path)
}
