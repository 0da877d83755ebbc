// Minirun runs containers, and shows that each is just a process.
//
// This package is the command line: the only code here that prints, parses
// flags or picks exit codes. One file a command.
package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"minirun/cgroups"
	"minirun/container"
	"minirun/container/bundle"
	"minirun/container/protect"
	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// version is set by the linker.
var version = "0.1.0-dev"

func main() {
	protect.RestoreTimerSlack()
	words := os.Args[1:]
	if slices.Contains(words, "--monitor") {
		stopSecond = stopSignals()
	}
	log := newLog(words)
	if err := checkDescriptors(); err != nil {
		os.Exit(log.report(forEngine(failure{err, 125}, words)))
	}
	cli.HelpFlag = &cli.BoolFlag{Name: "help", Usage: "show help", DisableDefaultText: true} // -h is run's --hostname
	cli.VersionFlag = &cli.BoolFlag{Name: "version", Aliases: []string{"v"}, Usage: "print the version", DisableDefaultText: true}
	cli.VersionPrinter = printVersion
	cli.FlagStringer = flagLine
	out := &output{to: os.Stdout}
	app := &cli.App{
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
		EnableBashCompletion: true,
		HideHelpCommand:      true,

		DisableSliceFlagSeparator: true, // -e A=1,2 is one variable
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "root", Usage: "`DIR` of the states of running containers", Value: string(container.DefaultRoot())},
			&cli.StringFlag{Name: "store", Usage: "`DIR` of images and containers", Value: string(bundle.DefaultStore())},
		}, mentioned(engineFlags(), words)...),
		Commands:       commands(words),
		Before:         checkEngineFlags,
		OnUsageError:   func(_ *cli.Context, err error, _ bool) error { return usage{err} },
		ExitErrHandler: func(*cli.Context, error) {},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return unknown(c.Args().First(), nil)
			}
			return cli.ShowAppHelp(c)
		},
	}
	args, err := arrange(app, os.Args)
	if err == nil {
		err = cmp.Or(app.Run(args), out.err)
	}
	os.Exit(log.report(forEngine(err, words)))
}

// An output is standard output that remembers the first write that failed: most
// of what is printed is printed line by line, and a full disk under it is an
// error of the command.
type output struct {
	to  io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.to.Write(p)
	if err != nil {
		o.err = fmt.Errorf("standard output: %w", err)
	}
	return n, o.err
}

// fewestDescriptors are those without which nothing is begun: Go's own runtime
// ends with a page about itself if it has none for its poller.
const fewestDescriptors = 16

func checkDescriptors() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil && limit.Cur < fewestDescriptors {
		return fmt.Errorf("limit of open files (RLIMIT_NOFILE, ulimit -n) is %d: want %d at least", limit.Cur, fewestDescriptors)
	}
	return nil
}

// commandTable is every command by name, those for people first.
var commandTable = []struct {
	name    string
	command func() *cli.Command
}{
	{"run", runCommand}, {"ps", psCommand}, {"logs", logsCommand}, {"exec", execCommand}, {"stop", stopCommand}, {"rm", rmCommand}, {"inspect", inspectCommand},
	{"images", imagesCommand}, {"load", loadCommand}, {"import", importCommand}, {"rmi", rmiCommand},
	{"tree", treeCommand}, {"threads", threadsCommand}, {"ns", nsCommand}, {"plan", planCommand}, {"doctor", doctorCommand},
	{"create", createCommand}, {"start", startCommand}, {"state", stateCommand}, {"kill", killCommand}, {"delete", deleteCommand},
	{"list", listCommand}, {"pause", pauseCommand}, {"resume", resumeCommand}, {"update", updateCommand}, {"events", eventsCommand}, {"features", featuresCommand}, {"spec", specCommand}, {"drain", drainCommand},
}

// commands are those whose names are among the words, or all if none is: no
// need to describe to oneself what one will not do.
func commands(words []string) []*cli.Command {
	var some, all []*cli.Command
	for _, c := range commandTable {
		if slices.Contains(words, c.name) {
			some = append(some, prepared(c.command(), words))
		}
	}
	version := len(words) == 1 && (words[0] == "--version" || words[0] == "-v")
	if version || len(some) > 0 && !slices.Contains(words, completion) {
		return some
	}
	for _, c := range commandTable {
		all = append(all, prepared(c.command(), words))
	}
	return all
}

func prepared(c *cli.Command, words []string) *cli.Command {
	c.Flags = mentioned(c.Flags, words)
	c.UseShortOptionHandling = true
	c.HideHelpCommand = true
	c.Description = describe(c.Name, c.Description)
	c.BashComplete = complete(c)
	c.OnUsageError = func(_ *cli.Context, err error, _ bool) error { return usageOf(c.Name, err) }
	return c
}

// printVersion prints what Docker and Podman parse: a line with the word
// version, and one for each part. The commit is what make build adds to the
// version: 0.1.0-COMMIT.
func printVersion(c *cli.Context) {
	_, commit, _ := strings.Cut(c.App.Version, "-")
	fmt.Fprintf(c.App.Writer, "minirun version %s\ncommit: %s\nspec: %s\ngo: %s\n", c.App.Version, commit, specs.Version, runtime.Version())
}

// An exit is an error that only sets the exit code: the program in the
// container, or an earlier message, has said what there is to say.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// usage is a command line that makes no sense.
type usage struct{ error }

func (u usage) Unwrap() error { return u.error }

// A failure is an error with an exit code of its own: that which docker gives to
// one of run or exec itself, or runc to a command that there is not.
type failure struct {
	error
	code int
}

func (f failure) Unwrap() error { return f.error }

// report prints an error on one line, a hint on another, and returns the exit
// code.
func report(err error) int {
	var code exit
	if err == nil || errors.As(err, &code) {
		return exitCode(err)
	}
	fmt.Fprintf(os.Stderr, "minirun: %s\n", oneLine(err))
	if h := hint(err); h != "" {
		fmt.Fprintf(os.Stderr, "hint: %s\n", h)
	}
	return exitCode(err)
}

// oneLine is an error as it can be printed: what it repeats of a configuration,
// an image or a command line may be meant for the terminal, or for a log, to
// look like something else.
func oneLine(err error) string {
	return plan.Printable(strings.ReplaceAll(err.Error(), "\n", "; "))
}

// exitCode is that of an error, or of none.
func exitCode(err error) int {
	var code exit
	var own failure
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &own):
		return own.code
	}
	return 1
}

// warn says what was left out: to people on stderr, which for an engine is that
// of the container, and so to engines in the log.
func warn(text string) {
	l := newLog(os.Args[1:])
	if l.path == "" {
		fmt.Fprintf(os.Stderr, "minirun: warning: %s\n", oneLine(errors.New(text)))
	} else if err := l.add(warning, text); err != nil {
		fmt.Fprintln(os.Stderr, oneLine(err))
	}
}

// hint is what may help with an error; "" if nothing is known.
func hint(err error) string {
	var failed *plan.StepError
	var missing notDone
	switch {
	case errors.As(err, &missing):
		return missing.instead()
	case errors.Is(err, bundle.ErrNoSuch), errors.Is(err, container.ErrNotExist):
		return "minirun ps -a lists all containers"
	case errors.Is(err, cgroups.ErrNotMounted):
		return "mount -t cgroup2 none /sys/fs/cgroup"
	case errors.As(err, &failed) && errors.Is(err, unix.EPERM) && os.Geteuid() != 0:
		return "an ordinary user's containers need user namespaces; see minirun doctor"
	}
	return ""
}

// exitOf is the exit code of run and exec for an error of their own: 127 if the
// program was not found, 126 if it cannot be executed, else 125.
func exitOf(err error) failure {
	switch {
	case !errors.Is(err, container.ErrProgram):
		return failure{err, 125}
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return failure{err, 127}
	}
	return failure{err, 126}
}

func root(c *cli.Context) container.Root { return container.Root(c.String("root")) }
func store(c *cli.Context) bundle.Store  { return bundle.Store(c.String("store")) }
