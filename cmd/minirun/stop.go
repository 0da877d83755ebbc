package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"minirun/cmd/report"
	"minirun/container"
	"minirun/container/bundle"
)

// atOnce is for how many arguments each does something at the same time.
const atOnce = 16

// each calls do for every argument, for some at the same time, and prints the argument if
// there was no error: in the order of the arguments. After an error it goes on.
func each(c *cli.Context, do func(word string) error) error {
	if !c.Args().Present() {
		return usage{fmt.Errorf("%s: want %s", c.Command.Name, c.Command.ArgsUsage)}
	}
	words := c.Args().Slice()
	results, places := make([]chan error, len(words)), make(chan bool, atOnce)
	for i, word := range words {
		results[i] = make(chan error, 1)
		go func() {
			places <- true
			results[i] <- do(word)
			<-places
		}()
	}
	var failed error
	for i, word := range words {
		if err := <-results[i]; err == report.Exit(0) {
			continue // nothing was done, and do has said so
		} else if err != nil {
			if failed != nil {
				printError(failed)
			}
			failed = err
			continue
		}
		report.Printf(c.App.Writer, "%s\n", word)
	}
	return failed
}

func stopCommand() *cli.Command {
	return &cli.Command{
		Name:      "stop",
		Usage:     "end containers: a signal, and SIGKILL if that does not help",
		ArgsUsage: "CONTAINER...",
		Flags:     stopFlags(),
		Action: func(c *cli.Context) error {
			return each(c, func(word string) error { return stop(c, word) })
		},
	}
}

func stopFlags() []cli.Flag {
	return []cli.Flag{
		&cli.IntFlag{Name: "timeout", Aliases: []string{"t", "time"}, Usage: "wait `SECONDS` before SIGKILL", Value: 10},
		&cli.StringFlag{Name: "signal", Aliases: []string{"s"}, Usage: "send `SIGNAL` instead of the image's, or SIGTERM"},
	}
}

func stop(c *cli.Context, word string) error {
	b, err := bundleOf(c, word)
	if err != nil {
		return err
	}
	k, err := root(c).Load(b.ID)
	if errors.Is(err, container.ErrNotExist) {
		return nil // it is stopped already
	} else if err != nil {
		return err
	}
	signal, err := stopSignal(c, b)
	if err != nil {
		return err
	}
	if err := k.Kill(signal, false); err != nil {
		return ignore(err, container.ErrNotRunning)
	}
	if limit := time.Duration(c.Int("timeout")) * time.Second; limit > 0 {
		if ended, err := k.Wait(limit); ended || err != nil {
			return err
		}
	}
	if err := k.Kill(unix.SIGKILL, false); err != nil {
		return ignore(err, container.ErrNotRunning)
	}
	_, err = k.Wait(0)
	return err
}

// stopSignal is the signal of the command line, or the image's, or SIGTERM. That an image
// names one which does not exist must not keep the container from being stopped.
func stopSignal(c *cli.Context, b *bundle.Bundle) (unix.Signal, error) {
	if name := c.String("signal"); name != "" {
		return parseSignal(name, 0)
	}
	signal, err := parseSignal(b.Annotation(bundle.Signal), unix.SIGTERM)
	if err != nil {
		warn(fmt.Sprintf("%s: the image's STOPSIGNAL: %v; SIGTERM is sent", b.Annotation(bundle.Name), err))
		return unix.SIGTERM, nil
	}
	return signal, nil
}

func ignore(err, harmless error) error {
	if errors.Is(err, harmless) {
		return nil
	}
	return err
}
