// Package look lets one watch a plan while it is carried out: print each step
// with its time (--explain), stop before each (--step), and break one on purpose
// (--fault). It makes options for [plan.Plan.Start]; the plan itself is the same.
package look

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/plan"
	"minirun/plan/print"
)

// Options say how to look. The zero value does not look at all.
type Options struct {
	Explain bool   // print each step when it is done, and what is undone after a failure
	Step    bool   // print each step before it is done, and wait for an answer
	Fault   string // see [ParseFault]; "": none

	Out  io.Writer        // where steps are printed
	In   io.Reader        // where answers to Step come from
	Stop <-chan os.Signal // ends the run while it waits for an answer; nil: nothing does
}

// ErrStopped says that the user has ended the run.
var ErrStopped = errors.New("stopped by the user")

// New turns o into options for a plan. Explain needs Trace, which is called after each
// step; Step needs Before, for which every process waits before each call.
func New(o Options) (options plan.Options, err error) {
	w := &watcher{Options: o, pids: map[plan.Side]int64{}}
	if o.Explain || o.Step {
		options.Trace = w.done
	}
	if o.Step {
		options.Before = w.before
	}
	if o.Fault != "" {
		options.Fault, err = ParseFault(o.Fault)
	}
	return options, err
}

// A watcher prints steps and reads answers. Its functions are called one after the other, by
// the goroutine that runs the plan.
type watcher struct {
	Options
	cloned int64               // process id that the last clone3 returned
	pids   map[plan.Side]int64 // process ids by side, each from its first step on; none of the runtime
	toEnd  bool                // the user has said c: do not ask any more
	until  string              // do not ask before this call or heading; "": always ask
}

// done prints a step that was done or undone: when it began, since the start, and how long
// it took, in angle brackets as with strace -T. With Step the heading and the note are above
// the question already.
func (w *watcher) done(e plan.Event) {
	if e.Skipped {
		return
	}
	if e.Call == "clone3" {
		w.cloned = e.Returned
	}
	if !w.Step {
		w.above(e.Step)
	}
	text, result := print.Step(e.Step), " = "+strconv.FormatInt(e.Returned, 10)
	switch {
	case e.Undone:
		text, result = "undo: "+plan.Printable(e.Undoing), ""
		if e.Errno != 0 {
			result = ": " + unix.ErrnoName(e.Errno)
		}
	case e.Errno != 0:
		result = " = -1 " + unix.ErrnoName(e.Errno)
	case e.Returned == -1:
		result = "" // not one call
	}
	fmt.Fprintf(w.Out, "%3d %9.3f ms %-7s %s%s <%.6f>\n", e.Index, float64(e.Start.Microseconds())/1000, e.Side, text, result, e.Duration.Seconds())
}

// above prints the heading and the note of a step.
func (w *watcher) above(s *plan.Step) {
	if s.Heading != "" {
		fmt.Fprintf(w.Out, "== %s ==\n", plan.Printable(s.Heading))
	}
	if s.Note != "" {
		fmt.Fprintf(w.Out, "# %s\n", plan.Printable(s.Note))
	}
}

// before shows the step to come and waits until the user lets it happen. An error ends the
// plan, and everything is undone. The answer h, or one that it does not understand, prints
// the help and asks again.
func (w *watcher) before(s *plan.Step) error {
	if _, ok := w.pids[s.Side]; !ok && s.Side != plan.Runtime {
		w.pids[s.Side] = w.cloned
	}
	w.above(s)
	if w.toEnd || w.until != "" && !isAt(s, w.until) {
		return w.stopped()
	}
	w.until = ""
	who := s.Side.String()
	if pid := w.pids[s.Side]; pid > 0 {
		who += " " + strconv.FormatInt(pid, 10)
	}
	for {
		fmt.Fprintf(w.Out, "%3d %s: %s   [Enter, or q to stop, h for help] ", s.Index, who, print.Step(s))
		answer, err := w.read()
		if err != nil {
			return err
		}
		word, name, _ := strings.Cut(strings.TrimSpace(answer), " ")
		switch {
		case word == "" || word == "n":
			return nil
		case word == "c":
			w.toEnd = true
			return nil
		case word == "u" && name != "":
			w.until = strings.TrimSpace(name)
			return nil
		case word == "q":
			return ErrStopped
		}
		fmt.Fprint(w.Out, help)
	}
}

// stopped is [ErrStopped] if a signal has come.
func (w *watcher) stopped() error {
	select {
	case <-w.Stop:
		return ErrStopped
	default:
		return nil
	}
}

// isAt says that a step makes the call, or begins the section, of this name.
func isAt(s *plan.Step, name string) bool {
	return s.Call == name || s.Heading != "" && strings.Contains(strings.ToLower(s.Heading), strings.ToLower(name))
}

const help = `
Enter, n   make this call, and stop before the next
c          make this call and all others, to the end
u NAME     go on up to a call, such as pivot_root, or a heading, such as masks
q          stop: everything is undone
h, ?       this

Until the last call, which is execve, the child runs no program. Look at it from
another terminal: ls -l /proc/PID/ns, cat /proc/PID/mountinfo, ls /proc/PID/root.

`

// read reads a line, byte by byte, because what comes after it may be for the container's
// program. It reads in a goroutine, so that a signal can end the wait (Stop); the goroutine
// then stays in its read, which does no harm because minirunc ends soon.
func (w *watcher) read() (string, error) {
	type result struct {
		line string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		var line []byte
		for b := make([]byte, 1); ; {
			n, err := w.In.Read(b)
			switch {
			case n > 0 && b[0] == '\n':
				done <- result{string(line), nil}
				return
			case n > 0:
				line = append(line, b[0])
			case err != nil:
				done <- result{"", err}
				return
			}
		}
	}()
	select {
	case <-w.Stop:
		return "", ErrStopped
	case r := <-done:
		if r.err != nil {
			return "", fmt.Errorf("--step: no answer: %w", r.err)
		}
		return r.line, nil
	}
}

// ParseFault parses WHERE=WHAT. WHERE is a step, as its number or as the name of
// a call, of which the first is meant. WHAT is an errno that the call fails with,
// or KILL: then the process that was to make the call is killed.
//
//	42=ENOMEM
//	pivot_root=EPERM
//	execve=KILL
func ParseFault(s string) (f plan.Fault, err error) {
	where, what, ok := strings.Cut(s, "=")
	if n, notNumber := strconv.Atoi(where); notNumber == nil {
		f.Step = n
	} else {
		f.Call = where
	}
	if !ok || f.Step < 1 && !isName(f.Call) {
		return f, fmt.Errorf("fault %q: want N=ERRNO, N=KILL, or the name of a call for N", s)
	}
	if what == "KILL" {
		return f, nil
	}
	for e := unix.Errno(1); e < 134; e++ {
		if what != "" && unix.ErrnoName(e) == what {
			f.Errno = e
			return f, nil
		}
	}
	return f, fmt.Errorf("fault %q: %s is no errno", s, what)
}

// isName says that a word may be the name of a system call.
func isName(word string) bool {
	return word != "" && word[0] >= 'a' && word[0] <= 'z' && strings.Trim(word, "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}
