package plan

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// This file carries out the runtime's own steps, and clones. The runtime is an ordinary Go
// program, so nothing here has the rules of child.go; only clone, which is in that file,
// does.

// steps does the runtime's steps, from where it stopped to the next step of
// another side. It is called once at the start, and again at each gate: there r.next
// is the step after the child's message.
func (r *Process) steps() error {
	for ; r.next < len(r.plan.Steps) && r.plan.Steps[r.next].Side == Runtime; r.next++ {
		s := r.plan.Steps[r.next]
		if err := r.before(s); err != nil {
			return r.failed(s, err)
		}
		start := realtime()
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
		r.trace(Event{Step: s, Start: start, Duration: realtime() - start, Returned: int64(r.code.results[s.Index-1]), Errno: errno})
		for ; errno == 0 && s.Else != nil; s = s.Else {
			r.next++ // one alternative has succeeded: skip the others
		}
	}
	return nil
}

// errSkipped says that a step was left out, because it uses the result of a step
// that was left out or failed with a tolerated errno.
var errSkipped = errors.New("skipped")

// before calls Options.Before, or carries out a fault that is a kill. It runs in the
// runtime for the steps of all sides: a child that asks (kindBefore) waits meanwhile, so
// it is killed exactly before the step.
func (r *Process) before(s *Step) error {
	if f := r.options.Fault; f.Step == s.Index && f.Errno == 0 {
		switch s.Side {
		case Runtime:
			kill(unix.Getpid())
		case Child:
			kill(r.Pid)
		default:
			kill(r.cloned)
		}
	}
	if r.options.Before != nil {
		return r.options.Before(s)
	}
	return nil
}

// do makes one step. The error is a unix.Errno if the kernel refused it, and errSkipped if
// an earlier step has left no result for it.
func (r *Process) do(s *Step) error {
	in := r.code.code[s.Index-1]
	args, err := r.arguments(in)
	switch {
	case err != nil:
		return err
	case in.fault != 0:
		return unix.Errno(in.fault)
	case s.do != nil:
		return s.do(r)
	case s.open != nil:
		return r.openWith(s)
	case s.program:
		return r.clone(s, args)
	}
	return r.call(s, in, args)
}

// arguments fills in the results of earlier steps, and the child's process id.
func (r *Process) arguments(in *instruction) ([6]uintptr, error) {
	args := in.args
	for i, from := range in.from {
		if from == noStep {
			continue
		}
		if from == childPID {
			args[i] = uintptr(r.Pid)
			continue
		}
		if r.code.results[from] == noResult {
			return args, errSkipped
		}
		args[i] += r.code.results[from]
	}
	return args, nil
}

// openWith lets a function of [Plan.Open] open a descriptor.
func (r *Process) openWith(s *Step) error {
	fd, err := s.open(r)
	if err == nil {
		r.keep(s, uintptr(fd))
		r.open = append(r.open, fd)
	}
	return err
}

// call makes one system call and checks its result. It keeps the list of descriptors that
// the runtime has open, so that all of them are closed at the end: a plan that closes one
// itself takes it off the list, because its number may be another file's by then.
func (r *Process) call(s *Step, in *instruction, args [6]uintptr) error {
	n, errno := systemCall(in.number, args)
	switch {
	case errno != 0:
		return errno
	case in.exact && n != in.want && s.wrongResult != nil:
		return s.wrongResult
	case in.exact && n != in.want:
		return fmt.Errorf("%d of %d bytes: %w", n, in.want, unix.EIO)
	}
	r.keep(s, n)
	if s.opens {
		r.open = append(r.open, int(n))
	} else if in.number == unix.SYS_CLOSE {
		r.open = slices.DeleteFunc(r.open, func(fd int) bool { return fd == int(args[0]) })
	}
	return nil
}

// keep remembers a result for later steps, also where it belongs into a struct, such as the
// cgroup's descriptor in clone_args.
func (r *Process) keep(s *Step, n uintptr) {
	r.code.results[s.Index-1] = n
	for _, place := range r.code.patches[s] {
		put(place, n)
	}
}

// systemCall makes one call, and makes an openat2 again that answers EAGAIN (see
// [Openat2]). unix.Syscall6 tells Go's scheduler that the thread may wait in the kernel.
func systemCall(number uintptr, args [6]uintptr) (n uintptr, errno unix.Errno) {
	if number == unix.SYS_BPF {
		return withoutSignals(number, args)
	}
	for range openatTries {
		n, _, errno = unix.Syscall6(number, args[0], args[1], args[2], args[3], args[4], args[5])
		if errno != unix.EAGAIN || number != unix.SYS_OPENAT2 {
			break
		}
	}
	return n, errno
}

// withoutSignals makes a system call with all signals blocked for this thread.
// The verifier of BPF programs gives up (EAGAIN) when a signal comes, and Go's
// scheduler interrupts threads with signals (SIGURG, for preemption). Other threads
// get them meanwhile. RawSyscall and nosplit keep the three calls on one thread.
//
//go:nosplit
func withoutSignals(number uintptr, args [6]uintptr) (n uintptr, errno unix.Errno) {
	all, old := ^uint64(0), uint64(0)
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&old)), 8, 0, 0)
	n, _, errno = unix.RawSyscall6(number, args[0], args[1], args[2], args[3], args[4], args[5])
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&old)), 0, 8, 0, 0)
	return n, errno
}

// Openat2 is openat2(2) for Go code, with O_CLOEXEC. The kernel answers EAGAIN if
// something was renamed or mounted anywhere on the machine while it went up a
// "..", because then it cannot be sure that the path is still below its root. So
// the call is made again, as in the plan's steps; but not for ever, since an
// attacker can cause the answer again and again. Linux 5.6.
func Openat2(dir int, path string, how unix.OpenHow) (fd int, err error) {
	how.Flags |= unix.O_CLOEXEC
	for range openatTries {
		if fd, err = unix.Openat2(dir, path, &how); err != unix.EAGAIN && err != unix.EINTR {
			break
		}
	}
	return fd, err
}

// cloning is held while a process is cloned and while mappings are made or
// removed: hide changes what a child inherits for all threads, and walks through
// all mappings.
var cloning sync.Mutex

// clone makes the monitor, the intermediate process or the child. The lock is held until the
// call returns: the list of mappings that hide reads must still be the true one at clone3,
// and hide must not run for another plan meanwhile.
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
	r.cloned = int(pid)
	if r.plan.second() == Child {
		r.Pid = int(pid)
	}
	if pidfd := s.Args[0].(*Memory).Points[clonePidFD]; pidfd != nil {
		r.PidFD = int(*(*int32)(r.code.pointer(pidfd)))
	}
	r.keep(s, pid)
	return nil
}
