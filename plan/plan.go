package plan

import (
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"
)

// This file is what a plan is: the list, its steps, and the marks that a step can have
// (Tolerate, Undo, MustReturn, …). The methods that record system calls are in calls.go.

// A Side says which process carries out a step. doc.go shows how the four belong together.
type Side uint8

const (
	Runtime      Side = iota // this program, with all its privileges
	Monitor                  // the process that waits for a detached container
	Intermediate             // a process that joins namespaces, clones the child and exits
	Child                    // the process that becomes the container

	sides = int(Child) + 1
)

// String is the word that stands for the side in printed plans and errors.
func (s Side) String() string {
	return [...]string{"runtime", "monitor", "intermediate", "child"}[s]
}

// A Plan is a list of steps in the order in which they happen. Record them by
// calling its methods, which are named after system calls. The zero value is
// an empty plan whose steps are the runtime's.
type Plan struct {
	Steps []*Step

	// Sources lets each step remember who recorded it ([Step].Callers), which
	// takes time. Set it before the first step is recorded.
	Sources bool

	left  bool   // the gate Created was recorded: the runtime is not asked about later steps
	side  Side   // who does the steps recorded from here on
	fresh bool   // the last clone3 was the runtime's, and its process has no steps yet
	note  string // for the next step that is recorded; then ""
	head  string // the heading above that step; then ""
	err   error  // the first argument that no system call can take
}

// Side is the one whose steps are being recorded: see [Plan.On].
func (p *Plan) Side() Side { return p.side }

// On says which process does the steps recorded from here on. When the step is the first
// of a newly cloned process, On first records closing the runtime's ends of the
// channels, which the process inherited. If it kept them it would never see
// end-of-file after the runtime is killed, and would wait at a gate for ever.
// [Options].Before is not called before those steps, because the process could
// not yet notice that the runtime has died.
func (p *Plan) On(s Side) {
	if other := p.second(); s != Runtime && s != Child && other != Child && other != s {
		p.err = errors.Join(p.err, errors.New("a plan has a monitor or an intermediate process, not both"))
	}
	p.side = s
	if s == Runtime || !p.fresh {
		return
	}
	p.fresh = false
	note := p.note
	p.Note("close the inherited copy of the runtime's socket, so that this process notices if the runtime dies")
	p.Close(runtimeEnd(Child)).quiet = true
	if s != Child {
		p.Close(runtimeEnd(s)).quiet = true
	}
	p.note = note
}

// second is the side of the process that the runtime's own clone3 makes: a
// monitor or an intermediate process, if the plan has one, which then clones the
// child; or the child itself. A plan has at most one of the two: if there is a monitor,
// it joins the namespaces itself before it clones the child.
func (p *Plan) second() Side {
	for _, s := range p.Steps {
		if s.Side == Monitor || s.Side == Intermediate {
			return s.Side
		}
	}
	return Child
}

// born is the side of the process that a clone3 of this side makes.
func (p *Plan) born(s Side) Side {
	if s == Runtime {
		return p.second()
	}
	return Child
}

// Channel is the child's end of the socketpair between it and the runtime. It is
// close-on-exec. A plan that closes descriptors must leave it open until execve, since
// otherwise the runtime takes the child for killed.
const Channel Inherited = "channel"

// channelOf is the descriptor that the process of a side talks to the runtime through.
func channelOf(s Side) Inherited {
	if s == Child {
		return Channel
	}
	return Inherited(s.String() + " channel")
}

// runtimeEnd is the other end of that channel, which only the runtime may hold.
func runtimeEnd(s Side) Inherited {
	if s == Child {
		return "runtime's end"
	}
	return Inherited("runtime's end to the " + s.String())
}

// Note explains the next step to whoever reads the printed plan: why it is
// there, why in this place, and what breaks without it. A second Note before the
// step replaces the first.
func (p *Plan) Note(why string) { p.note = why }

// Heading begins a section of the printed plan with the next step, such as
// "root and mounts". A section without steps is not printed.
func (p *Plan) Heading(title string) { p.head = title }

// Err returns the first recording error: a string with a NUL byte, which no
// system call can take whole. [Plan.Start] returns it too.
func (p *Plan) Err() error { return p.err }

// A Step is one system call as data (or, for the runtime only, one function).
// A step that returns a descriptor, a process id or a count is used as an
// argument of later steps by passing the step itself.
type Step struct {
	Index int    // place in the plan, from 1
	Side  Side   // who does it
	Call  string // name of the system call, as in its man page; of a function, what it does
	Args  []Arg  // in the order of the man page

	Function  bool         // not one system call, but what [Plan.Do] was given
	Tolerated []unix.Errno // errnos after which the plan goes on
	If        *Step        // the step is skipped unless this one succeeded; nil: never
	Else      *Step        // the next alternative; nil if there is none
	Verified  []Comparison // what the kernel must have written into memory; otherwise the step fails with ENODEV

	Heading string    // of the section that begins here; "" inside a section
	Note    string    // why; "" where the call speaks for itself
	Result  string    // what the result is called where it is used; "" if unused
	Undoing string    // what undoing the step does; "" if there is nothing to undo
	Callers []uintptr // with Plan.Sources: who recorded it, for runtime.CallersFrames

	number      uintptr                     // of the system call, as in unix.SYS_…
	exact       bool                        // any result but want is a failure
	want        uintptr                     // the result that exact asks for
	wrongResult error                       // returned when the result is not want; nil means that the peer closed the channel (EPIPE)
	explained   map[unix.Errno]string       // see Explain
	report      bool                        // the result is sent to the runtime: see Reported
	program     bool                        // clone3: the new process goes on with the steps of the next side
	opens       bool                        // the result is a new descriptor
	quiet       bool                        // Options.Before is not called: see On and Created
	gate        string                      // name of the gate whose request this is
	do          func(*Process) error        // what Do was given
	open        func(*Process) (int, error) // what Open was given
	undo        func() error                // what Undo was given
}

// A Comparison checks 8 bytes of the memory that a step's last argument points
// to, such as a struct that the kernel fills: after the call, the bits that are set in
// Mask must be as in Want. So a plan can make sure of something without any code of its
// own in the child.
type Comparison struct {
	Offset     int // a multiple of 8
	Mask, Want uint64
}

// String is the call, and the descriptors and strings among its arguments:
// enough to tell what an error is about. Package print writes all of a step.
func (s *Step) String() string {
	text := Printable(s.Call)
	for _, a := range s.Args {
		switch a := a.(type) {
		case String:
			if a != "" {
				text += fmt.Sprintf(" %q", string(a))
			}
		case Inherited:
			text += " <" + string(a) + ">"
		case *Step:
			text += " <" + a.Result + ">"
		}
	}
	return text
}

// Printable is text with every control character written as Go would quote it (\n, \x1b).
// Names in a configuration can hold such characters: a newline could forge another line of
// a printed plan, and an escape sequence is a command to the terminal.
func Printable(text string) string {
	if !strings.ContainsFunc(text, unicode.IsControl) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if unicode.IsControl(r) {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// Tolerate makes these errnos no failure: the plan goes on, and steps that use
// this one's result are skipped. An instruction has room for 4.
func (s *Step) Tolerate(errnos ...unix.Errno) *Step {
	s.Tolerated = append(s.Tolerated, errnos...)
	return s
}

// As names the result for the printed plan, which then shows <name> where a step uses it.
func (s *Step) As(name string) *Step { s.Result = Printable(name); return s }

// Needs skips the step unless other succeeded. It is for steps that do not use the result
// of other; those that do are skipped without it.
func (s *Step) Needs(other *Step) *Step { s.If = other; return s }

// Undo takes the step back when a later step fails: text for the printed plan
// and a function. The last step is undone first. The child is gone by then;
// descriptors that the runtime's steps have opened are still open. Only the runtime's
// steps need it: what the child did in its own namespaces goes away with them.
func (s *Step) Undo(text string, undo func() error) *Step {
	s.Undoing, s.undo = text, undo
	return s
}

// Reported sends the step's result to the runtime: a process id, which becomes
// [Process].Pid. It is for the clone3 of a monitor or an intermediate process, because the
// runtime does not see what that returns.
func (s *Step) Reported() *Step { s.report = true; return s }

// Opens says that the result is a new descriptor: if it is the runtime's, it is
// closed when the plan has been carried out. It is for [Plan.Call]; the methods
// that open something say so already.
func (s *Step) Opens() *Step { s.opens = true; return s }

// MustReturn makes any result but n a failure: for reads and writes that must be whole. The
// kernel may transfer less without an error (write(2)); the child then fails with EPIPE.
func (s *Step) MustReturn(n int) *Step { s.exact, s.want = true, uintptr(n); return s }

// Expect makes any result but n the given failure. It is for the runtime's steps,
// because a child can report no more than an errno.
func (s *Step) Expect(n int, otherwise error) *Step {
	s.wrongResult = otherwise
	return s.MustReturn(n)
}

// Explain adds words to the error if the step fails with errno: what the kernel
// lacks, where the errno alone does not tell.
func (s *Step) Explain(errno unix.Errno, words string) *Step {
	if s.explained == nil {
		s.explained = map[unix.Errno]string{}
	}
	s.explained[errno] = words
	return s
}

// Alternatives records steps of which the first to succeed counts; the others
// after it are skipped. Each but the last goes on to the next after one of the
// errnos. If all fail, the step fails with the errno that says most: any but
// ENOENT before ENOENT (a shell searching PATH does the same).
//
// So a plan can try what a newer kernel has before what every kernel has, or one directory
// of PATH after the other, without a condition that the child would have to compute.
func (p *Plan) Alternatives(errnos []unix.Errno, record func()) {
	first := len(p.Steps)
	record()
	group := p.Steps[first:]
	for i, s := range group[:max(len(group)-1, 0)] {
		s.Else = group[i+1]
		s.Tolerated = append(s.Tolerated, errnos...)
	}
}

// Created is the gate after which [Plan.Start] returns while the child goes on
// to wait for something else: the start command. [Options].Before is not called for the
// steps after it, because nobody would answer.
const Created = "created"

// readyGate is the message without an answer that [Plan.Ready] records.
const readyGate = "ready"

// Gate lets the child stop and ask the runtime to do the steps that atGate
// records, and go on when they are done. If the runtime is gone, the child
// ends, because its read returns 0. atGate may be nil: then the child only waits until
// the runtime has noticed.
//
// It is for what only the runtime can do, but not before the child exists: write its id
// maps, move a network device into its namespace, run hooks.
func (p *Plan) Gate(name string, atGate func()) {
	side := p.side
	p.tell(name)
	p.side = Runtime
	if atGate != nil {
		atGate()
	}
	p.side = side
	p.left = name == Created
	p.call("read", unix.SYS_READ, Channel, &Memory{Bytes: make([]byte, 8), Show: as("[go]")}, Num(1)).MustReturn(1)
}

// Ready lets the child tell the runtime that it has reached its last steps: if
// the channel closes without a failure after this, then because of execve. Without
// it, a child that was killed would look the same as one that runs the program.
func (p *Plan) Ready() { p.tell(readyGate) }

// tell records a message with a gate's name. The name is only for the printed plan: what
// is sent is a message (child.go), whose step says which gate it is.
func (p *Plan) tell(gate string) {
	s := p.call("sendto", unix.SYS_SENDTO, Channel, String(gate), Num(messageSize), Num(unix.MSG_NOSIGNAL), Null, Num(0))
	s.gate = gate
}

// Do records a step of the runtime that is more than one system call. The text
// is what the printed plan shows; do is given the cloned process, which has no
// Pid before clone3.
func (p *Plan) Do(text string, do func(*Process) error) *Step {
	s := p.call(text, 0)
	s.Function, s.do = true, do
	return s
}

// Open is Do for a step whose result is a new descriptor, close-on-exec. Start closes it
// when the plan is done, as it does for all that the runtime's steps open.
func (p *Plan) Open(text string, open func(*Process) (int, error)) *Step {
	s := p.call(text, 0).Opens()
	s.Function, s.open = true, open
	return s
}

// Call records a system call that has no method of its own: for one that only
// one room needs. Its arguments are in the order of the man page.
func (p *Plan) Call(name string, number uintptr, args ...Arg) *Step {
	return p.call(name, number, args...)
}

// call records one system call.
func (p *Plan) call(name string, number uintptr, args ...Arg) *Step {
	s := &Step{Index: len(p.Steps) + 1, Side: p.side, Call: name, Args: args, Heading: p.head, Note: p.note, number: number, quiet: p.left}
	p.note, p.head = "", ""
	for _, a := range args {
		if text, ok := a.(String); ok && strings.IndexByte(string(text), 0) >= 0 {
			p.err = errors.Join(p.err, fmt.Errorf("%s %q: contains a NUL byte", name, string(text)))
		}
	}
	if p.Sources {
		s.Callers = make([]uintptr, 16)
		s.Callers = s.Callers[:runtime.Callers(2, s.Callers)]
	}
	p.Steps = append(p.Steps, s)
	return s
}
