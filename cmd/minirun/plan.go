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
	"minirun/plan"
	"minirun/plan/print"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func planCommand() *cli.Command {
	return &cli.Command{
		Name:      "plan",
		Usage:     "print the system calls that would make a container, and make none",
		ArgsUsage: "IMAGE [COMMAND [ARG...]]",
		Description: "Examples:\n" +
			"   minirun plan httpd                 in strace notation, with the reasons\n" +
			"   minirun plan --source httpd        with the function that records each\n" +
			"   minirun plan -p 8080:80 httpd      with a link, and a port of the host's\n" +
			"   minirun plan -o sh httpd           as the equivalent commands\n" +
			"   minirun plan -o json -m 64m httpd  for scripts",
		Flags: append(requestFlags(),
			&cli.BoolFlag{Name: "detach", Aliases: []string{"d"}, Usage: "with a monitor, as run -d"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FORMAT`: text, sh or json", Value: "text"},
			&cli.BoolFlag{Name: "all", Usage: "print every step in full, on a terminal too"},
			&cli.BoolFlag{Name: "source", Usage: "print the function that records each step"}),
		Action: printPlan,
	}
}

func printPlan(c *cli.Context) error {
	if format := c.String("output"); !slices.Contains([]string{"text", "sh", "json"}, format) {
		return usage{fmt.Errorf("plan: output %q: want text, sh or json", format)}
	}
	if err := checkManager(c); err != nil {
		return err
	}
	id, dir, spec, err := planned(c)
	if err != nil {
		return err
	}
	o, err := planOptions(c, spec)
	if err != nil {
		return err
	}
	host, err := planNetwork(c, &o, id, spec)
	if err != nil {
		return err
	}
	p, err := root(c).Plan(id, dir, spec, o)
	if p == nil {
		return err
	}
	if err != nil {
		warn("this machine cannot carry it out: " + err.Error())
	}
	options := print.Terminal(os.Stdout, c.Bool("all"))
	options.Source = c.Bool("source")
	return writePlan(c, host, p, options)
}

// writePlan prints the steps that make what the host lacks, and then those of the container. Both
// have numbers of their own, because run makes the first in a plan of their own; but in JSON
// all are one list.
func writePlan(c *cli.Context, host, p *plan.Plan, o print.Options) error {
	w, format := c.App.Writer, c.String("output")
	switch {
	case len(host.Steps) == 0:
	case format == "json":
		for _, s := range p.Steps {
			s.Index += len(host.Steps)
		}
		p.Steps = append(host.Steps, p.Steps...)
	case format == "sh":
		for _, s := range host.Steps { // all are commands, which the runtime carries out itself
			if s.Note != "" {
				fmt.Fprintf(w, "# %s\n", s.Note)
			}
			fmt.Fprintln(w, s.Call)
		}
		fmt.Fprintln(w)
	default:
		if err := print.Write(w, host, format, o); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	return print.Write(w, p, format, o)
}

// planNetwork adds the link of a container on the bridge to the options, and returns the steps
// that make what is missing on the host. A port that is still to be chosen is 32768.
func planNetwork(c *cli.Context, o *container.Options, id string, spec *specs.Spec) (host *plan.Plan, err error) {
	host = &plan.Plan{Sources: c.Bool("source")}
	b := &bundle.Bundle{ID: id, Spec: spec}
	if b.Annotation(bundle.Network) != "bridge" {
		return host, nil
	}
	w, err := wish(c, b)
	if err != nil {
		return nil, err
	}
	for i := range w.Ports {
		if w.Ports[i].Host == 0 {
			w.Ports[i].Host = 32768 + uint16(i)
		}
	}
	o.Network, err = network.Plan(host, w)
	return host, err
}

// planOptions are the options that run would have with the same words, so that the
// steps are the same and have the same numbers. In place of the logs there is a file
// in memory, and in place of all pipes one pipe.
func planOptions(c *cli.Context, spec *specs.Spec) (container.Options, error) {
	o := container.Options{Monitor: c.Bool("detach"), Systemd: bySystemd(c)}
	if spec.Process.Terminal {
		return o, nil
	}
	null, err := os.Open("/dev/null")
	if err != nil {
		return o, err
	}
	in, out, err := os.Pipe()
	if err != nil {
		return o, err
	}
	o.Stdin, o.Stdout, o.Stderr = in, out, out
	if !c.Bool("interactive") {
		o.Stdin = null
	}
	if o.Monitor {
		log, err := unix.MemfdCreate("log", unix.MFD_CLOEXEC)
		if err != nil {
			return o, fmt.Errorf("memfd_create: %w", err)
		}
		o.Stdout = os.NewFile(uintptr(log), "log")
		o.Stderr = o.Stdout
	}
	return o, nil
}

// planned is the spec that run would write for an image.
func planned(c *cli.Context) (id, dir string, spec *specs.Spec, err error) {
	if !c.Args().Present() {
		return "", "", nil, usage{errors.New("plan: no image given")}
	}
	img, r, err := imageAndRequest(c)
	if err != nil {
		return "", "", nil, err
	}
	id = strings.Repeat("0", 64)
	b, err := store(c).Preview(img, r, id)
	if err != nil {
		return "", "", nil, err
	}
	return id, b.Dir, b.Spec, nil
}
