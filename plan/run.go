package plan

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// This file starts a plan, and takes it back if it fails. The way of a run:
//
//	connect     a socketpair to each process that the plan clones (channel.go)
//	compile     steps become instructions, in memory that the child can use (compile.go)
//	steps       the runtime does its steps; the last of them is clone3 (steps.go)
//	serve       it answers messages, and does the steps at gates, until all channels are closed
//	undo        only after a failure

// Copy is the descriptor that the child writes its failure to, besides the
// channel: the fifo on which another command waits for the start.
const Copy Inherited = "fifo"

// Listener is the Unix socket over which the child passes on the descriptor
// that answers for a seccomp filter.
const Listener Inherited = "seccomp listener"

// Options say how a plan runs. The zero value runs it without looking.
type Options struct {
	// Inherited are the numbers of the descriptors that steps refer to by name.
	// Start adds the channel.
	Inherited map[Inherited]int

	// Notation, if not nil, writes a failed step in the text of its error, as
	// package print does. Without it the text is [Step.String].
	Notation func(*Step) string

	// FirstFD is the lowest descriptor number that the child does not keep for
	// its program: 3, or more with descriptors to pass on. 0 means 3.
	FirstFD int

	// Joined is a pidfd of a process whose namespaces the child joins. If that
	// process ends while the plan is carried out, Start fails with
	// [ErrJoinedEnded], even if the child can say nothing because it is frozen.
	// 0 means none.
	Joined int

	// Trace, if not nil, is called after each step, and after each that is undone.
	Trace func(Event)

	// Stopped, if not nil, is called once the child runs, and then every 100 ms
	// while no process has anything to say. An error ends the run: a process of
	// the container may have stopped the child.
	Stopped func() error

	// Before, if not nil, is called before each step, which waits for it. An
	// error ends the run as if the step had failed with it. It is not called
	// before the steps with which a new process closes the runtime's descriptors
	// (see [Plan.On]).
	Before func(*Step) error

	// Fault makes one step fail on purpose. The zero value makes none fail.
	Fault Fault
}

// An Event is a step that was done, was skipped, or was undone: what Options.Trace gets.
type Event struct {
	*Step
	Start, Duration time.Duration // since the plan was started; of the step
	Returned        int64         // -1: the step was not one system call, or failed
	Errno           unix.Errno    // a tolerated one; 0 after success
	Skipped         bool          // the step was left out
	Undone          bool          // a step of the runtime was taken back, because a later one failed
}

// A Fault is a failure on purpose: at one step the call is not made but fails
// with Errno, or, if that is 0, the process that was about to make the call is
// killed.
type Fault struct {
	Step  int    // from 1; 0: none
	Call  string // instead of Step: the first step that makes this system call
	Errno unix.Errno
}

// A Process is what a plan started. While the plan runs, functions of [Plan.Do] get it, too:
// then Pid is 0 until clone3.
type Process struct {
	Pid   int // of the child; 0 before there is one
	PidFD int // refers to the child if the runtime's clone3 or the monitor's made it, else -1

	plan     *Plan
	code     *compiled
	options  Options
	channels []channel     // the runtime's ends: to the child and, if there is one, to the monitor or the intermediate process
	started  time.Duration // by CLOCK_REALTIME
	last     time.Duration // when the last traced step ended
	child    int           // the last traced step of the child, from 1; 0: none yet
	cloned   int           // the process that the runtime's clone3 made; 0 before it
	next     int           // the runtime's next step, from 0
	alone    bool          // no step clones: there is no child to talk to
	ready    bool          // the child said that only execve is left
	waiting  bool          // the child waits for another command to start it
	done     []*Step       // the runtime's steps that can be undone
	open     []int         // descriptors that the runtime's steps opened and did not close
}

// A StepError is a step that failed: which, and why. errors.Is finds the errno in it, such as
// unix.EPERM, also if the step was the child's: the errno comes over the channel.
type StepError struct {
	Step *Step
	Err  error // usually a unix.Errno

	notation func(*Step) string
}

// Error is the place of the step, the call, and the errno last, as the kernel's word for it:
//
//	step 226 (child): pivot_root(".", "."): operation not permitted
func (e *StepError) Error() string {
	step := e.Step.String()
	if e.notation != nil {
		step = e.notation(e.Step)
	}
	text := fmt.Sprintf("step %d (%s): %s: %v", e.Step.Index, e.Step.Side, step, e.Err)
	if errno, ok := e.Err.(unix.Errno); ok && e.Step.explained[errno] != "" {
		text += " (" + e.Step.explained[errno] + ")"
	}
	return text
}

func (e *StepError) Unwrap() error { return e.Err }

// failed wraps what a step failed with.
func (r *Process) failed(s *Step, err error) error { return &StepError{s, err, r.options.Notation} }

// ErrKilled says that the child ended before execve without a message. A signal has killed
// it: the kernel's OOM killer, if memory.max is too low even for the start, or a user.
var ErrKilled = errors.New("the child was killed before it could run the program")

// ErrJoinedEnded says that the process whose namespaces the child joins ([Options].Joined)
// has ended. If it was the first of a pid namespace, the kernel kills the child with it.
var ErrJoinedEnded = errors.New("the process to join has ended")

// Start carries out the plan up to the child's execve, or up to the gate
// [Created]. If any step fails, what the child did is gone with the child, what
// the runtime did is undone in reverse order, and the error is a [*StepError]
// joined with those of the undoing. What the runtime's steps opened is closed
// in either case, but for PidFD: the child has its own copies.
//
// A plan without clone3 starts no child: Start does the runtime's steps and
// returns. Such a plan changes something that exists, as update does.
//
// If steps of the runtime change its thread (setns, unshare), the calling
// goroutine must have locked its thread and end without unlocking it: Go then ends the
// thread, and no other goroutine ever runs in those namespaces.
//
// The order at the end matters. The channels are closed before the undoing, so that a child
// that waits at a gate ends. What the steps opened is closed after it, since such a
// descriptor may be all that keeps a namespace.
func (p *Plan) Start(o Options) (*Process, error) {
	if p.err != nil {
		return nil, p.err
	}
	if err := o.Fault.find(p); err != nil {
		return nil, err
	}
	r := &Process{PidFD: -1, plan: p, options: o, started: realtime()}
	r.alone = !slices.ContainsFunc(p.Steps, func(s *Step) bool { return s.program })
	theirs, err := r.prepare()
	if err != nil {
		closeAll(theirs)
		r.disconnect()
		return nil, err
	}
	defer r.code.release()
	err = r.carryOut(theirs)
	r.disconnect()
	if err != nil {
		err = errors.Join(err, r.undo())
	}
	closeAll(r.open)
	if err != nil {
		return nil, err
	}
	if p.second() == Intermediate {
		waitFor(r.cloned) // it has ended, or its next step is exit_group. ECHILD: somebody else reaps our children
	}
	return r, nil
}

// prepare connects the processes, and compiles the plan with its options. theirs
// are descriptors to close once the processes have been cloned. A fault that kills the
// child needs the question before each step (kindBefore): only so does the runtime know
// when the child is about to make the call.
func (r *Process) prepare() (theirs []int, err error) {
	fds := maps.Clone(r.options.Inherited)
	if fds == nil {
		fds = map[Inherited]int{}
	}
	if theirs, err = r.connect(fds); err != nil {
		return theirs, err
	}
	if r.code, err = r.plan.compile(fds); err != nil {
		return theirs, err
	}
	f := r.options.Fault
	killed := f.Errno == 0 && f.Step > 0 && r.plan.Steps[f.Step-1].Side != Runtime
	for i := range r.code.programs {
		r.code.programs[i].trace = r.options.Trace != nil
		r.code.programs[i].before = r.options.Before != nil || killed
	}
	if f.Step > 0 {
		r.code.code[f.Step-1].fault = uintptr(f.Errno)
	}
	return theirs, nil
}

// carryOut does the runtime's first steps, and then answers the processes that
// they cloned until all channels are closed, or the child waits for the start.
func (r *Process) carryOut(theirs []int) error {
	err := r.steps()
	closeAll(theirs) // otherwise the runtime would hold both ends, and never see end of file
	if err == nil && r.options.Stopped != nil {
		err = r.options.Stopped()
	}
	for err == nil && len(r.channels) > 0 && !r.waiting {
		err = r.serve()
	}
	if err == nil && !r.ready && !r.alone {
		err = ErrKilled
	}
	return err
}

// find looks up the step, and refuses a fault that could not happen.
func (f *Fault) find(p *Plan) error {
	if f.Call != "" {
		i := slices.IndexFunc(p.Steps, func(s *Step) bool { return s.Call == f.Call && !s.Function })
		if i < 0 {
			return fmt.Errorf("fault at %s: the plan has no such call", f.Call)
		}
		f.Step = p.Steps[i].Index
	}
	if f.Step > len(p.Steps) {
		return fmt.Errorf("fault at step %d: the plan has %d", f.Step, len(p.Steps))
	}
	return nil
}

// undo ends the cloned processes and takes the runtime's steps back, last first. The processes
// go first, because a cgroup with a process in it cannot be removed, and because a child
// that still runs could go on with its steps meanwhile. A failure does not stop the undoing:
// as much as possible goes away, and all errors are returned.
func (r *Process) undo() error {
	ours := []int{r.cloned, r.Pid} // not waited for yet, so their numbers are still their own
	if r.plan.second() == Monitor {
		ours = ours[:1]
		unix.PidfdSendSignal(r.PidFD, unix.SIGKILL, nil, 0) // ESRCH: it has ended; EBADF: it had before
	}
	for _, pid := range ours {
		kill(pid)
	}
	for _, pid := range ours {
		if pid > 0 {
			waitFor(pid) // ECHILD: somebody else reaps our children
		}
	}
	r.Close()
	var errs []error
	for _, s := range slices.Backward(r.done) {
		start := realtime()
		err := s.undo()
		if err != nil {
			errs = append(errs, fmt.Errorf("undo step %d: %s: %w", s.Index, s.Undoing, err))
		}
		var errno unix.Errno
		errors.As(err, &errno)
		r.trace(Event{Step: s, Start: start, Duration: realtime() - start, Returned: -1, Errno: errno, Undone: true})
	}
	return errors.Join(errs...)
}

// hold opens a pidfd of the monitor's child, by which the runtime can kill it, and tell an
// engine which process it is, without hitting another one. Its number is free as soon as the monitor
// has waited for it. So hold looks, after it has the descriptor, whether the process
// with that number is a child of the monitor, which has no other.
func (r *Process) hold() {
	fd, err := unix.PidfdOpen(r.Pid, 0)
	if err != nil {
		return // ESRCH: it has ended
	}
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", r.Pid)) // proc_pid_stat(5): pid (name) state parent
	var state, parent string
	fmt.Sscan(string(text[1+bytes.LastIndexByte(text, ')'):]), &state, &parent)
	if parent != fmt.Sprint(r.cloned) {
		unix.Close(fd) // EIO cannot be for a pidfd
		return
	}
	r.PidFD = fd
}

// kill kills one process. Numbers below 1 are refused because kill(2) takes 0
// for the caller's process group, and -1 for every process.
func kill(pid int) {
	if pid > 0 {
		unix.Kill(pid, unix.SIGKILL) // ESRCH: it has ended
	}
}

// trace reports a step, and remembers the last one of the child, for [Process.ended].
func (r *Process) trace(e Event) {
	r.last = e.Start + e.Duration
	if e.Side == Child {
		r.child = e.Index
	}
	e.Start -= r.started
	if r.options.Trace != nil {
		r.options.Trace(e)
	}
}

// realtime is CLOCK_REALTIME, the clock that the child reads too. CLOCK_MONOTONIC would not
// do: once the child is in another time namespace, that clock has an offset there.
func realtime() time.Duration {
	var t unix.Timespec
	unix.ClockGettime(unix.CLOCK_REALTIME, &t) // EFAULT and EINVAL cannot be
	return time.Duration(t.Nano())
}

// Result is what an earlier step of the runtime returned, such as a descriptor,
// for a function of [Plan.Do]; -1 if the step failed.
func (r *Process) Result(s *Step) int { return int(r.code.results[s.Index-1]) }

// Wait waits for the end of the child, which must be a child of this process.
func (r *Process) Wait() (unix.WaitStatus, error) {
	status, err := waitFor(r.Pid)
	r.Close()
	return status, err
}

// Close closes PidFD. A caller of Wait need not call it.
func (r *Process) Close() {
	if r.PidFD >= 0 {
		unix.Close(r.PidFD) // EIO cannot be for a pidfd
		r.PidFD = -1
	}
}

// waitFor is wait4(2) for one process, made again when a signal interrupts it.
func waitFor(pid int) (status unix.WaitStatus, err error) {
	for {
		_, err = unix.Wait4(pid, &status, 0, nil)
		if err != unix.EINTR {
			return status, err
		}
	}
}

// closeAll closes descriptors of the runtime.
func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd) // EIO cannot be for what plans open
	}
}
