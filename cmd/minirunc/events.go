package main

import (
	"encoding/json"
	"fmt"
	"time"

	cgroupstats "minirun/cgroups/stats"
	watching "minirun/container/events"
)

// An event is one line of what events prints.
type event struct {
	Type string `json:"type"` // stats at each interval, oom as it happens
	ID   string `json:"id"`
	Data any    `json:"data,omitempty"`
}

// events ends with the container.
func events(c *call) error {
	once := c.flags.yes("stats", "once, and now")
	interval := c.flags.Duration("interval", 5*time.Second, "the time between two of type stats")
	if err := c.parse(1, 1); err != nil {
		return err
	}
	if *interval <= 0 {
		return fmt.Errorf("events: --interval %v: want more than 0", *interval)
	}
	k, err := c.load()
	if err != nil {
		return err
	}
	out := json.NewEncoder(c.out)
	print := func(s *cgroupstats.Stats) error { return out.Encode(event{"stats", k.ID, statsOf(s)}) }
	if *once {
		s, err := watching.Stats(k)
		if err != nil {
			return err
		}
		return print(s)
	}
	return watching.Watch(k, *interval, print, func() error { return out.Encode(event{Type: "oom", ID: k.ID}) })
}
