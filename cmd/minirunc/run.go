package main

import (
	"errors"
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"

	"minirun/cmd/early"
	"minirun/cmd/fresh"
	"minirun/cmd/report"
	"minirun/container"
	"minirun/container/exit"
	"minirun/container/listener"
	"minirun/container/protect"
	"minirun/container/sockets"
	"minirun/namespaces/network/link"
)

// runFlags are the flags of run.
type runFlags struct {
	bundleFlags
	detach, keep                      *bool
	monitor, interactive, removeAtEnd *bool // see people.go
	guard                             *int
	network                           *string
	lease                             *int
}

func run(c *call) error {
	f := runFlags{
		bundleFlags: c.bundleFlags(),
		detach:      c.flags.yes("detach d", "do not wait for the container's end"),
		keep:        c.flags.yes("keep", "leave the container's state until delete"),
		monitor:     c.flags.yes("monitor", ""),
		interactive: c.flags.yes("interactive", ""),
		removeAtEnd: c.flags.yes("rm", ""),
		guard:       c.flags.number("guard", ""),
		network:     c.flags.text("network", ""),
		lease:       c.flags.number("lease", ""),
	}
	c.flags.text("name", "")
	if err := c.parse(1, math.MaxInt); err != nil {
		return err
	}
	if len(c.args) > 1 && !*f.monitor {
		return c.usage(errors.New("want one argument, the container's id"))
	}
	if err := protect.Protect(); err != nil {
		return err
	}
	fresh.Start()
	early.Listen()
	s := &runSession{session: session{call: c, detach: *f.detach}, keep: *f.keep, monitor: *f.monitor}
	if s.monitor {
		c.log.people = true
		s.people = people{true, *f.interactive, *f.removeAtEnd, c.args[1:], guarded(*f.guard), guarded(*f.lease)}
	}
	code, err := s.run(f)
	if err != nil && s.monitor {
		err = errors.Join(err, s.people.clean())
		s.people.guard.release()
		return peopleCode(err)
	} else if err != nil {
		return err
	}
	return report.Exited(code)
}

// A runSession is one call of run: a session whose program is a container's.
type runSession struct {
	session
	dir           string // the bundle
	keep, monitor bool
}

func (s *runSession) run(f runFlags) (code int, err error) {
	var text []byte
	if s.dir, s.spec, text, err = f.read(s.call); err != nil {
		return 0, err
	}
	if s.options, err = f.options(s.call); err != nil {
		return 0, err
	}
	if !s.monitor { // an engine may change its bundle, so the container keeps a copy of the spec; minirun does not change its bundles
		s.options.Config, s.options.Notify = text, notifySocket() != ""
	}
	if err := s.runFiles(f); err != nil {
		return 0, err
	}
	if s.monitor && *f.network != "" {
		if s.options.Network, err = link.Read(*f.network); err != nil {
			return 0, err
		}
	}
	if s.options.Agent, err = listener.Connect(s.spec.Linux.Seccomp); err != nil {
		return 0, err
	}
	if err := stopped(); err != nil {
		return 0, err
	}
	if s.detach {
		return 0, s.detached()
	}
	return s.attached()
}

// runFiles decides what the program's descriptors 0, 1 and 2 are.
func (s *runSession) runFiles(f runFlags) (err error) {
	switch {
	case *f.consoleSocket != "" && !(s.spec.Process.Terminal && s.detach):
		return errConsole
	case *f.consoleSocket != "":
		s.options.Console, err = sockets.Dial("console socket", *f.consoleSocket)
		return err
	case !s.monitor && !s.spec.Process.Terminal:
		return nil // all are the caller's
	case s.spec.Process.Terminal:
		err = s.terminal()
	case !s.people.interactive:
		s.options.Stdin, err = os.Open("/dev/null")
	case s.detach:
		s.options.Stdin, err = endless()
	}
	if err == nil && s.monitor && s.detach {
		s.options.Stdout, err = openLog(s.dir)
		s.options.Stderr = s.options.Stdout
	}
	return err
}

// detached starts the container, and does not wait for its end.
func (s *runSession) detached() error {
	if s.socket != nil && !s.monitor {
		return errors.New("run -d: who takes the terminal? give a --console-socket")
	}
	s.options.Monitor = s.monitor
	s.options.Engine.Stopped = stopped
	if s.people.remove {
		s.options.AtExit = s.people.command
	}
	k, p, err := container.Root(s.root).New(s.args[0], s.dir, s.spec, s.options)
	s.people.lease.close()
	if err != nil {
		return err
	}
	if err = stopped(); err == nil && s.socket != nil { // the plan asks when it waits, so it may not have seen the last one
		err = s.drain()
	}
	if err != nil {
		return errors.Join(err, k.Delete(true))
	}
	s.people.guard.release()
	if s.monitor {
		fmt.Fprintln(s.out, k.ID)
	}
	if err := k.Notify.Tell(notifySocket(), p.Pid, k.Identity); err != nil {
		s.log.warn(err.Error()) // only a warning: the container runs
	}
	return nil
}

// attached runs the container and waits for its end.
func (s *runSession) attached() (int, error) {
	signals := &catcher{}
	pipes := &insulation{}
	if s.people.insulate {
		var err error
		if pipes, err = s.insulate(); err != nil {
			return 0, err
		}
	}
	s.options.Engine.Stopped = signals.interrupted
	k, p, err := container.Root(s.root).New(s.args[0], s.dir, s.spec, s.options)
	s.people.lease.close()
	pipes.started()
	if err == nil {
		if err = stopped(); err != nil { // a thread may have been in the handler when the others went on
			err = errors.Join(err, k.Delete(true))
		}
	}
	if err != nil {
		return 0, err
	}
	if s.monitor {
		if err := reserve(k); err != nil {
			return 0, errors.Join(err, k.Delete(true))
		}
	}
	s.people.guard.release()
	go func() {
		if err := k.Notify.Tell(notifySocket(), os.Getpid(), k.Identity); err != nil { // we end when the container ends
			s.log.warn(err.Error())
		}
	}()
	status, err := s.attach(p, signals, pipes, func() error { return k.Delete(true) })
	if left := s.options.Network.Withdraw(); left != nil {
		s.log.warn(left.Error()) // only a warning: how the container ended must not be lost, and the next run sweeps
	}
	if err != nil {
		return 0, fmt.Errorf("wait for %s: %w", k.ID, err)
	}
	return exit.Code(status), s.ended(k, status)
}

// ended keeps, removes or deletes a container that has ended, or records how it
// ended: as the flags say.
func (s *runSession) ended(k *container.Container, status unix.WaitStatus) error {
	switch {
	case s.keep:
		return nil
	case s.people.remove:
		return s.people.clean()
	case s.monitor:
		return record(k, status)
	}
	if err := k.Lock(); errors.Is(err, container.ErrNotExist) {
		return nil // another command has deleted it, perhaps the one that ended it
	} else if err != nil {
		return err
	}
	defer k.Unlock()
	return k.Delete(true)
}
