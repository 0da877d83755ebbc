package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"text/tabwriter"
	"time"

	"minirun/cmd/report"
	"minirun/container"
)

func list(c *call) error {
	format := c.format()
	quiet := c.flags.yes("quiet q", "ids only")
	if err := c.parse(0, 0); err != nil {
		return err
	}
	if err := checkFormat(*format); err != nil {
		return fmt.Errorf("list: %w", err)
	}
	states, err := c.states()
	switch {
	case err != nil:
		return err
	case *quiet:
		for _, s := range states {
			report.Printf(c.out, "%s\n", s.ID)
		}
		return nil
	case *format == "json":
		return json.NewEncoder(c.out).Encode(states) // null if there are none: callers parse that
	}
	t := tabwriter.NewWriter(c.out, 12, 1, 3, ' ', 0)
	fmt.Fprintln(t, "ID\tPID\tSTATUS\tBUNDLE\tCREATED\tOWNER")
	for _, s := range states {
		report.Printf(t, "%s\t%d\t%s\t%s\t%s\t%s\n", s.ID, s.Pid, s.Status, s.Bundle, s.Created.Format(time.RFC3339Nano), s.Owner)
	}
	return t.Flush()
}

// format declares the flag of list and ps.
func (c *call) format() *string { return c.flags.text("format f", "print as `table` or json") }

func checkFormat(format string) error {
	if format != "" && format != "table" && format != "json" {
		return fmt.Errorf("format %q: want table or json", format)
	}
	return nil
}

// states are those of all containers, oldest first; nil if there are none. A
// directory that --root names must exist; the default one is made by the first
// container.
func (c *call) states() ([]shownState, error) {
	if c.rootGiven {
		if _, err := os.Stat(c.root); err != nil {
			return nil, err
		}
	}
	broken := func(err error) { c.log.warn(err.Error() + ": delete --force removes it") }
	containers, err := container.Root(c.root).List(broken)
	if err != nil {
		return nil, err
	}
	var states []shownState
	for _, k := range containers {
		s, err := shown(k, ownerName(k.Owner))
		switch {
		case err == nil:
			states = append(states, s)
		case errors.Is(err, container.ErrDamaged):
			broken(err)
		default:
			return nil, err
		}
	}
	return states, nil
}

func ownerName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return "#" + strconv.Itoa(uid)
}
