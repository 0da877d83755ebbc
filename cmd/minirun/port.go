package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"minirun/cmd/report"
	"minirun/container/bundle"
	"minirun/namespaces/network"
)

// This file shows the ports of containers: those that lead to one from the host (-p), and
// those that its image says it listens on.

func portCommand() *cli.Command {
	return &cli.Command{
		Name:      "port",
		Usage:     "show which of the host's ports lead to a container",
		ArgsUsage: "CONTAINER [PORT[/PROTOCOL]]",
		Action: func(c *cli.Context) error {
			if n := c.Args().Len(); n < 1 || n > 2 {
				return usage{errors.New("port: want a container, and perhaps one of its ports")}
			}
			b, err := bundleOf(c, c.Args().First())
			if err != nil {
				return err
			}
			return printPorts(c, b, c.Args().Get(1))
		},
	}
}

// printPorts prints a container's ports, or where one of them is published, as docker's port
// does: one that is not published is an error.
func printPorts(c *cli.Context, b *bundle.Bundle, only string) error {
	ports := sortedPorts(b.Published())
	if only == "" {
		for _, p := range ports {
			report.Printf(c.App.Writer, "%s -> %s:%d\n", p.Of(), p.On(), p.Host)
		}
		return nil
	}
	wanted, err := network.ParsePort(only)
	if err != nil || len(wanted) != 1 || strings.Contains(only, ":") {
		return fmt.Errorf("port %q: want one of the container's ports, such as 80 or 53/udp", only)
	}
	found := false
	for _, p := range ports {
		if p.Of() == wanted[0].Of() {
			found = true
			report.Printf(c.App.Writer, "%s:%d\n", p.On(), p.Host)
		}
	}
	if !found {
		return fmt.Errorf("port %s of %s: not published", wanted[0].Of(), c.Args().First())
	}
	return nil
}

// sortedPorts are ports by what they lead to, and then by the host's.
func sortedPorts(ports []network.Port) []network.Port {
	sorted := slices.Clone(ports)
	slices.SortFunc(sorted, func(a, b network.Port) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), strings.Compare(a.On(), b.On()), cmp.Compare(a.Container, b.Container), cmp.Compare(a.Host, b.Host))
	})
	return sorted
}

// portsColumn is the column PORTS of ps, as docker prints it: those that are published, with
// neighbouring ones as a range, and then those that the image names and nobody has
// published. exposed is the annotation [bundle.Ports].
func portsColumn(exposed string, published []network.Port) string {
	var words []string
	sorted := sortedPorts(published)
	for len(sorted) > 0 {
		n := 1
		for n < len(sorted) && follows(sorted[0], sorted[n], n) {
			n++
		}
		words = append(words, rangeOf(sorted[0], uint16(n-1)))
		sorted = sorted[n:]
	}
	for _, e := range exposedPorts(exposed) {
		if !slices.ContainsFunc(published, func(p network.Port) bool { return p.Of() == e }) {
			words = append(words, e)
		}
	}
	return strings.Join(words, ", ")
}

// follows says whether q is the nth port behind p, on both sides.
func follows(p, q network.Port, n int) bool {
	return p.Protocol == q.Protocol && p.Address == q.Address && int(q.Host) == int(p.Host)+n && int(q.Container) == int(p.Container)+n
}

// rangeOf writes p and the more ports behind it: 0.0.0.0:8000-8010->80-90/tcp.
func rangeOf(p network.Port, more uint16) string {
	if more == 0 {
		return p.String()
	}
	return fmt.Sprintf("%s:%d-%d->%d-%d/%s", p.On(), p.Host, p.Host+more, p.Container, p.Container+more, p.Protocol)
}

// exposedPorts takes the annotation [bundle.Ports] apart.
func exposedPorts(annotation string) []string { return strings.FieldsFunc(annotation, isSeparator) }

// A binding is where a container's port is published, by the names that docker's JSON has.
type binding struct{ HostIp, HostPort string }

// bindings are a container's ports as inspect prints them: null is one that is not published.
func bindings(exposed string, published []network.Port) map[string][]binding {
	all := map[string][]binding{}
	for _, e := range exposedPorts(exposed) {
		all[e] = nil
	}
	for _, p := range sortedPorts(published) {
		all[p.Of()] = append(all[p.Of()], binding{p.On(), fmt.Sprint(p.Host)})
	}
	return all
}
