package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"

	"golang.org/x/sys/unix"

	"minirun/plan"
)

// lookFlags make a plan visible while it runs.
type lookFlags struct {
	explain, step *bool
	fault         *string
}

func (c *call) lookFlags() lookFlags {
	return lookFlags{
		explain: c.flags.yes("explain", "print each system call as it happens, with its time"),
		step:    c.flags.yes("step", "wait for Enter before each system call"),
		fault:   c.flags.text("fault", "break on purpose: let step `N=ERRNO` fail, or kill who makes it (N=KILL)"),
	}
}

// look turns the flags into the plan's options.
func (f lookFlags) look() (o plan.Options, err error) {
	if *f.explain || *f.step {
		o.Trace = explain(os.Stderr, !*f.step)               // with --step the notes are shown before
		signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE) // a reader that has seen enough, as head has, ends the explaining, not the run
	}
	if *f.step {
		tty, err := os.Open("/dev/tty")
		if err != nil {
			tty = os.Stdin
		}
		o.Before = prompt(tty, os.Stderr)
	}
	if *f.fault != "" {
		o.Fault, err = parseFault(*f.fault)
	}
	return o, err
}

// explain prints each step with the time since the start and its own.
func explain(w io.Writer, notes bool) func(plan.Event) {
	return func(e plan.Event) {
		if e.Skipped {
			return
		}
		if e.Note != "" && notes {
			fmt.Fprintf(w, "# %s\n", e.Note)
		}
		result := " = " + strconv.FormatInt(e.Returned, 10)
		if e.Errno != 0 {
			result = " = -1 " + unix.ErrnoName(e.Errno)
		} else if e.Returned == -1 {
			result = "" // not one call
		}
		fmt.Fprintf(w, "%3d %9.3f ms %-7s %s%s <%.6f>\n", e.Index, float64(e.Start.Microseconds())/1000, e.Side, e.Step, result, e.Duration.Seconds())
	}
}

// prompt shows the step to come and waits for Enter; q, or a signal that stops,
// ends the run.
func prompt(r io.Reader, w io.Writer) func(*plan.Step) error {
	key, read := make([]byte, 1), make(chan error, 1)
	stop := stopSignals()
	return func(s *plan.Step) error {
		if s.Note != "" {
			fmt.Fprintf(w, "# %s\n", s.Note)
		}
		fmt.Fprintf(w, "%3d %s: %s   [Enter, or q to stop] ", s.Index, s.Side, s)
		for quit := false; ; {
			go func() {
				n, err := r.Read(key)
				if n == 0 && err == nil {
					err = io.EOF
				}
				read <- err
			}()
			select {
			case <-stop:
				return errStopped
			case err := <-read:
				if err != nil {
					return fmt.Errorf("--step: no answer: %w", err)
				}
			}
			quit = quit || key[0] == 'q'
			if key[0] == '\n' && quit {
				return errStopped
			} else if key[0] == '\n' {
				return nil
			}
		}
	}
}

var errStopped = errors.New("stopped by the user")

// parseFault parses N=ERRNO or N=KILL.
func parseFault(s string) (plan.Fault, error) {
	var step int
	var name string
	if n, _ := fmt.Sscanf(s, "%d=%s", &step, &name); n != 2 || step < 1 {
		return plan.Fault{}, fmt.Errorf("fault %q: want N=ERRNO or N=KILL", s)
	}
	if name == "KILL" {
		return plan.Fault{Step: step}, nil
	}
	for e := unix.Errno(1); e < 134; e++ {
		if unix.ErrnoName(e) == name {
			return plan.Fault{Step: step, Errno: e}, nil
		}
	}
	return plan.Fault{}, fmt.Errorf("fault %q: %s is no errno", s, name)
}
