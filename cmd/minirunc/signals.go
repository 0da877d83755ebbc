package main

import (
	"os"
	"os/signal"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"minirun/cmd/early"
	"minirun/cmd/report"
)

// What SIGTERM, SIGINT and SIGHUP to minirunc do:
//
//	                            run        run -d   exec       create
//	until the child is cloned   cancels    cancels  ends       cancels
//	until the program runs      cancels    cancels  cancels    cancels; it has to wait for start
//	while the program runs      passed on  -        passed on  -
//
//	cancels    what was made is removed again; the exit code is 128 and the signal's number
//	ends       minirunc dies at once, as every program does. It has made nothing
//	passed on  the program ends if it wants to (forward.go). When it has ended, minirunc
//	           ends with its exit code
//	-          minirunc has ended by then
//
// In the first millisecond of run and create, before minirunc listens (package early), a signal ends it.
// By then it has made nothing. A bundle that minirun has made is removed by minirun's
// guard (guard.go there), as after SIGKILL.
//
// Other signals of the list below are passed on, too. From the clone until the program
// runs they are lost; before, Go's runtime does with them what it does in every program.
// A signal that the caller ignores, as nohup(1) does with SIGHUP, stays ignored. Go says so
// of SIGHUP and SIGINT only.

// forwarded are the signals that somebody may mean for the program. Signals by
// which the kernel tells a process about itself are not among them.
var forwarded = []os.Signal{
	unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGCONT, unix.SIGWINCH,
}

// catch catches those signals of a list that the caller does not ignore.
func catch(c chan os.Signal, list []os.Signal) {
	for _, s := range list {
		if !signal.Ignored(s) {
			signal.Notify(c, s)
		}
	}
}

// stopped is a [report.Exit] if a signal has come that cancels a run, else nil.
func stopped() error {
	if s := early.Signal(); s != 0 {
		return report.Exit(128 + int(s))
	}
	return nil
}

// A catcher catches signals for a program.
type catcher struct {
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
		catch(c.signals, forwarded)
		early.End()
	})
	if err := stopped(); err != nil {
		return err
	}
	for {
		select {
		case s := <-c.signals:
			if slices.Contains(early.Stopping, s) {
				return report.Exit(128 + int(s.(unix.Signal)))
			}
		default:
			return nil
		}
	}
}
