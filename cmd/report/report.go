// Package report is what minirun and minirunc do in the same way when they print and
// when they end: names and paths become printable, errors become one line and an exit
// code, and output that could not be written becomes an error.
//
// Names, paths and command lines come from images, bundles, containers and the
// command line. A terminal obeys some characters: with them a name could hide a
// container, or type a command. So everything that is printed, except what a
// container's own program prints, goes through an [Output], which escapes all but
// printable characters, line feeds and tabs; and what is printed on a line or in a
// column goes through [Printf], which escapes those two as well.
package report

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

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
	return Printable(plan.Printable(strings.ReplaceAll(err.Error(), "\n", "; ")))
}

// Printable is text on one line and without what a terminal would obey: all but
// printable characters are escaped, as JSON does. Bytes that are not UTF-8 are lost.
func Printable(text string) string { return escape(text, "") }

// escape replaces what is not printable, except the characters of keep. The escapes
// are JSON's, so JSON means the same after it.
func escape(text, keep string) string {
	harmless := func(r rune) bool { return unicode.IsPrint(r) && r != utf8.RuneError || strings.ContainsRune(keep, r) }
	if !strings.ContainsFunc(text, func(r rune) bool { return !harmless(r) }) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if harmless(r) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.String()
}

// Printf is [fmt.Fprintf] with printable strings: no argument can begin another
// line or column.
func Printf(w io.Writer, format string, args ...any) {
	for i, a := range args {
		if v := reflect.ValueOf(a); v.Kind() == reflect.String {
			args[i] = Printable(v.String())
		}
	}
	fmt.Fprintf(w, format, args...) // w is an Output, which remembers an error
}

// An Output is standard output without what a terminal would obey. It remembers the
// first write that failed: most output is printed line by line, and a full disk is an
// error of the command.
type Output struct {
	To  io.Writer
	Err error
}

// Write takes whole characters: one that two writes share is lost.
func (o *Output) Write(p []byte) (int, error) {
	if _, err := o.write(escape(string(p), "\n\t")); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (o *Output) write(text string) (int, error) {
	if o.Err != nil {
		return 0, o.Err
	}
	n, err := io.WriteString(o.To, text)
	if err != nil {
		o.Err = fmt.Errorf("standard output: %w", err)
	}
	return n, o.Err
}

// Coloured is the writer for text with colours of our own. What it is given must
// have been made printable.
func Coloured(w io.Writer) io.Writer {
	if o, ok := w.(*Output); ok {
		return coloured{o}
	}
	return w
}

type coloured struct{ *Output }

func (c coloured) Write(p []byte) (int, error) { return c.write(string(p)) }

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
