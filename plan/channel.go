package plan

import (
	"errors"
	"fmt"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// This file is the runtime's half of the protocol in doc.go: what it is told by
// the processes that it has cloned, and what it answers. Nothing that it is told
// is trusted: a container can take the other end of a channel from the process
// that joins it (pidfd_getfd(2)).

// A channel is the runtime's end of a socketpair to the process of one side. Why
// SOCK_SEQPACKET? It keeps messages apart as datagrams do, and reports end of file when the
// last copy of the other end is closed, as streams do (unix(7)).
type channel struct {
	fd   int
	side Side
}

// connect makes a socketpair to every process of the plan, and adds its ends to fds. theirs
// are the descriptors that the runtime must close after clone3. SO_PASSCRED makes the kernel
// add the sender's process id to each message.
func (r *Process) connect(fds map[Inherited]int) (theirs []int, err error) {
	if r.alone {
		return nil, nil
	}
	list := []Side{Child}
	if second := r.plan.second(); second != Child {
		list = append(list, second)
	}
	for _, side := range list {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return theirs, fmt.Errorf("socketpair to the %s: %w", side, err)
		}
		r.channels = append(r.channels, channel{pair[1], side})
		theirs = append(theirs, pair[0])
		if err := unix.SetsockoptInt(pair[1], unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
			return theirs, fmt.Errorf("setsockopt of the channel: %w", err)
		}
		fds[channelOf(side)], fds[runtimeEnd(side)] = pair[0], pair[1]
	}
	return r.order(fds, theirs)
}

// order moves the descriptors that the child needs, but its program must not
// have, above those of the program: the channel, the fifo, the listener, with a
// gap before each. The child closes what lies between them with close_range(2). The gap is
// there because close_range fails (EINVAL) if its first number is above its last.
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

// disconnect closes the runtime's ends.
func (r *Process) disconnect() {
	for _, c := range r.channels {
		unix.Close(c.fd) // EIO cannot be for a socket
	}
	r.channels = nil
}

// pollInterval is how often Options.Stopped is called while nothing happens.
const pollInterval = 100 * time.Millisecond

// serve waits for one message and answers it. It also waits for the end of the process that
// the child joins, because a child that was frozen together with that process says nothing.
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
		limit = int(pollInterval.Milliseconds())
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
			return r.receive(i) // before Joined: the child's own reason says more
		}
	}
	return ErrJoinedEnded
}

// receive reads one message and answers it. End of file says that the process has executed
// its program or has ended; Start tells the two apart by r.ready.
func (r *Process) receive(i int) error {
	c := r.channels[i]
	m, n, sender, err := c.read(0)
	switch {
	case err == unix.EINTR, err == unix.ECONNRESET: // it ended without reading our last answer; what it said before that is still to be read
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
	if err := r.identifyChild(c.side); err != nil {
		return err
	}
	if err := r.authenticate(c, &m, n, sender); err != nil {
		return err
	}
	return r.answer(c, &m, r.plan.Steps[m.step])
}

// read reads one message, and returns its size and the process that sent it,
// which the kernel tells (SO_PASSCRED, unix(7)). There is no room for
// descriptors, so none can be sent to us.
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

// identifyChild waits until the runtime knows which process the child is: if a
// monitor or an intermediate process clones it, that one says so. Until then no
// message in the child's channel can be authenticated.
func (r *Process) identifyChild(side Side) error {
	for side == Child && r.Pid == 0 {
		i := slices.IndexFunc(r.channels, func(c channel) bool { return c.side != Child })
		if i < 0 {
			return ErrKilled // the process that was to say so has ended
		} else if err := r.receive(i); err != nil {
			return err
		}
	}
	return nil
}

// authenticate refuses a message that does not come from the process that we
// have cloned, or that speaks of a step that is not its own, or says what it was
// not asked. Without this a process of the container could pass gates for the child, or name
// a process of its choice as the child, which the runtime would then set limits for or kill.
func (r *Process) authenticate(c channel, m *message, n, sender int) error {
	ours := r.Pid
	if c.side != Child {
		ours = r.cloned
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

// errForged says that somebody else than the child writes into its channel.
var errForged = errors.New("a message in the channel is not to be believed")

// ended traces the last step of the child, execve, or the call at which it was killed. The
// child cannot report that step. It is the one after the last that it reported.
func (r *Process) ended() {
	if i := r.child; r.ready && len(r.channels) == 0 && i < len(r.plan.Steps) && r.plan.Steps[i].Side == Child {
		r.trace(Event{Step: r.plan.Steps[i], Start: r.last, Duration: realtime() - r.last})
	}
}

// answer does what one message asks for. Only kindBefore and kindGate want an answer.
func (r *Process) answer(c channel, m *message, s *Step) error {
	switch m.kind {
	case kindFailed:
		return r.failed(s, unix.Errno(m.value))
	case kindTrace:
		e := Event{Step: s, Start: time.Duration(m.start), Duration: time.Duration(m.end - m.start), Returned: int64(m.value)}
		if e.Skipped = m.errno == uint64(skipped); !e.Skipped {
			e.Errno = unix.Errno(m.errno)
		}
		r.trace(e)
	case kindResult:
		r.Pid = int(m.value)
		if c.side == Monitor {
			r.hold()
		}
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

// gate does the runtime's steps at a gate and lets the child go on. After the gate [Created]
// nobody is to serve the child any more: the runtime leaves, and the child waits for start.
func (r *Process) gate(c channel, s *Step) error {
	if s.gate == readyGate {
		r.ready = true
		return nil
	}
	r.next = s.Index
	if err := r.steps(); err != nil {
		return r.reason(err)
	}
	r.waiting = s.gate == Created
	r.ready = r.ready || r.waiting
	return proceed(c.fd)
}

// reason is why a step of ours at a gate went wrong. The child, or its monitor, may have
// been killed or failed meanwhile, so that our step did not find the child (ESRCH, ENOENT):
// then what that process said is the better reason. It reads without waiting, because a
// process that is well says nothing while the child waits.
func (r *Process) reason(ours error) error {
	for _, c := range r.channels {
		if err := r.lastWords(c); err != nil {
			return err
		}
	}
	return ours
}

// lastWords is the failure that the process of a channel has reported, or nil.
func (r *Process) lastWords(c channel) error {
	for {
		m, n, sender, err := c.read(unix.MSG_DONTWAIT)
		switch {
		case err == unix.EINTR, err == unix.ECONNRESET: // as in receive
		case err != nil || n == 0 || r.authenticate(c, &m, n, sender) != nil:
			return nil
		case m.kind == kindFailed:
			return r.failed(r.plan.Steps[m.step], unix.Errno(m.value))
		}
	}
}

// proceed lets the other side go on. If it has ended (EPIPE, ECONNRESET), the end
// of the channel will say so. After any other error it would wait for ever, and
// so would we: that is returned.
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

// Failure waits until no process holds the writing end of fifo any more, and
// returns what the child wrote into its [Copy] as it failed: a [*StepError], of
// which it knows the step's number and call, or nil if it went on to execve. What the
// fifo then holds:
//
//	nothing      the child has read the byte, and execve has closed its copy
//	a message    the child has read the byte, and failed after that
//	one byte     the child was killed before it read it
func Failure(fifo int) error {
	fds := []unix.PollFd{{Fd: int32(fifo)}} // no event but POLLHUP: what start wrote is not for us
	for {
		if _, err := unix.Poll(fds, -1); err != unix.EINTR {
			break
		}
	}
	var m message
	n, err := unix.Read(fifo, unsafe.Slice((*byte)(unsafe.Pointer(&m)), messageSize))
	switch {
	case n == messageSize && m.kind == kindFailed:
		s := &Step{Index: int(m.step) + 1, Side: Child, Call: fmt.Sprint("system call ", m.start)}
		if m.start == unix.SYS_EXECVE {
			s.Call = "execve"
		}
		return &StepError{Step: s, Err: unix.Errno(m.value)}
	case n == 1:
		return ErrKilled // nobody took the byte
	}
	return err
}
