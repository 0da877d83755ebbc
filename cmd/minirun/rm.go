package main

import (
	"errors"
	"fmt"
	"sync"

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
			gone := &departed{}
			err := each(c, func(word string) error { return removeBy(c, word, c.Bool("force"), gone) })
			if left := leave(c, gone.list...); left != nil {
				err = errors.Join(err, left)
			}
			return err
		},
	}
}

// departed are the bundles of containers that have been removed, by several goroutines: all of
// them leave the network at once, because each time the others' hosts files are written.
type departed struct {
	mu   sync.Mutex
	list []*bundle.Bundle
}

func (d *departed) add(b *bundle.Bundle) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.list = append(d.list, b)
}

// removeBy removes a container; with force also one that runs. The caller then calls leave for
// those that are gone.
func removeBy(c *cli.Context, word string, force bool, gone *departed) error {
	b, err := bundleOf(c, word)
	if err != nil {
		if force && errors.Is(err, bundle.ErrNoSuch) {
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
		return deleteBundle(c, b, gone)
	case force && errors.Is(err, container.ErrDamaged):
		return errors.Join(discard(c, b.ID, err), deleteBundle(c, b, gone))
	case err != nil:
		return err
	}
	defer k.Unlock()
	s, err := k.Status()
	switch {
	case force && errors.Is(err, container.ErrDamaged):
		k.Kill(unix.SIGKILL, false) // it may not work: discard says so
		return errors.Join(discard(c, b.ID, err), deleteBundle(c, b, gone))
	case err != nil:
		return fmt.Errorf("remove %s: %w", word, err)
	case !force && (s == "running" || s == "paused"):
		return fmt.Errorf("remove %s: container is %s: stop it before, or remove it with -f", word, s)
	}
	if err := k.Delete(true); err != nil {
		return err
	}
	return deleteBundle(c, b, gone)
}

// deleteBundle removes a container's bundle. One that is none of the store's needs no store:
// it may be another user's (see bundleOf).
func deleteBundle(c *cli.Context, b *bundle.Bundle, gone *departed) error {
	if b.Dir == "" {
		return nil
	}
	f, err := finder(c)
	if err != nil {
		return err
	}
	gone.add(b)
	return f.Delete(b)
}

// discard removes what is left of a container whose state cannot be read.
func discard(c *cli.Context, id string, why error) error {
	warn(why.Error() + ": if its process runs, it goes on")
	return root(c).Discard(id)
}
