package main

import (
	"fmt"
	"os"

	"minirun/plan"
	"minirun/plan/print"
)

// A bundle that is written must not be left behind if run ends before there is a
// container. While minirun writes it, minirun catches the signals that end programs. But
// then it becomes minirunc, and for a millisecond, until that listens (signals.go there), a
// signal ends the process: Go's runtime unblocks it as it boots. And nobody can catch SIGKILL.
//
// So another process waits for the end of run, and then removes the bundle. It holds the
// reading end of a pipe, run the writing end, also when it has become minirunc:
//
//	run writes a byte      the program runs, or minirunc has removed all: the guard ends
//	end of file            run has ended without one: the guard becomes minirun rm --force
//
// The guard is a plan, as a monitor is: a copy of minirun that never returns to Go. An
// intermediate process clones it and ends, so that it is no child of run's: minirunc would
// have to wait for it, or it would stay as a zombie.

// guard starts the process that executes words if this one, or what it becomes, ends
// without a byte to the descriptor that guard returns. Its number lies behind those of the
// sockets that are meant for the program.
func guard(words ...string) (fd int, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return -1, fmt.Errorf("guard: %w", err)
	}
	defer r.Close()
	defer w.Close()
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return -1, err
	}
	defer null.Close()
	o := plan.Options{Notation: print.Step, Inherited: map[plan.Inherited]int{"pipe": int(r.Fd()), "null": int(null.Fd())}}
	if _, err := guardPlan(words).Start(o); err != nil {
		return -1, fmt.Errorf("guard: %w", err)
	}
	return behindSockets(int(w.Fd()))
}

// guardPlan is what the guard does. read(2) returns 0 at end of file; any byte fails the step,
// and so ends the guard.
func guardPlan(words []string) *plan.Plan {
	p := &plan.Plan{}
	p.On(plan.Runtime)
	p.Clone3(plan.Clone{})
	p.On(plan.Intermediate)
	p.Clone3(plan.Clone{}).Reported()
	p.ExitGroup(0)
	p.On(plan.Child)
	p.Setsid()
	p.Dup3(plan.Inherited("pipe"), 0, 0)
	p.Dup3(plan.Inherited("null"), 1, 0)
	p.Dup3(plan.Inherited("null"), 2, 0)
	p.Ready()
	p.CloseRange(plan.Num(3), 0, nil)
	p.Read(plan.Num(0), 1).MustReturn(0)
	p.RtSigprocmask()
	p.Execve(words[0], words, os.Environ())
	return p
}
