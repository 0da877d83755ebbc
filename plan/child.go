package plan

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// This file runs in the cloned process, between clone3 and execve.
//
// The new process is a copy of the runtime with one thread only: whatever the
// other threads were doing (collecting garbage, holding a lock, growing a
// stack) stays undone for ever. It has not even the runtime's heap and variables
// (compiled.hide). So, as in the standard library's syscall/exec_linux.go,
// nothing here may allocate, take a lock, write a pointer (the write barrier may
// be on), grow the stack or be preempted:
//
//   - every function is nosplit and norace, and calls only functions that are;
//   - data is in the arena (compile.go): numbers, and addresses as numbers; the
//     package's variables are not there;
//   - indices are checked when the plan is compiled, so nothing here panics;
//   - all signals are blocked before clone3.
//
// An error cannot be printed here: it is sent to the runtime.
//
// What breaks otherwise? A write barrier or a call of the allocator would touch memory that
// the child does not have (SIGSEGV). A function with a stack check could call the
// runtime to grow the stack, which takes locks that nobody will ever release (a hang). A
// signal handler would run Go code. Such failures are rare, and depend on what the other
// threads were doing at clone3; so no test shows them reliably, and the rules must be kept.

// An instruction is a step, compiled: numbers only. A pointer in it would be one that the
// garbage collector does not see; it lies outside of Go's heap.
type instruction struct {
	number    uintptr       // of the system call
	args      [6]uintptr    // numbers and addresses
	from      [6]int32      // add the result of that step; or noStep
	tolerated [4]uintptr    // errnos; 0 ends the list
	step      int32         // place in the plan, from 0
	needs     int32         // skip unless this step succeeded; or noStep
	next      int32         // where to go on after success
	store     uintptr       // where to leave the result as 32 bits; 0: nowhere
	want      uintptr       // with exact: the only result that is a success
	verify    [2]comparison // see Step.Verified
	fault     uintptr       // do not make the call, but fail with this errno; 0: make it
	program   uintptr       // clone3: address of the new process's program; 0: another call
	gate      bool          // the arguments are a message to send
	exact     bool
	report    bool // send the result
	quiet     bool // do not ask before
	last      bool // of its alternatives, or there are none
}

// A comparison is of 8 bytes that the kernel has written.
type comparison struct {
	at         uintptr // their address; 0: nothing to compare
	mask, want uint64
}

// A program is the instructions of one process and what it shares with others.
type program struct {
	code    uintptr // address of the first instruction
	n       int
	results uintptr // address of the results of all steps
	message uintptr // address of the buffer for messages to the runtime
	channel uintptr // descriptor of the child's end
	copy    uintptr // a descriptor that a failure is written to besides; or noFD
	trace   bool    // send a message after each step
	before  bool    // send a message before each step and wait for the answer
}

// A message goes from child to runtime. Over the channel, a SOCK_SEQPACKET socket, one send
// is one message. Over exec.fifo it is too, because its size is below PIPE_BUF (pipe(7)).
type message struct {
	kind       uint32
	step       uint32 // from 0
	value      uint64 // a result, or of kindFailed the errno
	start, end uint64 // CLOCK_REALTIME in nanoseconds; of failed, start is the system call's number
	errno      uint64 // of kindTrace: a tolerated errno, or skipped; 0: the call succeeded
}

// What a message says: see the protocol in doc.go.
const (
	kindGate   = iota + 1 // waits for the runtime's steps at a gate; or is ready, and does not wait
	kindTrace             // a step was done
	kindBefore            // asks whether to do a step
	kindFailed            // a step failed; the process ends
	kindResult            // which process it has cloned
)

// Numbers that stand for no step, no descriptor and no result. Results are what system calls
// return, which is never one of these: the kernel's errors are the top 4095 numbers, and
// RawSyscall has made an errno of them.
const (
	messageSize = int(unsafe.Sizeof(message{}))
	noStep      = -1
	childPID    = -2 // in place of a step whose result is an argument: see ChildPID
	noFD        = ^uintptr(0)
	noResult    = ^uintptr(0)     // of a step that was skipped or failed, or is still to come
	skipped     = ^uintptr(0) - 1 // in place of an errno: the step was left out
)

// openatTries is how often openat2(2) is called if it answers EAGAIN: see [Openat2].
const openatTries = 1000

// clone makes the process that walks program and returns its id. Nothing between
// the first call and the last can be preempted, so they are made by one thread.
//
// This is fork(2), not vfork(2): the child has a copy of the parent's memory, of
// which pages are shared until one of the two writes to them. compiled.hide has
// excluded most of the memory. What the child needs of the stack is included
// again: the page that this function's variables are on, and the two next to it. Why not
// vfork? The parent would then wait until the child's execve, but it has work at gates.
//
// All signals are blocked before, and the child is born with that mask: a signal that came
// before its handlers are reset would run the runtime's handler, which is Go code. The
// child unblocks them as one of its last steps ([Plan.RtSigprocmask]).
//
//go:nosplit
//go:norace
//go:nocheckptr
func clone(args, size, program, page uintptr) (pid uintptr, errno syscall.Errno) {
	blocked, old := ^uint64(0), uint64(0)
	stack := uintptr(unsafe.Pointer(&blocked)) &^ (page - 1)
	syscall.RawSyscall(unix.SYS_MADVISE, stack-page, 3*page, unix.MADV_DOFORK)
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, 2, uintptr(unsafe.Pointer(&blocked)), uintptr(unsafe.Pointer(&old)), 8, 0, 0)
	pid, _, errno = syscall.RawSyscall(unix.SYS_CLONE3, args, size, 0)
	if errno == 0 && pid == 0 {
		walk(program)
	}
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, 2, uintptr(unsafe.Pointer(&old)), 0, 8, 0, 0)
	return pid, errno
}

// walk carries out a program. It does not return: the last instruction is
// execve or exit_group, or a step fails. A clone3 returns in two processes; the one in
// which it returns 0 goes on with the program of the next side. The exit code 125 is seen
// by nobody but a parent that waits: the runtime learns the reason from the message.
//
//go:nosplit
//go:norace
//go:nocheckptr
func walk(at uintptr) {
	p := (*program)(pointer(at))
	var worst uintptr // of alternatives that failed, the errno that says most
	for i := 0; i < p.n; {
		in := (*instruction)(pointer(p.code + uintptr(i)*unsafe.Sizeof(instruction{})))
		i++
		if p.before && !in.quiet {
			send(p, kindBefore, in.step, 0, 0, 0, 0)
			wait(p)
		}
		var start uint64
		if p.trace {
			start = now(p)
		}
		// The trace of a gate goes before the gate's own message: at the gate Created the
		// runtime leaves then, and what it has not read would make our next read fail
		// (ECONNRESET).
		gate := in.gate && in.fault == 0
		if gate && p.trace {
			send(p, kindTrace, in.step, 0, start, now(p), 0)
		}
		r, errno := call(p, in)
		if errno == 0 && r == 0 && in.program != 0 {
			p = (*program)(pointer(in.program)) // we are the new process
			i = 0
			continue
		}
		if p.trace && !gate {
			send(p, kindTrace, in.step, uint64(r), start, now(p), uint64(errno))
		}
		i, worst = next(p, in, i, r, errno, worst)
	}
	end()
}

// end ends the process. A seccomp filter may deny even exit_group. Then a write to
// address 0, where nothing is mapped, ends it by SIGSEGV: the child must neither go on
// nor call exit_group for ever.
//
//go:nosplit
//go:norace
//go:nocheckptr
func end() {
	syscall.RawSyscall(unix.SYS_EXIT_GROUP, 125, 0, 0)
	*(*byte)(pointer(0)) = 0
}

// next says where to go on after a step; i is the instruction after it. A failure is
// sent to the runtime and ends the program. Of alternatives that all fail, the errno that
// says most is sent: any other before ENOENT. worst is that errno so far; 0 says that no
// alternative has failed yet.
//
//go:nosplit
//go:norace
//go:nocheckptr
func next(p *program, in *instruction, i int, r, errno, worst uintptr) (int, uintptr) {
	switch {
	case errno == 0:
		if in.report {
			send(p, kindResult, in.step, uint64(r), 0, 0, 0)
		}
		return int(in.next), 0
	case errno == skipped:
		return i, worst
	case tolerates(in, errno) && in.last:
		return i, 0
	case tolerates(in, errno):
		if worst == 0 || worst == uintptr(unix.ENOENT) {
			worst = errno
		}
		return i, worst
	}
	if errno == uintptr(unix.ENOENT) && worst != 0 {
		errno = worst
	}
	send(p, kindFailed, in.step, uint64(errno), uint64(in.number), 0, 0)
	return p.n, 0
}

// call makes one system call and keeps its result. RawSyscall6 enters the kernel without
// telling Go's scheduler, which does not exist here. A result that is not the wanted one
// becomes EPIPE, because of the child's calls it is a read at a gate that finds the
// runtime gone. A comparison that fails becomes ENODEV, since it is about device numbers.
//
//go:nosplit
//go:norace
//go:nocheckptr
func call(p *program, in *instruction) (r, errno uintptr) {
	var a [6]uintptr
	kept := (*uintptr)(pointer(p.results + uintptr(in.step)*8))
	*kept = noResult
	switch {
	case !arguments(p, in, &a):
		return 0, skipped
	case in.fault != 0:
		return 0, in.fault
	case in.gate:
		send(p, kindGate, in.step, 0, 0, 0, 0)
		return 0, 0
	}
	r, _, e := syscall.RawSyscall6(in.number, a[0], a[1], a[2], a[3], a[4], a[5])
	for tries := 1; e == unix.EAGAIN && in.number == unix.SYS_OPENAT2 && tries < openatTries; tries++ {
		r, _, e = syscall.RawSyscall6(in.number, a[0], a[1], a[2], a[3], a[4], a[5])
	}
	if e != 0 {
		return 0, uintptr(e)
	}
	if in.exact && r != in.want {
		return 0, uintptr(unix.EPIPE) // the other side is gone
	}
	for i := range in.verify {
		if v := &in.verify[i]; v.at != 0 && *(*uint64)(pointer(v.at))&v.mask != v.want {
			return 0, uintptr(unix.ENODEV)
		}
	}
	*kept = r
	if in.store != 0 {
		*(*uint32)(pointer(in.store)) = uint32(r)
	}
	return r, 0
}

// arguments fills in the results of earlier steps, and returns false if one of them is
// missing: then the step is skipped.
//
//go:nosplit
//go:norace
//go:nocheckptr
func arguments(p *program, in *instruction, a *[6]uintptr) bool {
	if in.needs != noStep && result64(p, in.needs) == noResult {
		return false
	}
	for i := range a {
		a[i] = in.args[i]
		if in.from[i] != noStep {
			v := result64(p, in.from[i])
			if v == noResult {
				return false
			}
			a[i] += v
		}
	}
	return true
}

// pointer turns an address in the arena, which no garbage collector moves or
// frees, into a pointer.
//
//go:nosplit
//go:norace
func pointer(address uintptr) unsafe.Pointer {
	return *(*unsafe.Pointer)(unsafe.Pointer(&address))
}

// result64 is the result of an earlier step, by any process: they share the numbers from
// before their clone3.
//
//go:nosplit
//go:norace
//go:nocheckptr
func result64(p *program, step int32) uintptr {
	return *(*uintptr)(pointer(p.results + uintptr(step)*8))
}

// tolerates says whether an errno is no failure of the step. A 0 in the list matches no
// errno, because there is no errno 0.
//
//go:nosplit
//go:norace
func tolerates(in *instruction, errno uintptr) bool {
	for i := range in.tolerated {
		if in.tolerated[i] == errno {
			return true
		}
	}
	return false
}

// send sends a message to the runtime. A failure is first written to the copy (exec.fifo),
// where the start command may wait for it. MSG_NOSIGNAL, because the runtime may be
// gone, and a SIGPIPE would then hide the child's own reason. If the seccomp filter, which
// is in force by then, forbids sendto, a failure is sent once more by write.
//
//go:nosplit
//go:norace
//go:nocheckptr
func send(p *program, kind uint32, step int32, value, start, end, errno uint64) {
	m := (*message)(pointer(p.message))
	m.kind, m.step, m.value, m.start, m.end, m.errno = kind, uint32(step), value, start, end, errno
	if kind == kindFailed && p.copy != noFD {
		syscall.RawSyscall(unix.SYS_WRITE, p.copy, p.message, unsafe.Sizeof(message{}))
	}
	_, _, e := syscall.RawSyscall6(unix.SYS_SENDTO, p.channel, p.message, unsafe.Sizeof(message{}), unix.MSG_NOSIGNAL, 0, 0)
	if kind == kindFailed && e != 0 {
		syscall.RawSyscall(unix.SYS_WRITE, p.channel, p.message, unsafe.Sizeof(message{}))
	}
}

// wait waits for the runtime's go-ahead and ends the process if there is none.
//
//go:nosplit
//go:norace
//go:nocheckptr
func wait(p *program) {
	n, _, _ := syscall.RawSyscall(unix.SYS_READ, p.channel, p.message, 1)
	if n != 1 {
		end()
	}
}

// now is CLOCK_REALTIME in nanoseconds. It is read into the message buffer, which is free
// between two messages.
//
//go:nosplit
//go:norace
//go:nocheckptr
func now(p *program) uint64 {
	syscall.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_REALTIME, p.message, 0)
	t := (*[2]uint64)(pointer(p.message))
	return t[0]*1e9 + t[1]
}
