package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	cgroupstats "minirun/cgroups/stats"
	"minirun/container"
	watching "minirun/container/events"
)

func eventsCommand() *cli.Command {
	return &cli.Command{
		Name: "events", Usage: "print what a container uses, and when it ran out of memory, as JSON", ArgsUsage: "CONTAINER",
		Description: "One object a line: of type stats at each interval, of type oom as it happens. It ends\nwith the container.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "stats", Usage: "once, and now"},
			&cli.DurationFlag{Name: "interval", Usage: "`DURATION` between two of type stats", Value: 5 * time.Second},
		},
		Action: func(c *cli.Context) error {
			if c.Args().Len() != 1 {
				return usage{errors.New("events: want one argument, the container")}
			}
			if c.Duration("interval") <= 0 {
				return usage{fmt.Errorf("events: --interval %v: want more than 0", c.Duration("interval"))}
			}
			k, err := find(c, c.Args().First())
			if err != nil {
				return err
			}
			return events(c, k)
		},
	}
}

// An event is one line.
type event struct {
	Type string `json:"type"` // stats or oom
	ID   string `json:"id"`
	Data any    `json:"data,omitempty"`
}

func events(c *cli.Context, k *container.Container) error {
	out := json.NewEncoder(c.App.Writer)
	print := func(s *cgroupstats.Stats) error { return out.Encode(event{"stats", k.ID, statsOf(s)}) }
	if c.Bool("stats") {
		s, err := watching.Stats(k)
		if err != nil {
			return err
		}
		return print(s)
	}
	return watching.Watch(k, c.Duration("interval"), print, func() error { return out.Encode(event{Type: "oom", ID: k.ID}) })
}
