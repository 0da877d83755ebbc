package main

import "golang.org/x/sys/unix"

const (
	sysNewfstatat = unix.SYS_NEWFSTATAT
	sysRenameat   = unix.SYS_RENAMEAT
)

// skipCall lets a thread that stopped as it entered a call make none.
func skipCall(tid int) {
	changeRegisters(tid, func(r *unix.PtraceRegs) { r.Orig_rax = ^uint64(0) })
}

// setResult is what a call returns from which a thread comes back.
func setResult(tid int, value int64) {
	changeRegisters(tid, func(r *unix.PtraceRegs) { r.Rax = uint64(value) })
}

func changeRegisters(tid int, change func(*unix.PtraceRegs)) {
	var r unix.PtraceRegs
	if unix.PtraceGetRegs(tid, &r) == nil { // ESRCH: it was killed meanwhile
		change(&r)
		unix.PtraceSetRegs(tid, &r)
	}
}
