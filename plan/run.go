package plan

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// This file is the runtime's half of the protocol in doc.go.

// Copy is the descriptor that the child writes its failure to besides the
// channel: the fifo on which another command waits for the start.
const Copy Inherited = "fifo"

// Listener is the Unix socket over which the child passes on the descriptor
// that answers for a seccomp filter.
const Listener Inherited = "seccomp listener"

// Options say how a plan runs. The zero value runs it without looking.
type Options struct {
	// Inherited are the numbers of the descriptors that steps refer to by name.
	// The channel is added by Start.
	Inherited map[Inherited]int

	// Notation, if not nil, writes a failed step in the text of its error, as
	// package print does. Without it the text is [Step.String].
	Notation func(*Step) string

	// FirstFD is the lowest descriptor number that the child does not keep for
	// its program: 3, or more with descriptors to pass on. 0 means 3.
	FirstFD int

	// Joined is a pidfd of a process whose namespaces the child joins: if that
	// ends while the plan is carried out, Start fails with [ErrJoinedEnded], even
	// if the child can say nothing because it is frozen. 0 means none.
	Joined int

	// Trace, if not nil, is called after each step, and after each that is undone.
	Trace func(Event)

	// Stopped, if not nil, is asked as soon as the child is on its way, and then
	// now and then while that has nothing to say. An error ends the run: who is
	// waited for may have been stopped, by somebody who is in the container already.
	Stopped func() error

	// Before, if not nil, is called before each step, which waits for it. An
	// error ends the run as if the step had failed with it. Not asked are the
	// steps with which another process lets go of the runtime (see Plan.On).
	Before func(*Step) error

	// Fault makes one step fail on purpose. The zero value makes none fail.
	Fault Fault
}

// An Event is a step that was done.
type Event struct {
	*Step
	Start, Duration time.Duration // since the plan was started; of the step
	Returned        int64
	Errno           unix.Errno // a tolerated one; 0 after success
	Skipped         bool
	Undone          bool // a step of the runtime's was taken back, after a later one has failed
}

// A Fault is a failure on purpose: at one step the call is not made but fails
// with Errno, or, if that is 0, the process that was about to make the call is
// killed.
type Fault struct {
	Step  int    // from 1; 0: none
	Call  string // instead of Step: the first step that makes this system call
	Errno unix.Errno
}

// A Process is what a plan started.
type Process struct {
	Pid   int // of the child; 0 before there is one
	PidFD int // refers to the child if our own clone3 made it, else -1

	plan     *Plan
	code     *compiled
	options  Options
	channels []channel     // our ends: to the child and, if there is one, to the monitor or the intermediate process
	started  time.Duration // by CLOCK_MONOTONIC
	last     time.Duration // when the last traced step ended
	child    int           // the last traced step of the child's, from 1; 0: none yet
	parent   int           // the process that our own clone3 made; 0 before it
	next     int           // the runtime's next step, from 0
	alone    bool          // no step clones: there is no child to talk to
	ready    bool          // the child said that only execve is left
	left     bool          // the child waits for another command to start it
	done     []*Step       // the runtime's steps that can be undone
	open     []int         // descriptors that the runtime's steps opened and did not close
}

// A channel is our end of a socketpair to the process of one side.
type channel struct {
	fd   int
	side Side
}

// A StepError is a step that failed: which, and why.
type StepError struct {
	Step *Step
	Err  error // usually a unix.Errno

	notation func(*Step) string
}

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

// failed is a step that failed.
func (r *Process) failed(s *Step, err error) error { return &StepError{s, err, r.options.Notation} }

func (e *StepError) Unwrap() error { return e.Err }

// ErrKilled says that the child ended before execve without a reason of its own.
var ErrKilled = errors.New("the child was killed before it could run the program")

// ErrJoinedEnded says that the process is gone which the child was to join.
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
// If steps of the runtime's change its thread (setns, unshare), the calling
// goroutine must have locked its thread and end without unlocking it.
func (p *Plan) Start(o Options) (*Process, error) {
	if p.err != nil {
		return nil, p.err
	}
	if err := o.Fault.find(p); err != nil {
		return nil, err
	}
	r := &Process{PidFD: -1, plan: p, options: o, started: monotonic()}
	r.alone = !slices.ContainsFunc(p.Steps, func(s *Step) bool { return s.program })
	fds := maps.Clone(o.Inherited)
	theirs, err := r.connect(&fds)
	defer func() { closeAll(theirs) }()
	if err == nil {
		r.code, err = p.compile(fds)
	}
	if err != nil {
		r.disconnect()
		return nil, err
	}
	defer r.code.release()
	r.prepare()
	err = r.steps()
	closeAll(theirs) // else the child's end would not be the end of the channel
	theirs = nil
	if err == nil && o.Stopped != nil {
		err = o.Stopped()
	}
	for err == nil && len(r.channels) > 0 && !r.left {
		err = r.serve()
	}
	if err == nil && !r.ready && !r.alone {
		err = ErrKilled
	}
	r.disconnect()
	if err != nil {
		err = errors.Join(err, r.undo()) // before the closing: what is open may be all that keeps a namespace
	}
	closeAll(r.open)
	if err != nil {
		return nil, err
	}
	r.reapIntermediate()
	return r, nil
}

// reapIntermediate reaps the intermediate process, if there was one: it has
// ended, or its next step is exit_group.
func (r *Process) reapIntermediate() {
	if r.plan.second() == Intermediate {
		waitFor(r.parent) // ECHILD: somebody else reaps our children
	}
}

// connect makes a socketpair to every process of the plan.
func (r *Process) connect(fds *map[Inherited]int) (theirs []int, err error) {
	if r.alone {
		return nil, nil
	}
	if *fds == nil {
		*fds = map[Inherited]int{}
	}
	sides := []Side{Child}
	if second := r.plan.second(); second != Child {
		sides = append(sides, second)
	}
	for _, side := range sides {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return theirs, fmt.Errorf("socketpair to the child: %w", err)
		}
		r.channels = append(r.channels, channel{pair[1], side})
		theirs = append(theirs, pair[0])
		if err := unix.SetsockoptInt(pair[1], unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
			return theirs, fmt.Errorf("setsockopt of the channel: %w", err)
		}
		(*fds)[channelOf(side)], (*fds)[runtimeEnd(side)] = pair[0], pair[1]
	}
	return r.order(*fds, theirs)
}

// order gives the child's descriptors that are not its program's numbers above
// those, in this order and with a gap before each: the child closes what lies
// between them with close_range(2), which wants something there.
func (r *Process) order(fds map[Inherited]int, theirs []int) ([]int, error) {
	highest := max(r.options.FirstFD, 3) - 1
	for _, name := range []Inherited{Channel, Copy, Listener} {
		fd, ok := fds[name]
		if !ok {
			continue
		}
		if fd < highest+2 {
			var err error
			if fd, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, highest+2); err != nil {
				return theirs, fmt.Errorf("descriptor above %d for the child: %w", highest, err)
			}
			theirs = append(theirs, fd)
			fds[name] = fd
		}
		highest = fd
	}
	return theirs, nil
}

func (r *Process) disconnect() {
	for _, c := range r.channels {
		unix.Close(c.fd) // EIO cannot be for a socket
	}
	r.channels = nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd) // EIO cannot be for a socket
	}
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

// prepare puts the options into the compiled plan.
func (r *Process) prepare() {
	f := r.options.Fault
	killed := f.Errno == 0 && f.Step > 0 && f.Step <= len(r.plan.Steps) && r.plan.Steps[f.Step-1].Side != Runtime
	for i := range r.code.programs {
		r.code.programs[i].trace = r.options.Trace != nil
		r.code.programs[i].before = r.options.Before != nil || killed
	}
	if f.Step > 0 && f.Step <= len(r.code.code) {
		r.code.code[f.Step-1].fault = uintptr(f.Errno)
	}
}

// steps does the runtime's steps from where it stopped to the next step of
// another side.
func (r *Process) steps() error {
	for ; r.next < len(r.plan.Steps) && r.plan.Steps[r.next].Side == Runtime; r.next++ {
		s := r.plan.Steps[r.next]
		if err := r.before(s); err != nil {
			return r.failed(s, err)
		}
		start := monotonic()
		err := r.do(s)
		if err == errSkipped {
			r.trace(Event{Step: s, Start: start, Skipped: true})
			continue
		}
		var errno unix.Errno
		if errors.As(err, &errno) && slices.Contains(s.Tolerated, errno) {
			err = nil
		}
		if err != nil {
			return r.failed(s, err)
		}
		if s.undo != nil && errno == 0 {
			r.done = append(r.done, s)
		}
		r.trace(Event{Step: s, Start: start, Duration: monotonic() - start, Returned: int64(r.code.results[s.Index-1]), Errno: errno})
		for ; errno == 0 && s.Else != nil; s = s.Else {
			r.next++ // the alternatives of a step that succeeded
		}
	}
	return nil
}

// errSkipped says that a step was left out, because it uses the result of a step
// that was left out or failed with a tolerated errno.
var errSkipped = errors.New("skipped")

// before pauses, or carries out a fault that is a kill.
func (r *Process) before(s *Step) error {
	if f := r.options.Fault; f.Step == s.Index && f.Errno == 0 {
		r.kill(s.Side)
	}
	if r.options.Before != nil {
		return r.options.Before(s)
	}
	return nil
}

// kill ends the process of one side. It returns only if that is not our own.
func (r *Process) kill(side Side) {
	pid := r.parent
	switch {
	case side == Runtime:
		pid = unix.Getpid()
	case side == Child:
		pid = r.Pid
	}
	end(pid)
}

// end kills one process. Why look at the number, when nobody is known by 0 or
// less? kill(2) takes them for our own process group, or for everybody.
func end(pid int) {
	if pid > 0 {
		unix.Kill(pid, unix.SIGKILL) // ESRCH: it ended by itself
	}
}

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

// monotonic is CLOCK_MONOTONIC, the clock that the child reads too.
func monotonic() time.Duration {
	var t unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // EFAULT and EINVAL cannot be
	return time.Duration(t.Nano())
}

// do makes one step of the runtime's.
func (r *Process) do(s *Step) error {
	in := r.code.code[s.Index-1]
	args := in.args
	for i, from := range in.from {
		if from == noStep {
			continue
		}
		if r.code.results[from] == noResult {
			return errSkipped
		}
		args[i] += r.code.results[from]
	}
	if in.fault != 0 {
		return unix.Errno(in.fault)
	}
	if s.do != nil {
		return s.do(r)
	}
	if s.open != nil {
		fd, err := s.open(r)
		if err == nil {
			r.keep(s, uintptr(fd))
			r.open = append(r.open, fd)
		}
		return err
	}
	if s.program {
		return r.clone(s, args)
	}
	var n uintptr
	var errno unix.Errno
	if in.number == unix.SYS_BPF {
		n, errno = undisturbed(in.number, args)
	} else {
		n, _, errno = unix.Syscall6(in.number, args[0], args[1], args[2], args[3], args[4], args[5])
	}
	if errno != 0 {
		return errno
	}
	if in.exact && n != in.want && s.wrongResult != nil {
		return s.wrongResult
	}
	if in.exact && n != in.want {
		return fmt.Errorf("%d of %d bytes: %w", n, in.want, unix.EIO)
	}
	r.keep(s, n)
	if s.opens {
		r.open = append(r.open, int(n))
	} else if s.Call == "close" {
		r.open = slices.DeleteFunc(r.open, func(fd int) bool { return fd == int(args[0]) })
	}
	return nil
}

// undisturbed makes a system call of which no signal is to be heard: the verifier
// of BPF programs gives up (EAGAIN) when any comes, such as those with which Go's
// scheduler interrupts a thread. Meanwhile other threads get them.
//
//go:nosplit
func undisturbed(number uintptr, args [6]uintptr) (n uintptr, errno unix.Errno) {
	all, old := ^uint64(0), uint64(0)
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&old)), 8, 0, 0)
	n, _, errno = unix.RawSyscall6(number, args[0], args[1], args[2], args[3], args[4], args[5])
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&old)), 0, 8, 0, 0)
	return n, errno
}

// Result is what an earlier step of the runtime's returned, such as a descriptor,
// for a function of [Plan.Do]'s; -1 if it failed.
func (r *Process) Result(s *Step) int { return int(r.code.results[s.Index-1]) }

// keep remembers a result for later steps.
func (r *Process) keep(s *Step, n uintptr) {
	r.code.results[s.Index-1] = n
	for _, place := range r.code.patches[s] {
		put(place, n)
	}
}

// cloning: what a clone decides that a child inherits holds for all threads, and
// the mappings that it finds must not go meanwhile.
var cloning sync.Mutex

// clone makes the monitor, or the child.
func (r *Process) clone(s *Step, args [6]uintptr) error {
	cloning.Lock()
	defer cloning.Unlock()
	if err := r.code.hide(); err != nil {
		return err
	}
	pid, errno := clone(args[0], args[1], r.code.code[s.Index-1].program, uintptr(os.Getpagesize()))
	if errno != 0 {
		return errno
	}
	r.parent = int(pid)
	if r.plan.second() == Child {
		r.Pid = int(pid)
	}
	if pidfd := s.Args[0].(*Memory).Points[clonePidFD]; pidfd != nil {
		r.PidFD = int(*(*int32)(r.code.pointer(pidfd)))
	}
	r.keep(s, pid)
	return nil
}

// patience is how often the other side is waited for in vain before Stopped is asked.
const patience = 100 * time.Millisecond

// serve waits for one message and answers it.
func (r *Process) serve() error {
	var fds []unix.PollFd
	for _, c := range r.channels {
		fds = append(fds, unix.PollFd{Fd: int32(c.fd), Events: unix.POLLIN})
	}
	if r.options.Joined > 0 && !r.ready {
		fds = append(fds, unix.PollFd{Fd: int32(r.options.Joined), Events: unix.POLLIN})
	}
	limit := -1
	if r.options.Stopped != nil {
		limit = int(patience.Milliseconds())
	}
	n, err := unix.Poll(fds, limit)
	switch {
	case err == unix.EINTR:
		return nil
	case err != nil:
		return fmt.Errorf("poll the channel: %w", err)
	case n == 0:
		return r.options.Stopped()
	}
	for i := range r.channels {
		if fds[i].Revents != 0 {
			return r.receive(i) // first, for its reason is the better one
		}
	}
	return ErrJoinedEnded
}

// receive reads one message, of a process that may no longer be under our
// control: a container can get hold of the child that joins it.
func (r *Process) receive(i int) error {
	c := r.channels[i]
	m, n, sender, err := c.read(0)
	switch {
	case err == unix.EINTR, err == unix.ECONNRESET: // it ended without reading our last answer: what it said before is still to be read
		return nil
	case err != nil:
		return fmt.Errorf("read the channel: %w", err)
	}
	if n == 0 {
		r.channels = slices.Delete(r.channels, i, i+1)
		unix.Close(c.fd) // EIO cannot be for a socket
		r.ended()
		return nil
	}
	if err := r.know(c.side); err != nil {
		return err // of whom we do not know, we can believe nothing
	}
	if err := r.believe(c, &m, n, sender); err != nil {
		return err
	}
	return r.answer(c, &m, r.plan.Steps[m.step])
}

// read reads one message, its size, and who has sent it: of that the kernel
// tells the truth (SO_PASSCRED, unix(7)). There is no room for descriptors.
func (c channel) read(flags int) (m message, n, sender int, err error) {
	control := make([]byte, unix.CmsgSpace(unix.SizeofUcred))
	n, size, _, _, err := unix.Recvmsg(c.fd, unsafe.Slice((*byte)(unsafe.Pointer(&m)), messageSize), control, flags)
	if err != nil || n == 0 {
		return m, 0, 0, err
	}
	list, err := unix.ParseSocketControlMessage(control[:size])
	if err != nil || len(list) != 1 {
		return m, n, 0, err
	}
	credentials, err := unix.ParseUnixCredentials(&list[0])
	if err != nil {
		return m, n, 0, err
	}
	return m, n, int(credentials.Pid), nil
}

// believe says what is wrong with a message: whoever has got hold of the other
// end, with pidfd_getfd(2) for one, is not whom we have cloned; and who is, can
// only speak of steps of its own.
func (r *Process) believe(c channel, m *message, n, sender int) error {
	ours := r.Pid
	if c.side != Child {
		ours = r.parent
	}
	if sender != ours {
		return fmt.Errorf("%w: it comes from process %d, not from the %s", errForged, sender, c.side)
	}
	if n != messageSize || int64(m.step) >= int64(len(r.plan.Steps)) {
		return fmt.Errorf("%w: of no step", errForged)
	}
	s := r.plan.Steps[m.step]
	unasked := m.kind == kindResult && (!s.report || r.Pid != 0) || m.kind == kindGate && (s.gate == "" || m.step < uint32(r.next))
	if s.Side != c.side || unasked {
		return fmt.Errorf("%w: the %s has no such thing to say of step %d", errForged, c.side, s.Index)
	}
	return nil
}

var errForged = errors.New("a message in the channel is not to be believed")

// ended reports the last step, of which the child can say nothing any more: the
// one after those of which it has told.
func (r *Process) ended() {
	if i := r.child; r.ready && len(r.channels) == 0 && i < len(r.plan.Steps) && r.plan.Steps[i].Side == Child {
		r.trace(Event{Step: r.plan.Steps[i], Start: r.last, Duration: monotonic() - r.last})
	}
}

// answer does what one message asks for.
func (r *Process) answer(c channel, m *message, s *Step) error {
	switch m.kind {
	case kindFailed:
		return r.failed(s, unix.Errno(m.value))
	case kindTrace:
		r.trace(Event{Step: s, Start: time.Duration(m.start), Duration: time.Duration(m.end - m.start),
			Returned: int64(m.value), Errno: unix.Errno(m.errno), Skipped: m.errno == uint64(skipped)})
	case kindResult:
		r.Pid = int(m.value)
	case kindBefore:
		if err := r.before(s); err != nil {
			return r.failed(s, err)
		}
		return proceed(c.fd)
	case kindGate:
		return r.gate(c, s)
	}
	return nil
}

// gate does the runtime's steps at a gate and lets the child go on.
func (r *Process) gate(c channel, s *Step) error {
	if s.gate == readyGate {
		r.ready = true
		return nil
	}
	r.next = s.Index
	if err := r.steps(); err != nil {
		return r.reason(c, err)
	}
	r.left = s.gate == Created
	r.ready = r.ready || r.left
	return proceed(c.fd)
}

// reason is why a step of ours at a gate went wrong. A child that did not wait
// there may have failed meanwhile, and be gone when we look for it: then what it
// has said is the better reason.
func (r *Process) reason(c channel, ours error) error {
	for {
		m, n, sender, err := c.read(unix.MSG_DONTWAIT)
		switch {
		case err == unix.EINTR, err == unix.ECONNRESET: // as in receive
		case err != nil || n == 0 || r.believe(c, &m, n, sender) != nil:
			return ours
		case m.kind == kindFailed:
			return r.failed(r.plan.Steps[m.step], unix.Errno(m.value))
		}
	}
}

// know waits until the process that clones the child, if that is not the
// runtime, has said which process the child is.
func (r *Process) know(side Side) error {
	for side == Child && r.Pid == 0 {
		i := slices.IndexFunc(r.channels, func(c channel) bool { return c.side != Child })
		if i < 0 {
			return ErrKilled // it ended
		} else if err := r.receive(i); err != nil {
			return err
		}
	}
	return nil
}

// proceed lets the other side go on. That it is gone the end of the channel will
// tell; after any other error it would wait for ever, and so would we.
func proceed(fd int) error {
	for {
		switch _, err := unix.Write(fd, []byte{1}); err {
		case unix.EINTR:
		case nil, unix.EPIPE, unix.ECONNRESET:
			return nil
		default:
			return fmt.Errorf("write to the channel: %w", err)
		}
	}
}

// undo ends what was cloned and takes the runtime's steps back, last first.
func (r *Process) undo() error {
	end(r.parent)
	end(r.Pid)
	for _, pid := range []int{r.parent, r.Pid} {
		if pid > 0 {
			waitFor(pid) // ECHILD: the monitor's child; or somebody else reaps ours
		}
	}
	r.Close()
	var errs []error
	for _, s := range slices.Backward(r.done) {
		start := monotonic()
		err := s.undo()
		if err != nil {
			errs = append(errs, fmt.Errorf("undo step %d: %s: %w", s.Index, s.Undoing, err))
		}
		var errno unix.Errno
		errors.As(err, &errno)
		r.trace(Event{Step: s, Start: start, Duration: monotonic() - start, Returned: -1, Errno: errno, Undone: true})
	}
	return errors.Join(errs...)
}

// Wait waits for the end of the child, which must be a child of this process.
func (r *Process) Wait() (unix.WaitStatus, error) {
	status, err := waitFor(r.Pid)
	r.Close()
	return status, err
}

// Close lets go of PidFD. Who calls Wait need not call it.
func (r *Process) Close() {
	if r.PidFD >= 0 {
		unix.Close(r.PidFD) // EIO cannot be for a pidfd
		r.PidFD = -1
	}
}

func waitFor(pid int) (status unix.WaitStatus, err error) {
	for {
		_, err = unix.Wait4(pid, &status, 0, nil)
		if err != unix.EINTR {
			return status, err
		}
	}
}

// Failure waits until no process holds the writing end of fifo any more, and
// returns what the child wrote into its [Copy] as it failed: a [*StepError], of
// which it knows the step's number and call, or nil if it went on to execve.
func Failure(fifo int) error {
	fds := []unix.PollFd{{Fd: int32(fifo)}} // no event but POLLHUP: what start wrote is not for us
	for {
		if _, err := unix.Poll(fds, -1); err != unix.EINTR {
			break
		}
	}
	var m message
	n, err := unix.Read(fifo, unsafe.Slice((*byte)(unsafe.Pointer(&m)), messageSize))
	if n == messageSize && m.kind == kindFailed {
		s := &Step{Index: int(m.step) + 1, Side: Child, Call: fmt.Sprint("system call ", m.start)}
		if m.start == unix.SYS_EXECVE {
			s.Call = "execve"
		}
		return &StepError{Step: s, Err: unix.Errno(m.value)}
	}
	if n == 1 {
		return ErrKilled // nobody took the byte
	}
	return err
}
