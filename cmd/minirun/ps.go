package main

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/docker/go-units"
	"github.com/urfave/cli/v2"

	"minirun/cmd/report"
)

func psCommand() *cli.Command {
	return &cli.Command{
		Name:      "ps",
		Usage:     "list containers, or the processes of one",
		ArgsUsage: "   |   CONTAINER [OPTION OF ps(1)...]",
		Description: "Examples:\n" +
			"   minirun ps                        those that run\n" +
			"   minirun ps -a -f status=exited    those that have ended\n" +
			"   minirun ps --wide                 with what they are to the host\n" +
			"   minirun ps web -o pid,rss,comm    the host's ps(1), of its processes only\n" +
			"   minirun ps --format json web      their process ids",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "also those that do not run"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "ids only"},
			&cli.BoolFlag{Name: "latest", Aliases: []string{"l"}, Usage: "the last one made"},
			&cli.IntFlag{Name: "last", Aliases: []string{"n"}, Usage: "the last `N` made"},
			&cli.BoolFlag{Name: "no-trunc", Usage: "whole ids and commands"},
			&cli.BoolFlag{Name: "wide", Usage: "host pid, threads and cgroup, too"},
			&cli.StringSliceFlag{Name: "filter", Aliases: []string{"f"}, Usage: "only those with `KEY=VALUE`: name (a regular expression), id, status, ancestor, exited"},
			&cli.StringFlag{Name: "format", Usage: "table, json, or a Go `TEMPLATE`"},
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return processes(c)
			}
			return ps(c)
		},
	}
}

// processes lets minirunc list the processes of a container: ps(1) has its options
// behind the container. -f, which among containers is a filter, is a format here.
func processes(c *cli.Context) error {
	k, err := find(c, c.Args().First())
	if err != nil {
		return err
	}
	words := append(append(forPeople(c), "ps"), givenFlags(c, "quiet", "format")...)
	for _, format := range c.StringSlice("filter") {
		words = append(words, "--format", format)
	}
	return become(append(append(words, k.ID), c.Args().Tail()...)...)
}

// A row is a container as ps prints it; the fields are those of templates.
type row struct {
	ID, Image, Command, CreatedAt, RunningFor, Status, State, Ports, Names string

	HostPID, Threads int
	Cgroup           string
}

func ps(c *cli.Context) error {
	all, err := list(c)
	if err != nil {
		return err
	}
	if all, err = filter(all, c.StringSlice("filter")); err != nil {
		return err
	}
	latest := c.Int("last")
	if c.Bool("latest") {
		latest = 1
	}
	if !c.Bool("all") && latest == 0 && !asksForStatus(c.StringSlice("filter")) {
		all = slices.DeleteFunc(all, func(l *listed) bool { return !l.running() || l.State == "created" })
	}
	if latest > 0 {
		all = all[:min(latest, len(all))]
	}
	rows := make([]row, len(all))
	for i, l := range all {
		rows[i] = l.row(c.Bool("no-trunc"))
	}
	if f := c.String("format"); c.Bool("wide") || f == "json" || strings.Contains(f, "Threads") {
		if err := widen(rows, all); err != nil {
			return err
		}
	}
	return printRows(c, rows)
}

func (l *listed) row(whole bool) row {
	r := row{ID: l.ID, Image: l.Image, Command: l.Command, CreatedAt: l.Created.Local().Format("2006-01-02 15:04:05 -0700 MST"),
		RunningFor: units.HumanDuration(time.Since(l.Created)) + " ago", Status: l.Status, State: l.State, Ports: l.Ports, Names: l.Name,
		HostPID: l.Pid, Cgroup: l.Cgroup}
	if !whole {
		r.ID = fmt.Sprintf("%.12s", l.ID)
		r.Command = ellipsis(l.Command, 20)
	}
	r.Command = fmt.Sprintf("%q", r.Command)
	return r
}

// ellipsis shortens s to n characters, the last of which is then a “…”.
func ellipsis(s string, n int) string {
	if runes := []rune(s); len(runes) > n {
		return string(runes[:n-1]) + "…"
	}
	return s
}

func widen(rows []row, all []*listed) error {
	v, err := lookAt(all)
	if err != nil {
		return err
	}
	for i, l := range all {
		for _, p := range v.of(l) {
			rows[i].Threads += p.Threads
		}
	}
	return nil
}

// filter keeps the containers that match every key; of several filters with the same
// key, one must match.
func filter(all []*listed, filters []string) ([]*listed, error) {
	byKey := map[string][]string{}
	for _, f := range filters {
		key, value, ok := strings.Cut(f, "=")
		if !ok || !slices.Contains([]string{"name", "id", "status", "ancestor", "exited"}, key) {
			return nil, fmt.Errorf("filter %q: want name=, id=, status=, ancestor= or exited=", f)
		}
		if _, err := regexp.Compile(value); key == "name" && err != nil {
			return nil, fmt.Errorf("filter %q: %w", f, err)
		}
		byKey[key] = append(byKey[key], value)
	}
	return slices.DeleteFunc(all, func(l *listed) bool {
		for key, values := range byKey {
			if !slices.ContainsFunc(values, func(v string) bool { return l.matches(key, v) }) {
				return true
			}
		}
		return false
	}), nil
}

func (l *listed) matches(key, value string) bool {
	switch key {
	case "name":
		return matchesName(l.Name, value)
	case "id":
		return strings.HasPrefix(l.ID, value)
	case "status":
		return l.State == value
	case "ancestor":
		return l.Image == value || strings.TrimSuffix(l.Image, ":latest") == value
	}
	return l.State == "exited" && fmt.Sprint(l.ExitCode) == value
}

// matchesName says whether a regular expression finds something in a name. As with docker,
// the name may begin with a slash for it.
func matchesName(name, pattern string) bool {
	e, err := regexp.Compile(pattern)
	return err == nil && (e.MatchString(name) || e.MatchString("/"+name))
}

func asksForStatus(filters []string) bool {
	return slices.ContainsFunc(filters, func(f string) bool { return strings.HasPrefix(f, "status=") || strings.HasPrefix(f, "exited=") })
}

// printRows prints as a table, as JSON (one object a line, as docker does), by
// a template, or ids only.
func printRows(c *cli.Context, rows []row) error {
	w := c.App.Writer
	format := c.String("format")
	switch {
	case c.Bool("quiet"):
		for _, r := range rows {
			report.Printf(w, "%s\n", r.ID)
		}
		return nil
	case format == "json":
		return printJSON(w, rows)
	case format != "" && format != "table":
		return printTemplate(w, format, rows, row{ID: "CONTAINER ID", Image: "IMAGE", Command: "COMMAND", CreatedAt: "CREATED AT", RunningFor: "CREATED", Status: "STATUS", State: "STATE", Ports: "PORTS", Names: "NAMES", Cgroup: "CGROUP"})
	}
	header := []string{"CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"}
	if c.Bool("wide") {
		header = append(header, "HOST PID", "THREADS", "CGROUP")
	}
	t := table(w)
	fmt.Fprintln(t, strings.Join(header, "\t"))
	for _, r := range rows {
		report.Printf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s", r.ID, r.Image, r.Command, r.RunningFor, r.Status, r.Ports, r.Names)
		if c.Bool("wide") {
			report.Printf(t, "\t%d\t%d\t%s", r.HostPID, r.Threads, r.Cgroup)
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

func table(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 10, 1, 3, ' ', 0) }

// printJSON prints one object a line.
func printJSON[T any](w io.Writer, rows []T) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	for _, r := range rows {
		if err := e.Encode(r); err != nil {
			return err
		}
	}
	return nil
}
