// Package early notes that a signal has come, before Go can catch signals cheaply, and
// without losing one.
//
// To catch a signal Go starts a thread, which takes a tenth of a container's start. So as
// long as there is no program to pass signals on to, a handler of two instructions
// (early_amd64.s) notes the signal's number, and minirun and minirunc ask for it now and
// then. Later Go catches them, as in other programs, beside the child's steps.
//
//	Listen    the handler in place of Go's
//	Signal    the signal that has come
//	End       Go's again. Call os/signal.Notify before, so that no signal falls between
//	Reset     the default action, which ends the process. Call it before execve, which
//	          would end a thread in the middle of a handler
//
// Why are the signals not simply blocked from the start, and asked for by sigpending(2)?
// Go's runtime unblocks them in each thread that it starts.
//
// Signals that the caller ignores, as nohup(1) does with SIGHUP, stay ignored. Go says so of
// SIGHUP and SIGINT only. A process that is cloned or a program that is executed does not
// inherit the handler.
//
// Man pages: [sigaction(2)], [signal(7)].
//
// [sigaction(2)]: https://man7.org/linux/man-pages/man2/sigaction.2.html
// [signal(7)]: https://man7.org/linux/man-pages/man7/signal.7.html
package early

import (
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Stopping are the signals by which somebody ends a program.
var Stopping = []os.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGTERM}

// came is the number of the last signal, which the handler writes; 0: none has come.
var came uint32

// handlerPC and restorerPC are the addresses of the two functions in assembly, as the
// kernel calls them: not by Go's rules for calls.
var handlerPC, restorerPC uintptr

// An action is the kernel's struct sigaction on amd64 and arm64.
type action struct {
	handler  uintptr
	flags    uint64
	restorer uintptr
	mask     uint64
}

// Flags of an action, which x/sys does not have.
const (
	saRestorer = 0x04000000 // restorer is set
	saOnStack  = 0x08000000 // the handler runs on the signal stack. A goroutine's would be too small
	saRestart  = 0x10000000 // a system call that was interrupted goes on
)

// before are Go's own actions, by signal.
var before = map[os.Signal]*action{}

// Listen notes the signals of [Stopping] from now on, but those that the caller ignores.
func Listen() {
	ours := action{handler: handlerPC, flags: saRestorer | saOnStack | saRestart, restorer: restorerPC, mask: ^uint64(0)}
	for _, s := range Stopping {
		if !signal.Ignored(s) {
			before[s] = &action{}
			sigaction(s, &ours, before[s])
		}
	}
}

// Signal is the last signal that was noted; 0 if there is none.
func Signal() unix.Signal { return unix.Signal(atomic.LoadUint32(&came)) }

// End leaves the signals to Go again.
func End() {
	for s, a := range before {
		sigaction(s, a, nil)
	}
	clear(before)
}

// Reset gives the signals their default action. When it returns, no thread is in the handler
// any more: what came before is noted. For Go has all threads make a system call by a
// signal of its own, which the handler blocks. With C in the program, as for the race
// detector, Go cannot do that (ENOTSUP).
func Reset() {
	for s := range before {
		sigaction(s, &action{}, nil)
	}
	clear(before)
	syscall.AllThreadsSyscall(unix.SYS_GETPID, 0, 0, 0)
}

// sigaction is sigaction(2). EFAULT and EINVAL cannot be.
func sigaction(s os.Signal, set, old *action) {
	unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s.(unix.Signal)), uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(old)), unsafe.Sizeof(action{}.mask), 0, 0)
}
