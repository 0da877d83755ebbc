package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"minirun/container"
	"minirun/container/descriptors"
	"minirun/container/users"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func execCommand() *cli.Command {
	return &cli.Command{
		Name:      "exec",
		Usage:     "run one more program in a running container",
		ArgsUsage: "CONTAINER COMMAND [ARG...]",
		Description: "Examples:\n" +
			"   minirun exec web ps\n" +
			"   minirun exec -it web sh",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "detach", Aliases: []string{"d"}, Usage: "do not wait for the program"},
			&cli.BoolFlag{Name: "interactive", Aliases: []string{"i"}, Usage: "keep standard input open"},
			&cli.BoolFlag{Name: "tty", Aliases: []string{"t"}, Usage: "give the program a terminal"},
			&cli.StringSliceFlag{Name: "env", Aliases: []string{"e"}, Usage: "set `NAME=VALUE`, or pass on NAME"},
			&cli.StringFlag{Name: "user", Aliases: []string{"u"}, Usage: "run as `USER[:GROUP]`"},
			&cli.StringFlag{Name: "workdir", Aliases: []string{"w"}, Usage: "start in `DIR`"},
		}, lookFlags()...),
		Action: func(c *cli.Context) error { return ownFailure(execute(c)) },
	}
}

// execute describes the process in a file, and becomes the minirunc that makes it.
func execute(c *cli.Context) error {
	if c.Args().Len() < 2 {
		return usage{errors.New("exec: want a container and a command")}
	}
	k, err := find(c, c.Args().First())
	if err != nil {
		return err
	}
	p, err := execProcess(c, k)
	if err != nil {
		return err
	}
	fd, err := processFile(p)
	if err != nil {
		return err
	}
	words := append(globalFlags(c), "exec", "--insulate", "--process", fmt.Sprintf("/proc/self/fd/%d", fd))
	if c.Bool("interactive") || c.Bool("tty") {
		words = append(words, "--interactive")
	}
	words = append(words, givenFlags(c, "detach", "explain", "step", "fault")...)
	return become(append(words, k.ID)...)
}

// execProcess is the container's own process, changed into the one to run.
func execProcess(c *cli.Context, k *container.Container) (*specs.Process, error) {
	spec, err := k.Spec()
	if err != nil {
		return nil, err
	}
	p := spec.Process
	p.Args, p.Terminal, p.ConsoleSize = c.Args().Tail(), c.Bool("tty"), terminalSize()
	p.Cwd = cmp.Or(c.String("workdir"), p.Cwd)
	if c.IsSet("user") {
		if err := execUser(c, k, p); err != nil {
			return nil, err
		}
	}
	for _, e := range c.StringSlice("env") {
		if !strings.Contains(e, "=") {
			e += "=" + os.Getenv(e)
		}
		p.Env = append(p.Env, e)
	}
	return p, nil
}

// execUser looks a user up in the container's own files, as they are now, and sets
// HOME to the user's home directory, unless -e says otherwise.
func execUser(c *cli.Context, k *container.Container, p *specs.Process) error {
	user, home, err := users.LookupOf(c.String("user"), k.Pid)
	if err != nil {
		return err
	}
	user.Umask = p.User.Umask
	p.User = user
	p.Env = append(p.Env, "HOME="+cmp.Or(home, "/"))
	return nil
}

// processFile writes a process into a file in memory, for minirunc to read by its
// descriptor's number. minirunc closes it before it enters the container.
func processFile(p *specs.Process) (int, error) {
	data, err := json.Marshal(p)
	if err != nil {
		return -1, err
	}
	fd, err := unix.MemfdCreate("process", 0)
	if err != nil {
		return -1, fmt.Errorf("memfd_create: %w", err)
	}
	file := os.NewFile(uintptr(fd), "process")
	defer file.Close()
	if _, err := file.Write(data); err != nil {
		return -1, err
	}
	return behindSockets(fd)
}

// behindSockets is a copy of a descriptor that minirunc inherits, with a number behind
// those of the sockets that are meant for the program (sd_listen_fds(3)).
func behindSockets(fd int) (int, error) {
	sockets, err := descriptors.Sockets()
	if err != nil {
		return -1, err
	}
	copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD, 3+sockets)
	if err != nil {
		return -1, fmt.Errorf("descriptor for minirunc: %w", err)
	}
	return copied, nil
}
