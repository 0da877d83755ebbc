package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"sync"

	"github.com/containerd/console"
	"golang.org/x/sys/unix"

	"minirun/container/sockets"
	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// forwarded are the signals that somebody may mean for the program in the
// container. Not those by which the kernel tells a process about itself.
var forwarded = []os.Signal{
	unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGCONT, unix.SIGWINCH,
}

// Who stops us before there is a container wants none: what was made of it goes
// again. While the second stage of run IMAGE takes the place of the first, nobody
// is there to hear of it, and the signals are ignored; those after Go's runtime
// has begun, and before main has, still leave a container that was never started.
var stopping = []os.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGTERM}

// stopSecond are those of the second stage, which listens as soon as it can.
var stopSecond chan os.Signal

func stopSignals() chan os.Signal {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, stopping...)
	return stop
}

// stopped is the exit code of who has been stopped, or 0.
func stopped(stop chan os.Signal) exit {
	select {
	case s := <-stop:
		return exit(128 + int(s.(unix.Signal)))
	default: // also of no channel
		return 0
	}
}

// A catcher catches what is meant for the program in the container.
type catcher struct {
	signals chan os.Signal
	catch   sync.Once
}

// interrupted says, while there is no program yet, whether a signal has come that
// stops: then the start is given up. Others that come so early are lost. Why does
// it not catch any before it is asked? Go's preparations for it take as long as
// those of the container, and can be made meanwhile.
func (c *catcher) interrupted() error {
	c.catch.Do(func() {
		c.signals = make(chan os.Signal, 64)
		signal.Notify(c.signals, forwarded...)
	})
	if code := stopped(stopSecond); code != 0 {
		return code // it came before we caught them
	}
	for {
		select {
		case s := <-c.signals:
			if slices.Contains(stopping, s) {
				return exit(128 + int(s.(unix.Signal)))
			}
		default:
			return nil
		}
	}
}

// forward passes signals on to the program, and changes of the window's size to
// its terminal. A program without one does not hear of them: our window is not
// its own, and httpd would take SIGWINCH for a call to stop. By a pidfd: when the
// program has ended, its number may soon be somebody else's.
func (c *catcher) forward(p *plan.Process, master *os.File) error {
	pidfd, err := unix.PidfdOpen(p.Pid, 0) // not reaped yet, so it is certainly the program's
	if err != nil {
		return fmt.Errorf("pidfd_open %d: %w", p.Pid, err)
	}
	if master != nil {
		resize(master) // the window may have changed before we could hear of it
	}
	go func() {
		for s := range c.signals {
			switch {
			case s != unix.SIGWINCH:
				unix.PidfdSendSignal(pidfd, s.(unix.Signal), nil, 0) // ESRCH: it ended
			case master != nil:
				resize(master)
			}
		}
	}()
	return nil
}

// resize gives the container's terminal the size of ours.
func resize(master *os.File) {
	if size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ); err == nil {
		unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, size) // EIO: it is closed
	}
}

// terminalSize is the size of the user's terminal; nil if there is none.
func terminalSize() *specs.Box {
	size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
	if err != nil || size.Row == 0 {
		return nil
	}
	return &specs.Box{Height: uint(size.Row), Width: uint(size.Col)}
}

// attachTerminal connects our terminal with the container's. It is made raw if
// what is typed is for the program; else ^C stays a signal to us, which is passed
// on. done waits for the rest of the output and makes ours what it was.
func (s *session) attachTerminal() (done func(), err error) {
	if s.master, _, err = sockets.Receive(s.socket); err != nil {
		return nil, err
	}
	restore := func() {}
	interactive := s.context.Bool("interactive") || !s.context.Bool("monitor")
	if ours, err := console.ConsoleFromFile(os.Stdin); err == nil {
		if interactive {
			err = ours.SetRaw()
		}
		// The container's terminal has made "\r\n" of its ends of line; once is enough.
		if err := errors.Join(err, console.ClearONLCR(os.Stdin.Fd())); err != nil {
			return nil, fmt.Errorf("terminal: %w", err)
		}
		restore = func() { ours.Reset() } // EIO: our terminal is gone
	}
	resize(s.master)
	if interactive {
		go func() {
			io.Copy(s.master, os.Stdin)
			s.master.Write([]byte{4}) // ^D: how a terminal says that nothing more comes
		}()
	}
	output := startCopying(s.master, os.Stdout) // until EIO: the last process closed the terminal
	return func() {
		output.finish()
		restore()
	}, nil
}
