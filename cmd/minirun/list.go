package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"
)

func listCommand() *cli.Command {
	return &cli.Command{
		Name:  "list",
		Usage: "list containers as engines want it; ps is for people",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "format", Aliases: []string{"f"}, Usage: "`table` or json", Value: "table"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "ids only"},
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usage{errors.New("list: wants no argument")}
			}
			states, err := states(c)
			if err != nil {
				return err
			}
			return printStates(c, states)
		},
	}
}

// states are those of all containers, oldest first; nil if there are none. A
// directory that was named must be there; the usual one is made by the first
// container.
func states(c *cli.Context) ([]shownState, error) {
	if c.IsSet("root") {
		if _, err := os.Stat(c.String("root")); err != nil {
			return nil, err
		}
	}
	containers, err := root(c).List()
	if err != nil {
		return nil, err
	}
	var list []shownState
	for _, k := range containers {
		s, err := ociState(k, ownerName(k.Owner))
		if err != nil {
			return nil, fmt.Errorf("state of %s: %w", k.ID, err)
		}
		list = append(list, s)
	}
	return list, nil
}

func ownerName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return "#" + strconv.Itoa(uid)
}

func printStates(c *cli.Context, list []shownState) error {
	w := c.App.Writer
	switch format := c.String("format"); {
	case format != "table" && format != "json":
		return usage{fmt.Errorf("list: format %q: want table or json", format)}
	case c.Bool("quiet"):
		for _, s := range list {
			fmt.Fprintln(w, s.ID)
		}
		return nil
	case format == "json":
		return json.NewEncoder(w).Encode(list) // null if there are none: callers parse that
	}
	return stateTable(w, list)
}

func stateTable(w io.Writer, list []shownState) error {
	t := tabwriter.NewWriter(w, 12, 1, 3, ' ', 0)
	fmt.Fprintln(t, "ID\tPID\tSTATUS\tBUNDLE\tCREATED\tOWNER")
	for _, s := range list {
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%s\n", s.ID, s.Pid, s.Status, s.Bundle, s.Created.Format(time.RFC3339Nano), s.Owner)
	}
	return t.Flush()
}
