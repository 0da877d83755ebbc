package main

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	sysNewfstatat = unix.SYS_FSTATAT // arm64's name for it
	sysRenameat   = unix.SYS_RENAMEAT
)

// skipCall lets a thread that stopped as it entered a call make none.
func skipCall(tid int) {
	const systemCall = 0x404 // NT_ARM_SYSTEM_CALL
	none := int32(-1)
	register := unix.Iovec{Base: (*byte)(unsafe.Pointer(&none))}
	register.SetLen(int(unsafe.Sizeof(none)))
	unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SETREGSET, uintptr(tid), systemCall, uintptr(unsafe.Pointer(&register)), 0, 0) // ESRCH: it was killed meanwhile
}

// setResult is what a call returns from which a thread comes back.
func setResult(tid int, value int64) {
	var r unix.PtraceRegs
	if unix.PtraceGetRegs(tid, &r) == nil { // ESRCH, too
		r.Regs[0] = uint64(value)
		unix.PtraceSetRegs(tid, &r)
	}
}
