// Minirun runs containers, and shows that each is just a process.
//
// It is the program for people, as docker is; minirunc makes the containers, as
// runc does for docker (runtime.go says how they meet). One file a command.
package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/urfave/cli/v2"

	"minirun/cmd/report"
	"minirun/container"
	"minirun/container/bundle"
	"minirun/container/files"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// version is set by the linker.
var version = "0.1.0-dev"

func main() {
	words := os.Args[1:]
	if isEngine(words) {
		os.Exit(printError(become(withoutStore(words)...)))
	}
	if err := report.Descriptors(); err != nil {
		os.Exit(printError(err))
	}
	out := &report.Output{To: os.Stdout}
	app := newApp(out)
	args, err := arrange(app, os.Args)
	if err == nil {
		err = cmp.Or(app.Run(args), out.Err)
	}
	os.Exit(printError(err))
}

func newApp(out *report.Output) *cli.App {
	cli.HelpFlag = &cli.BoolFlag{Name: "help", Usage: "show help", DisableDefaultText: true} // -h is run's --hostname
	cli.VersionFlag = &cli.BoolFlag{Name: "version", Aliases: []string{"v"}, Usage: "print the version", DisableDefaultText: true}
	cli.VersionPrinter = printVersion
	cli.FlagStringer = flagLine
	return &cli.App{
		Name:   "minirun",
		Writer: out,
		Usage:  "run containers, and see that each is just a process",
		Description: "Try:\n" +
			"   minirun run -d httpd          a container\n" +
			"   minirun tree                  the same container, as the processes that it is\n" +
			"   minirun ns                    its view of the machine, beside yours\n" +
			"   minirun plan httpd            the list of system calls that makes it\n" +
			"   minirun run --step httpd      make it, one call at a time",
		Version:              version,
		Metadata:             map[string]any{"finder": &sharedFinder{}},
		EnableBashCompletion: true,
		HideHelpCommand:      true,

		DisableSliceFlagSeparator: true, // -e A=1,2 is one variable
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "root", Usage: "`DIR` of the states of running containers; give --store, too", Value: files.DefaultRoot()},
			&cli.StringFlag{Name: "store", Usage: "`DIR` of images and containers", Value: string(bundle.DefaultStore())},
			&cli.StringFlag{Name: "network-subnet", Usage: "the bridge's `ADDRESS` and network, for the first container on it (else: 10.88.0.1/22, or the next that the host does not route)", EnvVars: []string{"MINIRUN_NETWORK_SUBNET"}},
			&cli.BoolFlag{Name: "systemd-cgroup", Usage: "let systemd make the cgroups"},
			&cli.StringFlag{Name: "cgroup-manager", Usage: "who makes the cgroups: `cgroupfs` or systemd", Value: "cgroupfs"},
		},
		Before:         absolute,
		Commands:       commands(),
		OnUsageError:   func(_ *cli.Context, err error, _ bool) error { return usageOf("", err) },
		ExitErrHandler: func(*cli.Context, error) {},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return unknown(c.Args().First(), nil)
			}
			return cli.ShowAppHelp(c)
		},
	}
}

// commands returns the commands of minirun. Those that only container engines use, such
// as create, are minirunc's (see isEngine).
func commands() (list []*cli.Command) {
	for _, command := range []func() *cli.Command{
		runCommand, psCommand, logsCommand, execCommand, stopCommand, startCommand, restartCommand, rmCommand, portCommand, inspectCommand,
		applyCommand, deleteCommand,
		imagesCommand, pullCommand, loadCommand, importCommand, tagCommand, rmiCommand, pruneCommand,
		treeCommand, threadsCommand, nsCommand, planCommand, doctorCommand,
		killCommand, pauseCommand, resumeCommand, updateCommand, eventsCommand,
	} {
		c := command()
		c.UseShortOptionHandling = true
		c.HideHelpCommand = true
		c.Description = describe(c.Name, c.Description)
		c.BashComplete = complete(c)
		c.OnUsageError = func(_ *cli.Context, err error, _ bool) error { return usageOf(c.Name, err) }
		list = append(list, c)
	}
	return list
}

// printVersion prints lines that Docker and Podman parse if their settings name
// minirun: the first has the word version, each other one a part's version. make build
// adds the commit to the version: 0.1.0-COMMIT.
func printVersion(c *cli.Context) {
	_, commit, _ := strings.Cut(c.App.Version, "-")
	fmt.Fprintf(c.App.Writer, "minirun version %s\ncommit: %s\nspec: %s\ngo: %s\n", c.App.Version, commit, specs.Version, runtime.Version())
}

// usage is the error of a wrong command line. If its text begins with a command and a
// colon, that command's help explains it.
type usage struct{ error }

func (u usage) Unwrap() error { return u.error }

// ownFailure gives an error of run or exec the exit code 125, as docker does. The
// program's own exit code stays.
func ownFailure(err error) error {
	if err == nil || report.Silent(err) {
		return err
	}
	return report.Failure{Err: err, Code: 125}
}

// printError prints an error on one line, a hint on another, and returns the exit
// code.
func printError(err error) int {
	if !report.Silent(err) {
		fmt.Fprintf(os.Stderr, "minirun: %s\n", report.OneLine(err))
		if h := hint(err); h != "" {
			fmt.Fprintf(os.Stderr, "hint: %s\n", h)
		}
	}
	return report.Code(err)
}

// warn prints a warning: something that was asked for was left out.
func warn(text string) {
	fmt.Fprintf(os.Stderr, "minirun: warning: %s\n", report.OneLine(errors.New(text)))
}

// absolute makes the directories of the flags absolute: they are written into bundles, and
// go to minirunc, which may work in another directory.
func absolute(c *cli.Context) error {
	for _, flag := range []string{"root", "store"} {
		path, err := filepath.Abs(c.String(flag))
		if err != nil {
			return err
		}
		if c.IsSet(flag) && c.String(flag) != "" {
			if err := c.Set(flag, path); err != nil {
				return err
			}
		}
	}
	return nil
}

func root(c *cli.Context) container.Root { return container.Root(c.String("root")) }
func store(c *cli.Context) bundle.Store  { return bundle.Store(c.String("store")) }

// globalFlags returns the flags before a command of minirunc's. They name the same
// directory of states, and the same maker of cgroups, as minirun's own.
func globalFlags(c *cli.Context) (words []string) {
	if c.IsSet("root") {
		words = append(words, "--root", c.String("root"))
	}
	if bySystemd(c) {
		words = append(words, "--systemd-cgroup")
	}
	return words
}

// forPeople are the words for a command of minirunc's that tells errors in minirun's name.
func forPeople(c *cli.Context) []string { return append(globalFlags(c), "--people") }

// bySystemd says whether systemd is to make the cgroup of a new container.
func bySystemd(c *cli.Context) bool {
	return c.Bool("systemd-cgroup") || c.String("cgroup-manager") == "systemd"
}
