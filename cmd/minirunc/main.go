// Minirunc makes containers. It is the OCI runtime: the program that container
// engines (containerd, Docker, Podman, CRI-O) call as they call runc, and that
// minirun calls as well. Its exit code is the program's own, or
//
//	1    an error of minirunc
//	3    no such command
//	255  an error of exec
//
// One file a command. What all commands share:
//
//	main.go      the table of commands
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

	_ "minirun/cmd/minirunc/boot"
	"minirun/cmd/report"
	"minirun/container/protect"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// version is set by the linker.
var version = "0.1.0-dev"

// A command is a word that minirunc carries out. do declares the command's flags, has
// [call.parse] read them, and does the work.
type command struct {
	name      string
	arguments string
	help      string
	do        func(*call) error
}

// commands lists all commands, in the order of a container's life. One without help
// is not in --help, because only minirunc itself executes it.
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
	protect.Restore()
	words := os.Args[1:]
	c := &call{out: &report.Output{To: os.Stdout}}
	err := c.globals(words)
	if err == nil {
		err = cmp.Or(report.Descriptors(), c.log.add(debug, fmt.Sprintf("minirunc %s: %q", version, words)))
	}
	if err == nil {
		err = cmp.Or(c.dispatch(), c.out.Err)
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
		return report.Failure{Err: fmt.Errorf("%q is not a command; see minirunc --help", c.args[0]), Code: 3}
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
