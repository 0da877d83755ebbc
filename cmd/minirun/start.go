package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/urfave/cli/v2"

	"minirun/cmd/report"
	"minirun/container"
	"minirun/container/bundle"
)

// A container that has ended, or that a reboot has ended, has no process and perhaps no state
// any more, but it has its bundle: config.json, and what it wrote. To start it is to
// run that bundle once more. So it keeps its name, its id, its files and its log.

func startCommand() *cli.Command {
	return &cli.Command{
		Name:      "start",
		Usage:     "run containers again that have ended, with the files that they wrote",
		ArgsUsage: "CONTAINER...",
		Description: "Container engines start a container with it that create has made: it waits for that.\n" +
			"Example:\n" +
			"   minirun start web",
		Action: func(c *cli.Context) error {
			if k, err := root(c).Load(c.Args().First()); err == nil && c.Args().Len() == 1 {
				if s, err := k.Status(); err == nil && s == "created" { // an engine's
					return become(append(forPeople(c), "start", k.ID)...)
				}
			}
			return each(c, func(word string) error { return start(c, word) })
		},
	}
}

func restartCommand() *cli.Command {
	return &cli.Command{
		Name:      "restart",
		Usage:     "stop containers, if they run, and start them again",
		ArgsUsage: "CONTAINER...",
		Description: "Example:\n" +
			"   minirun restart -t 2 web",
		Flags: stopFlags(),
		Action: func(c *cli.Context) error {
			return each(c, func(word string) error {
				if err := stop(c, word); err != nil {
					return err
				}
				return start(c, word)
			})
		},
	}
}

// start runs a container of the store that does not run.
func start(c *cli.Context, word string) error {
	b, err := bundleOf(c, word)
	if err != nil {
		return err
	}
	if b.Dir == "" {
		return fmt.Errorf("start %s: it was made from a bundle: whoever made it can do it again", word)
	}
	if running, err := makeRoom(c, b); running || err != nil {
		return err
	}
	if err := store(c).Check(b); err != nil {
		return fmt.Errorf("start %s: %w", word, err)
	}
	if err := joinAgain(c, b); err != nil {
		return fmt.Errorf("start %s: %w", word, err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	path, err := runtimeProgram.find()
	if err != nil {
		return err
	}
	attached, err := attach(c, b)
	if err != nil {
		return fmt.Errorf("start %s: %w", word, err)
	}
	defer release(attached)
	cmd := exec.Command(path, startWords(c, b, self, attached)...)
	cmd.Args[0] = "minirunc"
	cmd.Stderr = os.Stderr
	var failed *exec.ExitError
	if err := cmd.Run(); errors.As(err, &failed) {
		return report.Exit(failed.ExitCode()) // it has said why
	} else if err != nil {
		return fmt.Errorf("start %s: %w", word, err)
	}
	return nil
}

// makeRoom removes the state of a container that has ended. It is true if the container runs.
func makeRoom(c *cli.Context, b *bundle.Bundle) (running bool, err error) {
	k, err := root(c).Lock(b.ID)
	if err != nil {
		return false, ignore(err, container.ErrNotExist)
	}
	defer k.Unlock()
	switch s, err := k.Status(); {
	case err != nil:
		return false, fmt.Errorf("start %s: %w", b.ID, err)
	case s != "stopped":
		return true, nil
	}
	return false, k.Delete(false)
}

// startWords returns minirunc's command line. Only of a container that is to be removed when it
// ends does the bundle go if it cannot be made.
func startWords(c *cli.Context, b *bundle.Bundle, self string, attached []string) []string {
	words := append(globalFlags(c), "run", "--monitor", "--detach", "--name", b.Annotation(bundle.Name), "--bundle", b.Dir)
	words = append(words, attached...)
	if b.Annotation(bundle.Remove) == "" {
		return append(words, b.ID)
	}
	return append(append(words, "--rm", b.ID, "--"), removeWords(c, b, self)...)
}
