package main

import (
	"fmt"
	"os"
	"os/signal"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"minirun/cmd/report"
	"minirun/plan"
)

// What SIGTERM, SIGINT and SIGHUP to minirunc do:
//
//	                            minirun run       minirunc run
//	                            (run --monitor)   run           run -d   exec     create
//	until the child is cloned   cancels           ends          ends     ends     ends
//	until the program runs      cancels           cancels       ends     cancels  ends
//	while the program runs      passed on (no -d) passed on     -        passed on  -
//
//	cancels    what was made is removed again; the exit code is 128 and the signal's number
//	ends       minirunc dies at once, as every program does. What it had made stays, as
//	           after SIGKILL, until somebody calls delete, as engines do
//	passed on  the program ends if it wants to: it is process 1 of its pid namespace, and
//	           the kernel gives that no signal for which it has no handler
//	           (pid_namespaces(7)). When it has ended, minirunc ends with its exit code
//	-          minirunc has ended by then
//
// Why does only --monitor, which minirun gives, listen from the start? To catch a
// signal, Go starts a thread. Beside the child's steps this costs nothing; before them
// it costs a twentieth of a container's start. And for minirun a signal must not leave
// a bundle behind.
//
// Other signals of the list below are passed on, too. From the clone until the program
// runs they are lost; before, Go's runtime does with them what it does in every program. minirun ignores the three while it becomes minirunc, because Go's
// runtime is not there to take them: one that comes in these milliseconds is lost.

// forwarded are the signals that somebody may mean for the program. Signals by
// which the kernel tells a process about itself are not among them.
var forwarded = []os.Signal{
	unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGCONT, unix.SIGWINCH,
}

// stopping are the signals that cancel a start.
var stopping = []os.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGTERM}

func stopSignals() chan os.Signal {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, stopping...)
	return stop
}

// stopped is an [report.Exit] if a signal has come, else nil. A nil channel has
// none.
func stopped(stop chan os.Signal) error {
	select {
	case s := <-stop:
		return report.Exit(128 + int(s.(unix.Signal)))
	default:
		return nil
	}
}

// A catcher catches signals for a program.
type catcher struct {
	early   chan os.Signal // those of stopping, caught from the start on; nil without --monitor
	signals chan os.Signal
	catch   sync.Once
}

// interrupted is called now and then while there is no program yet. It returns an
// error if a signal has come that cancels the start. The first call, made when the
// child has been cloned, begins to catch the signals for the program: this takes Go
// about as long as the child takes for its steps, so the two go on side by side.
func (c *catcher) interrupted() error {
	c.catch.Do(func() {
		c.signals = make(chan os.Signal, 64)
		signal.Notify(c.signals, forwarded...)
	})
	if err := stopped(c.early); err != nil {
		return err
	}
	for {
		select {
		case s := <-c.signals:
			if slices.Contains(stopping, s) {
				return report.Exit(128 + int(s.(unix.Signal)))
			}
		default:
			return nil
		}
	}
}

// forward passes signals on to the program, by a pidfd: when the program has
// ended, its number may be another process's. Changes of the window's size go to
// the program's terminal. A program without one does not hear of them, since our
// window is not its window, and httpd would take SIGWINCH for a call to stop.
func (c *catcher) forward(p *plan.Process, master *os.File) error {
	pidfd, err := unix.PidfdOpen(p.Pid, 0) // it is not reaped yet, so the number is certainly its own
	if err != nil {
		return fmt.Errorf("pidfd_open %d: %w", p.Pid, err)
	}
	if master != nil {
		resize(master) // the window may have changed before we caught signals
	}
	go func() {
		for s := range c.signals {
			switch {
			case s != unix.SIGWINCH:
				unix.PidfdSendSignal(pidfd, s.(unix.Signal), nil, 0) // ESRCH: it has ended
			case master != nil:
				resize(master)
			}
		}
	}()
	return nil
}
