// Minirunc makes containers. It is the OCI runtime: the program that container
// engines (containerd, Docker, Podman, CRI-O) call as they call runc, and that
// minirun calls as well.
//
// One file a command. What all commands share:
//
//	main.go      the table of commands, exit codes
//	flags.go     the flags before and after the command's name
//	log.go       how errors are told to people and to engines
//	signals.go   what a signal to minirunc does
//	people.go    the hidden flags that minirun uses
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

	"golang.org/x/sys/unix"

	_ "minirun/cmd/minirunc/boot"
	"minirun/container/protect"
	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// version is set by the linker.
var version = "0.1.0-dev"

// A command is one of minirunc's. Its function declares its flags, lets [call.parse]
// read them, and does what the command is for.
type command struct {
	name      string
	arguments string
	help      string
	do        func(*call) error
}

// commands are all of them, in the order of a container's life. Those without
// help are for minirunc itself.
var commands = []command{
	{"create", "ID", "make a container from a bundle; its program waits for start", create},
	{"start", "ID", "let a created container run its program", start},
	{"run", "ID", "create and start a container, and wait for its end", run},
	{"exec", "ID COMMAND [ARG...]", "run one more program in a container", execute},
	{"state", "ID", "print a container's state as JSON", state},
	{"kill", "ID [SIGNAL]", "send a signal to a container; SIGTERM if none is named", kill},
	{"delete", "ID", "remove what is left of a stopped container", remove},
	{"list", "", "list containers", list},
	{"ps", "ID [OPTION OF ps(1)...]", "list the processes of a container", ps},
	{"pause", "ID", "stop all processes of a container, as they are", pause},
	{"resume", "ID", "let a paused container go on", resume},
	{"update", "ID", "change the limits of a container", update},
	{"events", "ID", "print as JSON what a container uses, and when it ran out of memory", events},
	{"features", "", "print as JSON what a bundle can ask for", features},
	{"spec", "", "write an example config.json into a bundle", spec},
	{"plan", "[ID]", "print the system calls that would make a container, and make none", printPlan},
	{"drain", "", "", drain},
}

func main() {
	protect.RestoreTimerSlack()
	words := os.Args[1:]
	c := &call{out: &output{to: os.Stdout}}
	if slices.Contains(words, "--monitor") {
		c.early = stopSignals()
	}
	err := c.globals(words)
	if err == nil {
		err = cmp.Or(checkDescriptors(), c.log.add(debug, fmt.Sprintf("minirunc %s: %q", version, words)))
	}
	if err == nil {
		err = cmp.Or(c.dispatch(), c.out.err)
	}
	os.Exit(c.log.report(err))
}

// dispatch finds the command and calls its function.
func (c *call) dispatch() error {
	if c.version {
		return printVersion(c.out)
	}
	if c.help || len(c.args) == 0 {
		return printHelp(c.out)
	}
	i := slices.IndexFunc(commands, func(k command) bool { return k.name == c.args[0] })
	if i < 0 {
		return failure{fmt.Errorf("%q is not a command; see minirunc --help", c.args[0]), 3}
	}
	c.command = commands[i]
	c.flags = newFlags(c.command.name)
	err := c.command.do(c)
	if errors.Is(err, errHelp) {
		return nil // it has been printed
	}
	return err
}

// printVersion prints what Docker and Podman parse: a line with the word
// version, and one for each part. The commit is what make build adds to the
// version: 0.1.0-COMMIT.
func printVersion(w io.Writer) error {
	_, commit, _ := strings.Cut(version, "-")
	_, err := fmt.Fprintf(w, "minirunc version %s\ncommit: %s\nspec: %s\ngo: %s\n", version, commit, specs.Version, runtime.Version())
	return err
}

// An output is standard output that remembers the first write that failed: most
// output is printed line by line, and a full disk is an error of the command.
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

// fewestDescriptors is how many files must be allowed to be open before anything
// is begun: with fewer, Go's runtime cannot make its poller, and panics.
const fewestDescriptors = 16

func checkDescriptors() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil && limit.Cur < fewestDescriptors {
		return fmt.Errorf("limit of open files (RLIMIT_NOFILE, ulimit -n) is %d: want %d at least", limit.Cur, fewestDescriptors)
	}
	return nil
}

// An exit is an error that only sets the exit code. The program in the
// container, or an earlier message, has said why.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// A failure is an error with an exit code of its own.
type failure struct {
	error
	code int
}

func (f failure) Unwrap() error { return f.error }

// exitCode is the exit code of minirunc: the program's own, or
//
//	1    an error of minirunc
//	3    no such command
//	255  an error of exec
//	125 to 127  see [peopleCode]
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

// exited turns the exit code of a program into an error; 0 is none.
func exited(code int) error {
	if code == 0 {
		return nil
	}
	return exit(code)
}

// oneLine is an error as it can be printed. An error repeats words of a
// configuration or a command line, and those could contain codes that make a
// terminal or a log show something else.
func oneLine(err error) string {
	return plan.Printable(strings.ReplaceAll(err.Error(), "\n", "; "))
}
