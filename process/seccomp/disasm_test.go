package seccomp

// This file explains programs. An instruction alone says "A >= 56": which
// architecture's 56, or whether A holds a number at all, depends on the way
// that leads there, so the explanation follows the jumps.

import (
	"fmt"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"minirun/process"
)

// explain explains the program, one instruction a line:
//
//	0: A = arch
//	1: if A == x86_64 goto 2 else 9
//	2: A = nr
//	3: if A >= 56 (clone) goto 4 else 8
//
// A is the machine's one register; args[1].hi is the upper half of the second
// argument. Names of calls are given where only one architecture can be meant.
func explain(f *process.Filter) string {
	var b strings.Builder
	for i, at := range explore(f) {
		fmt.Fprintf(&b, "%4d: %s\n", i, explainLine(f, i, at))
	}
	return b.String()
}

// A view is what is known when an instruction is reached.
type view struct {
	reached bool
	holds   uint32 // the offset of what was loaded into A
	arch    *arch  // nil: any, or several
}

// explore follows all jumps. As they only go forward, one pass in order of
// the program sees every instruction after all those that lead to it.
func explore(f *process.Filter) []view {
	views := make([]view, len(f.Program)+1)
	views[0].reached = true
	for i, ins := range f.Program {
		v := views[i]
		if ins.Code == opLoad {
			v.holds = ins.K
		}
		if ins.Code == opRet {
			continue
		}
		yes, no := targets(i, ins)
		views[no].merge(v)
		if ins.Code == opTest|unix.BPF_JEQ && v.holds == offArch {
			v.arch = archOf(ins.K)
		}
		views[yes].merge(v)
	}
	return views[:len(f.Program)]
}

// targets returns where instruction i goes on; twice the same unless it tests.
func targets(i int, ins unix.SockFilter) (yes, no int) {
	switch {
	case ins.Code == opJump:
		return i + 1 + int(ins.K), i + 1 + int(ins.K)
	case ins.Code&7 == unix.BPF_JMP:
		return i + 1 + int(ins.Jt), i + 1 + int(ins.Jf)
	}
	return i + 1, i + 1
}

// merge adds another way to get here.
func (v *view) merge(other view) {
	switch {
	case !v.reached:
		*v = other
	case v.arch != other.arch:
		v.arch = nil
	}
}

// archOf finds an architecture by its audit number; of two with the same, the
// one without the x32 bit.
func archOf(audit uint32) *arch {
	for i := range arches {
		if arches[i].audit == audit {
			return &arches[i]
		}
	}
	return nil
}

// explainLine explains one instruction.
func explainLine(f *process.Filter, i int, v view) string {
	ins := f.Program[i]
	yes, no := targets(i, ins)
	switch ins.Code {
	case opLoad:
		return "A = " + fieldName(ins.K)
	case opAnd:
		return fmt.Sprintf("A &= %#x", ins.K)
	case opJump:
		return fmt.Sprintf("goto %d", yes)
	case opRet:
		return "return " + returnName(ins.K)
	}
	return fmt.Sprintf("if A %s %s goto %d else %d", operatorName(ins.Code), v.operand(ins.K), yes, no)
}

// operatorName is how a test compares.
func operatorName(code uint16) string {
	switch code &^ uint16(opTest) {
	case unix.BPF_JEQ:
		return "=="
	case unix.BPF_JGT:
		return ">"
	case unix.BPF_JGE:
		return ">="
	}
	return "&"
}

// operand names a constant that A is compared with.
func (v view) operand(k uint32) string {
	switch {
	case v.holds == offArch:
		for _, a := range arches {
			if a.audit == k {
				return a.short
			}
		}
	case v.holds == offNr && v.arch != nil:
		return v.arch.operand(k)
	}
	return fmt.Sprintf("%#x", k)
}

// operand names the number of a call.
func (a *arch) operand(nr uint32) string {
	if a.name == specs.ArchX86_64 && nr >= x32Bit {
		return strings.TrimSuffix(fmt.Sprintf("%#x (x32 %s)", nr, arches[1].callName(nr)), " (x32 )")
	}
	return strings.TrimSuffix(fmt.Sprintf("%d (%s)", nr, a.callName(nr)), " ()")
}

// callName returns the name of a number, the x32 bit left out, or "".
func (a *arch) callName(nr uint32) string {
	for i := range syscalls {
		if n := syscalls[i].numbers[a.column]; n != absent && uint32(n) == nr&^a.bit {
			return syscalls[i].name
		}
	}
	return ""
}

// fieldName names a word of struct seccomp_data.
func fieldName(offset uint32) string {
	switch {
	case offset == offNr:
		return "nr"
	case offset == offArch:
		return "arch"
	case offset < offArgs:
		return fmt.Sprintf("[%d]", offset)
	}
	half := [...]string{"lo", "hi"}[offset/4%2]
	return fmt.Sprintf("args[%d].%s", (offset-offArgs)/8, half)
}

// returnName names what a filter returns, as in the kernel's SECCOMP_RET_*.
func returnName(ret uint32) string {
	data := ret & unix.SECCOMP_RET_DATA
	switch ret & unix.SECCOMP_RET_ACTION_FULL {
	case unix.SECCOMP_RET_KILL_PROCESS:
		return "KILL_PROCESS"
	case unix.SECCOMP_RET_KILL_THREAD:
		return "KILL_THREAD"
	case unix.SECCOMP_RET_TRAP:
		return "TRAP"
	case unix.SECCOMP_RET_ERRNO:
		return "ERRNO " + errnoName(data)
	case unix.SECCOMP_RET_USER_NOTIF:
		return "USER_NOTIF"
	case unix.SECCOMP_RET_TRACE:
		return fmt.Sprintf("TRACE %d", data)
	case unix.SECCOMP_RET_LOG:
		return "LOG"
	case unix.SECCOMP_RET_ALLOW:
		return "ALLOW"
	}
	return fmt.Sprintf("%#x", ret)
}

// errnoName names an errno as programs do.
func errnoName(errno uint32) string {
	if name := unix.ErrnoName(unix.Errno(errno)); name != "" {
		return name
	}
	return fmt.Sprint(errno)
}
