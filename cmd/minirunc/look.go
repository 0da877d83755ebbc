package main

import (
	"os"
	"os/signal"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/cmd/early"
	"minirun/cmd/report"
	"minirun/plan"
	"minirun/plan/look"
)

// lookFlags make a plan visible while it runs.
type lookFlags struct {
	explain, step *bool
	fault         *string
}

func (c *call) lookFlags() lookFlags {
	return lookFlags{
		explain: c.flags.yes("explain", "print each system call as it happens, with its time"),
		step:    c.flags.yes("step", "wait for Enter before each system call; h helps"),
		fault:   c.flags.text("fault", "break on purpose: let step `N=ERRNO` fail, or kill who makes it (N=KILL); N may be the name of a call"),
	}
}

// look turns the flags into the plan's options. --debug explains, too, into the log if
// there is one.
func (f lookFlags) look(log log) (plan.Options, error) {
	o := look.Options{Explain: *f.explain, Step: *f.step, Fault: *f.fault, Out: &report.Output{To: os.Stderr}, In: os.Stdin}
	if log.most == debug && !o.Explain && !o.Step {
		o.Explain = true
		if log.path != "" {
			o.Out = &report.Output{To: logWriter{log}}
		}
	}
	if o.Explain || o.Step {
		signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE) // a reader that has seen enough, as head has, ends the explaining, not the run
	}
	if o.Step {
		stop := make(chan os.Signal, 1)
		catch(stop, early.Stopping)
		early.End()
		o.Stop = stop
		if tty, err := os.Open("/dev/tty"); err == nil {
			o.In = tty
		}
	}
	return look.New(o)
}

// A logWriter writes lines to the log: each Write is of whole lines, as package look prints.
type logWriter struct{ log }

func (w logWriter) Write(lines []byte) (int, error) {
	for line := range strings.Lines(string(lines)) {
		if err := w.add(debug, strings.TrimSpace(line)); err != nil {
			return 0, err
		}
	}
	return len(lines), nil
}
