package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"minirun/container"
	"minirun/container/bundle"
)

func logsCommand() *cli.Command {
	return &cli.Command{
		Name:      "logs",
		Usage:     "print what a detached container wrote to its standard output and error",
		ArgsUsage: "CONTAINER",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on until the container ends"},
			&cli.StringFlag{Name: "tail", Aliases: []string{"n"}, Usage: "only the last `N` lines of each", Value: "all"},
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

// A log is one of a container's two files, and where it is printed to.
type log struct {
	from *os.File
	to   io.Writer
}

func logs(c *cli.Context, b *bundle.Bundle) error {
	lines, err := tailLines(c.String("tail"))
	if err != nil {
		return err
	}
	var list []log
	for name, to := range map[string]io.Writer{"stdout": os.Stdout, "stderr": os.Stderr} {
		f, err := openLog(func() (*os.File, error) { return store(c).OpenFile(b, name) })
		if errors.Is(err, os.ErrNotExist) {
			continue // it ran attached: its output was the caller's
		} else if err != nil {
			return err
		}
		defer f.Close()
		if err := seekTail(f, lines); err != nil {
			return err
		}
		list = append(list, log{f, to})
	}
	for {
		running := false
		if c.Bool("follow") {
			if running, err = isRunning(c, b); err != nil {
				return err
			}
		}
		for _, l := range list {
			if err := copyData(l.to, l.from); err != nil {
				return err
			}
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
