package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"minirun/cmd/report"
	"minirun/container"
	"minirun/container/freezer"
	"minirun/container/signals"
)

func killCommand() *cli.Command {
	return &cli.Command{
		Name: "kill", Usage: "send a signal to a container: SIGKILL, if none is named", ArgsUsage: "CONTAINER [SIGNAL]",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "to all of its processes"},
			&cli.StringFlag{Name: "signal", Aliases: []string{"s"}, Usage: "send `SIGNAL`, a name or a number"},
		},
		Action: func(c *cli.Context) error {
			if n := c.Args().Len(); n < 1 || n > 2 {
				return usage{errors.New("kill: want a container and, if you like, a signal")}
			}
			signal, err := parseSignal(c.String("signal")+c.Args().Get(1), unix.SIGKILL)
			if err != nil {
				return err
			}
			k, err := find(c, c.Args().First())
			if err != nil {
				return err
			}
			if err := k.Kill(signal, c.Bool("all")); err != nil {
				return err
			}
			report.Printf(c.App.Writer, "%s\n", c.Args().First())
			return nil
		},
	}
}

// parseSignal is [signals.Parse]; "" is the default.
func parseSignal(name string, otherwise unix.Signal) (unix.Signal, error) {
	if name == "" {
		return otherwise, nil
	}
	return signals.Parse(name)
}

func pauseCommand() *cli.Command {
	return &cli.Command{
		Name: "pause", Usage: "stop all processes of a container, as they are", ArgsUsage: "CONTAINER",
		Action: func(c *cli.Context) error { return one(c, freezer.Pause) },
	}
}

func resumeCommand() *cli.Command {
	return &cli.Command{
		Name: "resume", Usage: "let a paused container go on", ArgsUsage: "CONTAINER",
		Action: func(c *cli.Context) error { return one(c, freezer.Resume) },
	}
}

// one locks the container that the only argument names, and does something with it.
func one(c *cli.Context, do func(*container.Container) error) error {
	found, err := only(c)
	if err != nil {
		return err
	}
	k, err := root(c).Lock(found.ID)
	if err != nil {
		return err
	}
	defer k.Unlock()
	return do(k)
}

// only is the container that the only argument names.
func only(c *cli.Context) (*container.Container, error) {
	if c.Args().Len() != 1 {
		return nil, usage{fmt.Errorf("%s: want one argument, the container", c.Command.Name)}
	}
	return find(c, c.Args().First())
}
