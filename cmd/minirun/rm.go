package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"minirun/cmd/report"
	"minirun/container"
	"minirun/container/bundle"
	"minirun/container/descriptors"
)

func rmCommand() *cli.Command {
	return &cli.Command{
		Name:      "rm",
		Usage:     "remove containers, with all that they wrote",
		ArgsUsage: "CONTAINER...",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "end those that run"},
			&cli.BoolFlag{Name: "volumes", Aliases: []string{"v"}, Hidden: true},
		},
		Action: func(c *cli.Context) error {
			if err := descriptors.HideOthers(3); err != nil { // hooks would keep them
				return err
			}
			return each(c, func(word string) error { return remove(c, word) })
		},
	}
}

func remove(c *cli.Context, word string) error {
	b, err := bundleOf(c, word)
	if err != nil {
		if c.Bool("force") && errors.Is(err, bundle.ErrNoSuch) {
			if err := store(c).Forget(word); err != nil {
				return err
			}
			printError(err) // as with docker, it is no failure
			return report.Exit(0)
		}
		return err
	}
	k, err := root(c).Lock(b.ID)
	switch {
	case errors.Is(err, container.ErrNotExist):
		return deleteBundle(c, b)
	case c.Bool("force") && errors.Is(err, container.ErrDamaged):
		return errors.Join(discard(c, b.ID, err), deleteBundle(c, b))
	case err != nil:
		return err
	}
	defer k.Unlock()
	s, err := k.Status()
	switch {
	case c.Bool("force") && errors.Is(err, container.ErrDamaged):
		k.Kill(unix.SIGKILL, false) // it may not work: discard says so
		return errors.Join(discard(c, b.ID, err), deleteBundle(c, b))
	case err != nil:
		return fmt.Errorf("remove %s: %w", word, err)
	case !c.Bool("force") && (s == "running" || s == "paused"):
		return fmt.Errorf("remove %s: container is %s: stop it before, or remove it with -f", word, s)
	}
	if err := k.Delete(true); err != nil {
		return err
	}
	return deleteBundle(c, b)
}

// deleteBundle removes a container's bundle. One that is none of the store's needs no store:
// it may be another user's (see bundleOf).
func deleteBundle(c *cli.Context, b *bundle.Bundle) error {
	if b.Dir == "" {
		return nil
	}
	f, err := finder(c)
	if err != nil {
		return err
	}
	return errors.Join(f.Delete(b), leave(c, b))
}

// discard removes what is left of a container whose state cannot be read.
func discard(c *cli.Context, id string, why error) error {
	warn(why.Error() + ": if its process runs, it goes on")
	return root(c).Discard(id)
}
