// Package report is what minirun and minirunc do in the same way when they end:
// errors become one line and an exit code, and output that could not be written
// becomes an error.
package report

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/plan"
)

// An Exit is an error that only sets the exit code. The program in the container,
// or an earlier message, has said why.
type Exit int

func (e Exit) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// Exited turns the exit code of a program into an error; 0 is none.
func Exited(code int) error {
	if code == 0 {
		return nil
	}
	return Exit(code)
}

// A Failure is an error with an exit code of its own.
type Failure struct {
	Err  error
	Code int
}

func (f Failure) Error() string { return f.Err.Error() }
func (f Failure) Unwrap() error { return f.Err }

// Code is the exit code for an error: that of an [Exit] or a [Failure], else 1;
// for nil 0.
func Code(err error) int {
	var exit Exit
	var failure Failure
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return int(exit)
	case errors.As(err, &failure):
		return failure.Code
	}
	return 1
}

// Silent says whether there is nothing to print about an error.
func Silent(err error) bool {
	var exit Exit
	return err == nil || errors.As(err, &exit)
}

// OneLine is an error as it can be printed. An error repeats words of a
// configuration, an image or a command line, and those could contain codes that
// make a terminal or a log show something else.
func OneLine(err error) string {
	return plan.Printable(strings.ReplaceAll(err.Error(), "\n", "; "))
}

// An Output is standard output that remembers the first write that failed: most
// output is printed line by line, and a full disk is an error of the command.
type Output struct {
	To  io.Writer
	Err error
}

func (o *Output) Write(p []byte) (int, error) {
	if o.Err != nil {
		return 0, o.Err
	}
	n, err := o.To.Write(p)
	if err != nil {
		o.Err = fmt.Errorf("standard output: %w", err)
	}
	return n, o.Err
}

// FewestDescriptors is how many files must be allowed to be open before anything
// is begun: with fewer, Go's runtime cannot make its poller, and panics.
const FewestDescriptors = 16

// Descriptors is the error if fewer are allowed. [getrlimit(2)], RLIMIT_NOFILE.
//
// [getrlimit(2)]: https://man7.org/linux/man-pages/man2/getrlimit.2.html
func Descriptors() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil && limit.Cur < FewestDescriptors {
		return fmt.Errorf("limit of open files (RLIMIT_NOFILE, ulimit -n) is %d: want %d at least", limit.Cur, FewestDescriptors)
	}
	return nil
}
