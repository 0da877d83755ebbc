package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"minirun/cmd/report"
	"minirun/container"
	"minirun/container/bundle"
)

// logFile is the file in a container's bundle that a detached one writes to.
const logFile = "log"

func logsCommand() *cli.Command {
	return &cli.Command{
		Name:      "logs",
		Usage:     "print what a detached container wrote to its standard output and error",
		ArgsUsage: "CONTAINER",
		Description: "Both go to one file, in the order in which they were written: what was written to standard\n" +
			"error is not told apart, and no time is noted. A program that is to keep them apart can\n" +
			"run attached, as in `minirun run IMAGE >out 2>err`.\n" +
			"Example:\n" +
			"   minirun logs -f -n 10 web",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on until the container ends"},
			&cli.StringFlag{Name: "tail", Aliases: []string{"n"}, Usage: "only the last `N` lines", Value: "all"},
		},
		Action: func(c *cli.Context) error {
			if c.Args().Len() != 1 {
				return usage{errors.New("logs: want one argument, the container")}
			}
			b, err := bundleOf(c, c.Args().First())
			if err != nil {
				return err
			}
			if b.Dir == "" {
				return fmt.Errorf("logs %s: it was made from a bundle: what it writes is for who made it", b.ID)
			}
			return logs(c, b)
		},
	}
}

func logs(c *cli.Context, b *bundle.Bundle) error {
	lines, err := tailLines(c.String("tail"))
	if err != nil {
		return err
	}
	f, err := openLog(func() (*os.File, error) { return store(c).OpenFile(b, logFile) })
	if errors.Is(err, os.ErrNotExist) {
		fmt.Fprintf(os.Stderr, "minirun: %s ran attached, so there is no log: it wrote to the terminal or the files of whoever ran it\n", report.Printable(c.Args().First()))
		return nil
	} else if err != nil {
		return err
	}
	defer f.Close()
	if err := seekTail(f, lines); err != nil {
		return err
	}
	for {
		running := false
		if c.Bool("follow") {
			if running, err = isRunning(c, b); err != nil {
				return err
			}
		}
		if err := copyData(os.Stdout, f); err != nil {
			return err
		}
		if !running {
			return nil // running was asked before the copy, so all is copied that was written until the end
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func isRunning(c *cli.Context, b *bundle.Bundle) (bool, error) {
	k, err := root(c).Load(b.ID)
	if err != nil {
		return false, ignore(err, container.ErrNotExist)
	}
	s, err := k.Status()
	return s != "stopped", err
}
