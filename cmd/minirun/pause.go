package main

import (
	"github.com/urfave/cli/v2"

	"minirun/container/freezer"
)

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
