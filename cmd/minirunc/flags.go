package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"minirun/cgroups/systemd"
	"minirun/cmd/report"
	"minirun/container"
	"minirun/container/files"
)

// A call is one call of minirunc: its words, taken apart.
//
//	minirunc --root DIR --log FILE  create  --bundle DIR  ID
//	         before the command     name    flags         arguments
//
// The standard library's flag package reads both groups of flags. It accepts
// -flag and --flag, a value after = or as the next word: all forms that the
// engines use.
type call struct {
	root      string // directory of the containers' states
	rootGiven bool   // by --root
	log       log
	systemd   bool   // systemd makes the cgroup
	manager   string // cgroupfs, systemd or disabled
	version   bool
	help      bool

	command command
	flags   *flags   // the command's
	args    []string // the words that are no flags
	out     *report.Output
}

var errHelp = errors.New("help was asked for")

// globals reads the flags before the command. What follows them is left in args.
func (c *call) globals(words []string) error {
	f := flag.NewFlagSet("minirunc", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&c.root, "root", files.DefaultRoot(), "")
	f.StringVar(&c.log.path, "log", "", "")
	format := choice(f, "log-format", "text", "json")
	level := choice(f, "log-level", "error", "warning", "info", "debug")
	all := f.Bool("debug", false, "")
	f.BoolVar(&c.systemd, "systemd-cgroup", false, "")
	manager := choice(f, "cgroup-manager", "cgroupfs", "systemd", "disabled")
	choice(f, "rootless", "auto", "true", "false") // minirunc sees by itself whether it has privileges
	f.BoolVar(&c.version, "version", false, "")
	f.BoolVar(&c.version, "v", false, "")
	f.BoolVar(&c.help, "help", false, "")
	f.BoolVar(&c.help, "h", false, "")
	f.BoolVar(&c.log.people, "people", false, "")
	err := f.Parse(words)
	f.Visit(func(f *flag.Flag) { c.rootGiven = c.rootGiven || f.Name == "root" })
	c.args, c.manager = f.Args(), *manager
	c.systemd = c.manager == "systemd" || c.systemd && c.manager != "disabled" // an engine whose default is systemd gives both
	c.log.json = *format == "json"
	switch {
	case *all || *level == "debug":
		c.log.most = debug
	case *level != "error":
		c.log.most = warning
	}
	if absolute, absErr := filepath.Abs(c.root); absErr == nil { // the program may see another working directory, and so may a later command
		c.root = absolute
	} else {
		err = errors.Join(err, fmt.Errorf("--root %s: %w", c.root, absErr))
	}
	if err != nil {
		printHelp(c.out) // that it cannot be printed matters less than err
	}
	return err
}

// choice declares a flag with a few possible values, the first one being the
// default.
func choice(f *flag.FlagSet, name string, values ...string) *string {
	chosen := values[0]
	f.Func(name, "", func(v string) error {
		if !slices.Contains(values, v) {
			return fmt.Errorf("want %s", strings.Join(values, ", "))
		}
		chosen = v
		return nil
	})
	return &chosen
}

const globalHelp = `minirunc makes containers from OCI bundles, as runc does. Container engines call it; minirun is for people.

Usage: minirunc [FLAG...] COMMAND [FLAG...] [ARGUMENT...]

Flags:
  --root DIR             the states of containers are below DIR
  --log FILE             append errors to FILE
  --log-format FORMAT    text or json
  --log-level LEVEL      error, warning or debug: how much the log is told
  --debug                the same as --log-level debug: also each system call of a start, as it happens;
                         without --log on stderr
  --systemd-cgroup       let systemd make the cgroups
  --cgroup-manager NAME  who makes the cgroups: cgroupfs, systemd or disabled
  --rootless VALUE       true, false or auto: accepted, and not needed
  -v, --version          print the version

Commands:
`

func printHelp(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 1, 2, ' ', 0)
	fmt.Fprint(w, globalHelp)
	for _, k := range commands {
		if k.help != "" {
			fmt.Fprintf(t, "  %s\t%s\n", k.name, k.help)
		}
	}
	return t.Flush()
}

// Flags are those of one command.
type flags struct {
	*flag.FlagSet
	short map[string]string // names of one letter, by the long ones
}

func newFlags(command string) *flags {
	f := &flags{flag.NewFlagSet(command, flag.ContinueOnError), map[string]string{}}
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	return f
}

// declare declares a flag by its names, such as "bundle b". The word in back
// quotes in its usage stands for the value; a flag without usage is not shown in
// help.
func (f *flags) declare(names, usage string, add func(name, usage string)) {
	long, short, _ := strings.Cut(names, " ")
	add(long, usage)
	if short != "" {
		f.short[long] = short
		add(short, "")
	}
}

func (f *flags) text(names, usage string) *string {
	to := new(string)
	f.declare(names, usage, func(name, usage string) { f.StringVar(to, name, "", usage) })
	return to
}

func (f *flags) yes(names, usage string) *bool {
	to := new(bool)
	f.declare(names, usage, func(name, usage string) { f.BoolVar(to, name, false, usage) })
	return to
}

func (f *flags) number(names, usage string) *int {
	to := new(int)
	f.declare(names, usage, func(name, usage string) { f.IntVar(to, name, 0, usage) })
	return to
}

// list is for flags that can be given several times.
func (f *flags) list(names, usage string) *[]string {
	to := new([]string)
	f.declare(names, usage, func(name, usage string) {
		f.Func(name, usage, func(v string) error { *to = append(*to, v); return nil })
	})
	return to
}

// given says whether a flag was among the words.
func (f *flags) given(name string) (found bool) {
	f.Visit(func(g *flag.Flag) { found = found || g.Name == name || g.Name == f.short[name] })
	return found
}

// A command of this many arguments ends with a program's: behind the container's id
// no flag is looked for.
const programs = -1

// parse reads the command's flags, which may be before and behind the arguments,
// and checks that there are at least fewest arguments, and at most most.
func (c *call) parse(fewest, most int) error {
	words := c.args[1:]
	c.args = nil
	for {
		if err := c.flags.Parse(words); err != nil {
			return c.usage(err)
		}
		rest := c.flags.Args()
		ended := len(rest) < len(words) && words[len(words)-len(rest)-1] == "--"
		if len(rest) == 0 || ended || most == programs {
			c.args = append(c.args, rest...)
			break
		}
		c.args, words = append(c.args, rest[0]), rest[1:]
	}
	switch n := len(c.args); {
	case n >= fewest && (n <= most || most == programs):
		return nil
	case most == 0:
		return c.usage(errors.New("wants no argument"))
	case most == 1:
		return c.usage(errors.New("want one argument, the container's id"))
	}
	return c.usage(fmt.Errorf("want %s", c.command.arguments))
}

// usage is an error for words that make no sense. The command's help goes to
// standard output, as runc has it.
func (c *call) usage(err error) error {
	asked := errors.Is(err, flag.ErrHelp)
	if printErr := c.printUsage(); printErr != nil {
		return printErr
	}
	if asked {
		return errHelp
	}
	return fmt.Errorf("%s: %w", c.command.name, err)
}

// printUsage prints the help of the command.
func (c *call) printUsage() error {
	fmt.Fprintf(c.out, "minirunc %s: %s\n\nUsage: minirunc %s\n", c.command.name, c.command.help, strings.TrimSpace(c.command.name+" [FLAG...] "+c.command.arguments))
	t := tabwriter.NewWriter(c.out, 0, 1, 2, ' ', 0)
	heading := "\nFlags:\n"
	c.flags.VisitAll(func(f *flag.Flag) {
		if f.Usage == "" {
			return
		}
		value, usage := flag.UnquoteUsage(f)
		name := "--" + f.Name
		if short := c.flags.short[f.Name]; short != "" {
			name = "-" + short + ", " + name
		}
		fmt.Fprintf(t, "%s  %s\t%s\n", heading, strings.TrimSpace(name+" "+value), usage)
		heading = ""
	})
	return t.Flush()
}

// one loads and locks the container that is the only argument.
func (c *call) one(do func(*container.Container) error) error {
	k, err := container.Root(c.root).Lock(c.args[0])
	if err != nil {
		return err
	}
	defer k.Unlock()
	k.Warn = c.log.warn
	return do(k)
}

// load loads the container that is the first argument, to look at it.
func (c *call) load() (*container.Container, error) { return container.Root(c.root).Load(c.args[0]) }

// checkManager refuses to make a container whose cgroup systemd is to make,
// where systemd does not run. Only commands that make one ask: with the same
// flags, existing containers can be looked at and removed.
func (c *call) checkManager() error {
	if !c.systemd {
		return nil
	}
	if err := systemd.Booted(); err != nil {
		return fmt.Errorf("--systemd-cgroup: %w", err)
	}
	return nil
}
