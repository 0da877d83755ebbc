// Package failure puts into words why a program did not start.
//
// Container engines look for some of these words, and tell by them whether the user
// has asked for a program that is not there.
package failure

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/plan"
)

// ErrProgram says that the program could not be executed. It is joined with the
// cause.
var ErrProgram = errors.New("cannot execute the program")

// Of says why a container's program did not start. The failure of execve, or of the
// question before it whether that can work, becomes an [ErrProgram].
func Of(err error, id string, args []string) error {
	if errors.Is(err, plan.ErrKilled) {
		return fmt.Errorf("container %s: %w", id, err)
	}
	var failed *plan.StepError
	if !errors.As(err, &failed) || failed.Step.Call != "execve" && failed.Step.Call != "faccessat" {
		return err
	}
	program := args[0] // a plan with an execve has one
	if errors.Is(err, unix.ENOENT) && !strings.Contains(program, "/") {
		return fmt.Errorf("exec: %q: executable file not found in $PATH: %w", program, &programError{failed})
	}
	return fmt.Errorf("exec: %q: %w", program, &programError{failed})
}

// A programError is an [ErrProgram] that prints only its cause.
type programError struct{ step *plan.StepError }

func (e *programError) Error() string {
	if e.step.Step.Call == "execve" && errors.Is(e.step, unix.EPERM) {
		return e.step.Err.Error() + " (linux.seccomp may deny execve)"
	}
	return e.step.Err.Error()
}
func (e *programError) Unwrap() []error { return []error{ErrProgram, e.step} }
