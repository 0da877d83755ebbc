package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"minirun/cmd/testbed"
)

// A hurt is what is done to one system call of a runtime, by ptrace(2): the
// call is not made but fails, or the runtime is killed as it is about to make
// it. Only the runtime's own calls are counted, those of all its threads and
// of what it executes in its own place: not those of its children.
type hurt struct {
	at    int        // the call, from 1; 0: none, they are only counted
	errno unix.Errno // 0: SIGKILL
	path  string     // only calls with a path that ends so are counted; "": all
}

// A hurtCall is the call that was hurt.
type hurtCall struct {
	name, path string // "": it has none, or there was no such call
	calls      int    // how many were counted
}

func (c hurtCall) String() string { return fmt.Sprintf("%s(%q)", c.name, c.path) }

// hurtable are the calls that are counted, and which of their arguments is a
// path (from 1; 0: none). What is not here is Go's own business (futex, mmap),
// or cannot fail.
var hurtable = map[uint64]struct {
	name string
	path int
}{
	unix.SYS_OPENAT: {"openat", 2}, unix.SYS_OPENAT2: {"openat2", 2}, unix.SYS_CLOSE: {"close", 0},
	unix.SYS_READ: {"read", 0}, unix.SYS_PREAD64: {"pread64", 0}, unix.SYS_WRITE: {"write", 0}, unix.SYS_SENDFILE: {"sendfile", 0},
	unix.SYS_GETDENTS64: {"getdents64", 0}, unix.SYS_READLINKAT: {"readlinkat", 2}, unix.SYS_FSTAT: {"fstat", 0}, unix.SYS_STATFS: {"statfs", 1},
	unix.SYS_MKDIRAT: {"mkdirat", 2}, unix.SYS_MKNODAT: {"mknodat", 2}, unix.SYS_SYMLINKAT: {"symlinkat", 3}, unix.SYS_UNLINKAT: {"unlinkat", 2},
	unix.SYS_FCHMODAT: {"fchmodat", 2}, unix.SYS_FCHOWNAT: {"fchownat", 2}, unix.SYS_FCHMOD: {"fchmod", 0}, unix.SYS_FTRUNCATE: {"ftruncate", 0},
	unix.SYS_FLOCK: {"flock", 0}, unix.SYS_FCNTL: {"fcntl", 0}, unix.SYS_DUP3: {"dup3", 0}, unix.SYS_PIPE2: {"pipe2", 0}, unix.SYS_IOCTL: {"ioctl", 0},
	unix.SYS_SOCKET: {"socket", 0}, unix.SYS_SOCKETPAIR: {"socketpair", 0}, unix.SYS_CONNECT: {"connect", 0}, unix.SYS_SENDMSG: {"sendmsg", 0},
	unix.SYS_PPOLL: {"ppoll", 0}, unix.SYS_CLONE3: {"clone3", 0}, unix.SYS_EXECVE: {"execve", 1}, unix.SYS_WAITID: {"waitid", 0},
	unix.SYS_PIDFD_OPEN: {"pidfd_open", 0}, unix.SYS_PIDFD_SEND_SIGNAL: {"pidfd_send_signal", 0}, unix.SYS_KILL: {"kill", 0},
	unix.SYS_PRCTL: {"prctl", 0}, unix.SYS_CAPGET: {"capget", 0}, unix.SYS_BPF: {"bpf", 0}, unix.SYS_SETNS: {"setns", 0}, unix.SYS_UNSHARE: {"unshare", 0},
	unix.SYS_MOUNT: {"mount", 2}, unix.SYS_UMOUNT2: {"umount2", 1}, unix.SYS_OPEN_TREE: {"open_tree", 2}, unix.SYS_MOUNT_SETATTR: {"mount_setattr", 0},
	unix.SYS_FSOPEN: {"fsopen", 0}, unix.SYS_FSCONFIG: {"fsconfig", 0}, unix.SYS_FSMOUNT: {"fsmount", 0}, unix.SYS_MOVE_MOUNT: {"move_mount", 0},
	unix.SYS_MEMFD_CREATE: {"memfd_create", 0}, unix.SYS_KEYCTL: {"keyctl", 0}, unix.SYS_GETRANDOM: {"getrandom", 0}, unix.SYS_CHDIR: {"chdir", 1},
	sysNewfstatat: {"newfstatat", 2}, sysRenameat: {"renameat", 4},
}

// run runs a command to its end, as exec.Cmd.Run does.
func (h hurt) run(t testing.TB, cmd *exec.Cmd) (call hurtCall, status unix.WaitStatus) {
	t.Helper()
	runtime.LockOSThread() // a tracer is a thread
	defer runtime.UnlockOSThread()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &unix.SysProcAttr{}
	}
	cmd.SysProcAttr.Ptrace = true
	testbed.Must(t, cmd.Start())
	defer cmd.Process.Release()
	pid := cmd.Process.Pid
	_, err := unix.Wait4(pid, &status, 0, nil)
	testbed.Must(t, err)
	testbed.Must(t, unix.PtraceSetOptions(pid, unix.PTRACE_O_TRACESYSGOOD|unix.PTRACE_O_TRACECLONE|unix.PTRACE_O_TRACEEXEC|unix.PTRACE_O_EXITKILL))
	tracer := &tracer{hurt: h, pid: pid, failing: map[int]bool{}, known: map[int]bool{pid: true}}
	for tid, signal := pid, 0; ; {
		unix.PtraceSyscall(tid, signal) // ESRCH: it was killed meanwhile
		if tid, err = unix.Wait4(-1, &status, unix.WALL|unix.WNOTHREAD, nil); errors.Is(err, unix.EINTR) {
			tid, signal = 0, 0
			continue
		}
		testbed.Must(t, err)
		if tid == pid && (status.Exited() || status.Signaled()) {
			return tracer.call, status
		}
		signal = tracer.stopped(tid, status)
	}
}

type tracer struct {
	hurt
	pid     int
	call    hurtCall
	failing map[int]bool // threads whose call fails, until they are told so
	known   map[int]bool // threads that have been seen
}

// stopped looks at a thread that has stopped and returns the signal that it is
// to get.
func (t *tracer) stopped(tid int, status unix.WaitStatus) int {
	first := !t.known[tid]
	t.known[tid] = true
	switch {
	case !status.Stopped(), status.StopSignal() == unix.SIGTRAP, first && status.StopSignal() == unix.SIGSTOP:
		return 0 // it has ended; a clone or an execve; a new thread
	case status.StopSignal() != unix.SIGTRAP|0x80:
		return int(status.StopSignal())
	}
	info, err := syscallInfo(tid)
	switch {
	case err != nil: // ESRCH: killed meanwhile
	case info.op == syscallEntry:
		t.entry(tid, info)
	case t.failing[tid]:
		delete(t.failing, tid)
		setResult(tid, -int64(t.errno))
	}
	return 0
}

func (t *tracer) entry(tid int, info *ptraceSyscallInfo) {
	what, ok := hurtable[info.number]
	switch {
	case !ok,
		what.name == "clone3" && peek(tid, uintptr(info.args[0]))&unix.CLONE_THREAD != 0, // a C library makes its threads so
		what.name == "fcntl" && info.args[1] != unix.F_DUPFD_CLOEXEC:                     // Go looks at 0, 1 and 2 before main, and ends
		return
	}
	path := ""
	if what.path > 0 {
		path = peekString(tid, uintptr(info.args[what.path-1]))
	}
	if !strings.HasSuffix(path, t.path) {
		return
	}
	if t.call.calls++; t.call.calls != t.at {
		return
	}
	t.call.name, t.call.path = what.name, path
	if t.errno == 0 {
		unix.Kill(t.pid, unix.SIGKILL)
		return
	}
	t.failing[tid] = true
	if info.number != unix.SYS_CLOSE { // close(2) closes whatever it returns
		skipCall(tid)
	}
}

// peek is the word at an address: clone_args begins with the flags.
func peek(tid int, address uintptr) uint64 {
	b := make([]byte, 8)
	unix.PtracePeekData(tid, address, b) // ESRCH: killed meanwhile
	return binary.NativeEndian.Uint64(b)
}

func peekString(tid int, address uintptr) string {
	b := make([]byte, 256)
	n, _ := unix.PtracePeekData(tid, address, b) // as far as it can be read
	for i, c := range b[:n] {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b[:n])
}

// A ptraceSyscallInfo is what PTRACE_GET_SYSCALL_INFO tells, Linux 5.3. [ptrace(2)]
//
// [ptrace(2)]: https://man7.org/linux/man-pages/man2/ptrace.2.html
type ptraceSyscallInfo struct {
	op     uint8
	_      [3]uint8
	arch   uint32
	_, _   uint64 // instruction and stack pointer
	number uint64
	args   [6]uint64
	_      uint64
}

const syscallEntry = 1 // PTRACE_SYSCALL_INFO_ENTRY

func syscallInfo(tid int) (*ptraceSyscallInfo, error) {
	var info ptraceSyscallInfo
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(tid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	if errno != 0 {
		return nil, errno
	}
	return &info, nil
}
