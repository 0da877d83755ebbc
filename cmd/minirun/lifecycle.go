package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"minirun/container"
	"minirun/container/bundle"
	"minirun/container/protect"
	"minirun/container/sockets"
)

// each does something with every container that is named, echoes those that
// went well, and goes on after those that did not.
func each(c *cli.Context, do func(word string) error) error {
	if !c.Args().Present() {
		return usage{fmt.Errorf("%s: want %s", c.Command.Name, c.Command.ArgsUsage)}
	}
	var failed error
	for _, word := range c.Args().Slice() {
		if err := do(word); err == exit(0) {
			continue // nothing was done, and do has said so
		} else if err != nil {
			if failed != nil {
				report(failed)
			}
			failed = err
			continue
		}
		fmt.Fprintln(c.App.Writer, word)
	}
	return failed
}

func stopCommand() *cli.Command {
	return &cli.Command{
		Name:      "stop",
		Usage:     "end containers: a signal, and SIGKILL if that does not help",
		ArgsUsage: "CONTAINER...",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "timeout", Aliases: []string{"t", "time"}, Usage: "wait `SECONDS` before SIGKILL", Value: 10},
			&cli.StringFlag{Name: "signal", Aliases: []string{"s"}, Usage: "send `SIGNAL` instead of the image's, or SIGTERM"},
		},
		Action: func(c *cli.Context) error {
			return each(c, func(word string) error { return stop(c, word) })
		},
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
	name := c.String("signal")
	if name == "" {
		name = b.Annotation(bundle.Signal)
	}
	signal, err := parseSignal(name, unix.SIGTERM)
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

func ignore(err, harmless error) error {
	if errors.Is(err, harmless) {
		return nil
	}
	return err
}

// parseSignal takes a number, KILL or SIGKILL; "" is the default. Number 0 is no
// signal, but asks whether one could be sent.
func parseSignal(name string, otherwise unix.Signal) (unix.Signal, error) {
	if name == "" {
		return otherwise, nil
	}
	if n, err := strconv.Atoi(name); err == nil && n >= 0 && n < 65 {
		return unix.Signal(n), nil
	}
	if s := unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(name), "SIG")); s != 0 {
		return s, nil
	}
	return 0, fmt.Errorf("signal %q: no such signal", name)
}

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
			return each(c, func(word string) error { return remove(c, word) })
		},
	}
}

func remove(c *cli.Context, word string) error {
	b, err := bundleOf(c, word)
	if err != nil {
		if c.Bool("force") && errors.Is(err, bundle.ErrNoSuch) {
			report(err) // as with docker: rm -f of what is not there is no failure
			return exit(0)
		}
		return err
	}
	k, err := root(c).Lock(b.ID)
	switch {
	case errors.Is(err, container.ErrNotExist):
		return store(c).Delete(b)
	case c.Bool("force") && errors.Is(err, container.ErrDamaged):
		return errors.Join(discard(c, b.ID, err), store(c).Delete(b))
	case err != nil:
		return err
	}
	defer k.Unlock()
	if s, err := k.Status(); err != nil {
		return fmt.Errorf("remove %s: %w", word, err)
	} else if !c.Bool("force") && (s == "running" || s == "paused") {
		return fmt.Errorf("remove %s: container is %s: stop it before, or remove it with -f", word, s)
	}
	if err := k.Delete(true); err != nil {
		return err
	}
	return store(c).Delete(b)
}

// discard removes what is left of a container whose state cannot be read.
func discard(c *cli.Context, id string, why error) error {
	warn(oneLine(why) + ": if its process runs, it goes on")
	return root(c).Discard(id)
}

// The commands of the runtime-spec (runtime.md, Operations), as container
// engines call them.

func createCommand() *cli.Command {
	return &cli.Command{
		Name:      "create",
		Usage:     "make a container from a bundle, ready to start",
		ArgsUsage: "ID",
		Flags:     append(bundleFlags(), lookFlags()...),
		Action: func(c *cli.Context) error {
			if err := protect.Protect(); err != nil {
				return err
			}
			s, err := asked(c)
			if err != nil {
				return err
			}
			look, err := look(c)
			if err != nil {
				return err
			}
			o, err := options(c)
			if err != nil {
				return err
			}
			o.Wait, o.Config, o.Engine, o.Notify = true, s.config, look, notifySocket() != ""
			if c.IsSet("console-socket") {
				if !s.spec.Process.Terminal {
					return errConsole
				}
				if o.Console, err = sockets.Dial("console socket", c.String("console-socket")); err != nil {
					return err
				}
			}
			if s.spec.Process.Terminal && o.Console == nil {
				return errors.New("create: process.terminal wants --console-socket")
			}
			_, _, err = root(c).New(s.id, s.dir, s.spec, o)
			return err
		},
	}
}

// one loads the container that the single argument names.
func one(c *cli.Context, do func(*container.Container) error) error {
	if c.Args().Len() != 1 {
		return usage{fmt.Errorf("%s: want one argument, the container", c.Command.Name)}
	}
	id := c.Args().First()
	if b, err := store(c).Find(id); err == nil {
		id = b.ID
	}
	k, err := root(c).Lock(id)
	if err != nil {
		return err
	}
	defer k.Unlock()
	return do(k)
}

func startCommand() *cli.Command {
	return &cli.Command{
		Name: "start", Usage: "let a created container run its program", ArgsUsage: "ID",
		Action: func(c *cli.Context) error {
			return one(c, func(k *container.Container) error {
				if k.EntersAtStart() {
					if err := protect.Protect(); err != nil {
						return err
					}
				}
				if notifySocket() == "" {
					return k.Start()
				}
				k.Notify.Wanted = true
				if err := k.Start(); err != nil {
					return err
				}
				k.Unlock() // others may want to do something with it until it is ready
				return k.Notify.Tell(notifySocket(), k.Pid, k.Pid, k.StartTime)
			})
		},
	}
}

func killCommand() *cli.Command {
	return &cli.Command{
		Name: "kill", Usage: "send a signal to a container", ArgsUsage: "CONTAINER [SIGNAL]",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "to all of its processes"},
			&cli.StringFlag{Name: "signal", Aliases: []string{"s"}, Usage: "send `SIGNAL`, a name or a number"},
		},
		Action: func(c *cli.Context) error {
			if n := c.Args().Len(); n < 1 || n > 2 {
				return usage{errors.New("kill: want a container and, if you like, a signal")}
			}
			signal, err := parseSignal(c.String("signal")+c.Args().Get(1), unix.SIGTERM)
			if err != nil {
				return err
			}
			k, err := find(c, c.Args().First())
			if err != nil {
				return err
			}
			return k.Kill(signal, c.Bool("all"))
		},
	}
}

func deleteCommand() *cli.Command {
	return &cli.Command{
		Name: "delete", Usage: "remove what is left of a stopped container", ArgsUsage: "ID",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "end it first if it runs"}},
		Action: func(c *cli.Context) error {
			if k, err := find(c, c.Args().First()); err == nil && c.Bool("force") {
				k.Kill(unix.SIGKILL, true) // who is at work on it may be waiting for it; what is wrong, Delete says
			}
			err := one(c, func(k *container.Container) error { return k.Delete(c.Bool("force")) })
			switch {
			case c.Bool("force") && errors.Is(err, container.ErrNotExist):
				return nil
			case c.Bool("force") && errors.Is(err, container.ErrDamaged):
				return discard(c, c.Args().First(), err)
			}
			return err
		},
	}
}

func specCommand() *cli.Command {
	return &cli.Command{
		Name: "spec", Usage: "write an example config.json into a bundle",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "bundle", Aliases: []string{"b"}, Usage: "the bundle's `DIR`", Value: "."},
			&cli.BoolFlag{Name: "rootless", Usage: "for an ordinary user"},
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usage{errors.New("spec: wants no argument; --bundle names the directory")}
			}
			path := filepath.Join(c.String("bundle"), "config.json")
			data, err := json.MarshalIndent(bundle.Example(c.Bool("rootless")), "", "\t")
			if err != nil {
				return err
			}
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
			if err != nil {
				return err
			}
			_, err = f.Write(append(data, '\n'))
			return errors.Join(err, f.Close())
		},
	}
}
